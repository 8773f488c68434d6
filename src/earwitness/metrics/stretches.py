"""Stretches of a recording whose scores fall below the rest of it: places to listen to, not findings.

The rest is the median over the segments that were heard, so that a recording is compared with itself and one that is
synthetic throughout has no stretch. A segment is low where it lies `fall` or more below that; low segments with no more
than `bridge_s` between them are one stretch, and a stretch shorter than `shortest_s` is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import MetricError
from earwitness.metrics.segments import SegmentScores

_CLOSE_S = 1e-6


@dataclass(frozen=True)
class StretchRule:
    """`fall` is in units of the score; see the module's text. Raises `MetricError` for impossible numbers."""

    fall: float
    shortest_s: float = 0.0
    bridge_s: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.fall < np.inf and 0 <= self.shortest_s < np.inf and 0 <= self.bridge_s < np.inf):
            raise MetricError(f"{self} is no rule", where="stretches", fix="A fall is above 0, a length not below.")


@dataclass(frozen=True)
class Stretch:
    """From `start_s` to `end_s`; `score` is the mean over its segments, `fall` how far that is below the rest."""

    start_s: float
    end_s: float
    score: float
    fall: float


def low_stretches(segments: SegmentScores, rule: StretchRule) -> tuple[Stretch, ...]:
    """The stretches of one recording, in order of time. Segments without sound are in none, and bridged as others."""
    heard = segments.heard_s > _CLOSE_S
    rest = float(np.median(segments.scores[heard])) if heard.any() else 0.0
    low = heard & (segments.scores <= rest - rule.fall)
    starts, ends = segments.starts_s, segments.ends_s
    runs: list[tuple[int, int]] = []
    for first, last in _runs(low):
        if runs and starts[first] - ends[runs[-1][1]] <= rule.bridge_s + _CLOSE_S:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))
    found = []
    for first, last in runs:
        inside = np.arange(first, last + 1)[low[first : last + 1]]
        score = float(segments.scores[inside].mean())
        if ends[last] - starts[first] >= rule.shortest_s - _CLOSE_S:
            found.append(Stretch(float(starts[first]), float(ends[last]), score, rest - score))
    return tuple(found)


def _runs(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last place of each run of what is set."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    for first, after in edges.reshape(-1, 2).tolist():
        yield first, after - 1
