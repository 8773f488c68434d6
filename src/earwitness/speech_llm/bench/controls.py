"""The same questions with the voice taken away: how much of a score needs the audio at all.

`silence` replaces the clip by digital silence of its length, `shuffle` by another clip, `text-only` sends the question
alone, `transcript` the question with the words that were said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from earwitness.core.errors import UsageError
from earwitness.speech_llm.bench.recordings import Stretch
from earwitness.speech_llm.items import Item

TRANSCRIPT_TAG = "transcript"
TRANSCRIPT_TAGS = (TRANSCRIPT_TAG, "words")  # the second is that of cp-mini


def other_clips(items: Sequence[Item], seed: int) -> dict[str, Stretch]:
    """For each item, by its id, a stretch of another clip: the clips go round in a random circle.

    So no clip keeps its own audio, and each is heard as often as its donor is asked about. Raises `UsageError` where
    all clips are the same audio.
    """
    stretches: dict[str, Stretch] = {}
    for item in items:
        stretches.setdefault(item.clip_id, Stretch.of(item))
    clips = sorted(stretches)
    order = np.random.default_rng(seed).permutation(len(clips))
    circle = [clips[place] for place in order]
    places = {clip: place for place, clip in enumerate(circle)}
    return {item.id: _donor(item, circle, places, stretches) for item in items}


def _donor(item: Item, circle: Sequence[str], places: Mapping[str, int], stretches: Mapping[str, Stretch]) -> Stretch:
    """The next clip in the circle whose audio is not the item's."""
    at = places[item.clip_id]
    for step in range(1, len(circle)):
        found = stretches[circle[(at + step) % len(circle)]]
        if found.audio != item.audio or not _overlap(found, item):
            return found
    fix = "Leave `shuffle` out of --controls: it needs two clips."
    raise UsageError("no other clip to hear in its place", where=f"item {item.id}", fix=fix)


def _overlap(stretch: Stretch, item: Item) -> bool:
    begins_before_end = item.end is None or stretch.start < item.end
    return begins_before_end and (stretch.end is None or item.start < stretch.end)


def transcript_of(item: Item) -> str | None:
    """The words of its clip, from the tag `transcript` or `words`."""
    return next((tag.value for tag in item.tags if tag.name in TRANSCRIPT_TAGS and tag.value.strip()), None)
