"""Voice prints of many recordings at once, several times faster than one after the other.

Windows of equal length share a batch whoever they are of, so the last digits may depend on what else is heard: this
is for goals of training and cohorts, whose values are kept. Answers come from `Embedder.embed`, a recording at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from earwitness.audio.audible import SHORTEST_S, is_audible
from earwitness.audio.recording import Samples
from earwitness.audio.windows import Window, cut, heard_seconds
from earwitness.speaker.comparison import Vectors, enrol
from earwitness.speaker.embedder import Embedder

AT_ONCE = 64  # windows


def prints_of(embedder: Embedder, recordings: Iterable[Samples]) -> list[Vectors | None]:
    """The unit voice print [D] of each recording [N] at the model's rate; None for what `Embedder.embed` refuses."""
    windows = [_audible(embedder, samples) for samples in recordings]
    vectors: list[list[Vectors]] = [[] for _ in windows]
    for batch in _batches(windows):
        heard = embedder.forward([window for _, window in batch])
        for (place, _), vector in zip(batch, heard, strict=True):
            vectors[place].append(vector)
    return [enrol(np.stack(found)) if found else None for found in vectors]


def _audible(embedder: Embedder, samples: Samples) -> list[Window]:
    """The windows that count; none where they hold too little sound for a voice."""
    if len(samples) == 0:
        return []
    found = [window for window in cut(samples, embedder.info.rate, embedder.info.windows) if is_audible(window.samples)]
    return found if heard_seconds(found) >= SHORTEST_S else []


def _batches(windows: list[list[Window]]) -> Iterable[list[tuple[int, Window]]]:
    """Windows of equal length together, each with the place of its recording."""
    by_length: dict[int, list[tuple[int, Window]]] = defaultdict(list)
    for place, found in enumerate(windows):
        for window in found:
            by_length[len(window.samples)].append((place, window))
    for group in by_length.values():
        yield from (group[start : start + AT_ONCE] for start in range(0, len(group), AT_ONCE))
