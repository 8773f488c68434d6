"""Voice prints of many recordings at once, several times faster than one after the other.

Windows of equal length share a batch whoever they are of, so the last digits may depend on what else is heard: this
is for goals of training and cohorts, whose values are kept. Answers come from `Embedder.embed`, a recording at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from earwitness.audio.audible import SHORTEST_S, is_audible
from earwitness.audio.recording import Samples
from earwitness.audio.windows import Window, cut, heard_seconds
from earwitness.speaker.comparison import Vectors, enrol
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.uncertainty import harmonic_variance

AT_ONCE = 64  # windows


@dataclass(frozen=True)
class PrintOf:
    """The unit voice print [D] of a recording, and its variance [D] where the network states one."""

    vector: Vectors
    variance: Vectors | None


def prints_of(embedder: Embedder, recordings: Iterable[Samples]) -> list[Vectors | None]:
    """The unit voice print [D] of each recording [N] at the model's rate; None for what `Embedder.embed` refuses."""
    return [None if found is None else found.vector for found in uncertain_prints_of(embedder, recordings)]


def uncertain_prints_of(embedder: Embedder, recordings: Iterable[Samples]) -> list[PrintOf | None]:
    """The same with variances: the windows' harmonic mean, whatever the model's way to join windows is."""
    windows = [_audible(embedder, samples) for samples in recordings]
    vectors: list[list[Vectors]] = [[] for _ in windows]
    variances: list[list[Vectors]] = [[] for _ in windows]
    for batch in _batches(windows):
        heard = embedder.hear([window for _, window in batch])
        for row, (place, _) in enumerate(batch):
            vectors[place].append(heard.vectors[row])
            if heard.variances is not None:
                variances[place].append(heard.variances[row])
    return [_print(*found) for found in zip(vectors, variances, windows, strict=True)]


def _print(vectors: list[Vectors], variances: list[Vectors], windows: list[Window]) -> PrintOf | None:
    if not vectors:
        return None
    seconds = np.array([window.end_s - window.start_s for window in windows])
    return PrintOf(enrol(np.stack(vectors)), harmonic_variance(np.stack(variances), seconds) if variances else None)


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
