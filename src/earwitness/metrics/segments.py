"""From windows that overlap to segments that do not: one score a step of time.

A segment's score is the mean of the windows over it, each weighted by the seconds of the segment that it holds. Where
windows and segments lie on one grid, that is the plain mean of the windows that cover the segment. A window says one
thing of all its seconds, so that what lasts shorter than a window is spread over a window's length on either side.

A segment that no window covers (windows without sound are not scored) says nothing of its own: it takes the score of
the nearest segment that has one, and its `heard_s` is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats, as_scores

_NOTHING_S = 1e-9


@dataclass(frozen=True)
class SegmentScores:
    """`scores` [S], one each `step_s` seconds from 0 on, and how many seconds of each segment were heard, [S].

    The last segment ends with the recording, at `seconds`.
    """

    step_s: float
    seconds: float
    scores: Floats
    heard_s: Floats

    @property
    def starts_s(self) -> Floats:
        """[S]."""
        return np.asarray(np.arange(len(self.scores)) * self.step_s, np.float64)

    @property
    def ends_s(self) -> Floats:
        """[S]."""
        return np.append(self.starts_s[1:], self.seconds)


def segment_scores(
    starts_s: ArrayLike, ends_s: ArrayLike, scores: ArrayLike, seconds: float, step_s: float
) -> SegmentScores:
    """Scores of ceil(seconds / step) segments from those of windows [W]; see the module's text. Time and memory grow
    with S + W log W.

    Raises `MetricError` for a step or a length that is not above 0, for no windows, for windows that end before they
    start or lie outside of the recording, and for scores that are not finite.
    """
    starts, ends = as_scores(starts_s, "window starts"), as_scores(ends_s, "window ends")
    values = as_scores(scores, "window scores")
    if not (0 < step_s < math.inf and 0 < seconds < math.inf):
        raise MetricError(f"a step of {step_s} s in {seconds} s", where="segments", fix="Both must be above 0.")
    if not len(starts) == len(ends) == len(values):
        raise MetricError(f"{len(starts)} starts, {len(ends)} ends, {len(values)} scores", where="windows")
    if not (starts < ends).all():
        raise MetricError("a window ends before it starts", where="windows")
    edges = np.minimum(np.arange(max(1, math.ceil(seconds / step_s - 1e-6)) + 1) * step_s, seconds)
    covered, weighted, heard = (
        _integrals(starts, ends, heights, edges) for heights in (np.ones(len(values)), values, None)
    )
    there = covered > _NOTHING_S
    if not there.any():
        raise MetricError(f"no window lies within the recording's {seconds:g} s", where="windows")
    nearest = _nearest(there)
    return SegmentScores(step_s, seconds, (weighted[nearest] / covered[nearest]), heard)


def _integrals(starts: Floats, ends: Floats, heights: Floats | None, edges: Floats) -> Floats:
    """Of the sum of boxes over each stretch between edges [S + 1] -> [S]; without heights of where any box is."""
    knots, place = np.unique(np.concatenate([starts, ends]), return_inverse=True)
    steps = np.zeros(len(knots))
    up = np.ones(len(starts)) if heights is None else heights
    np.add.at(steps, place, np.concatenate([up, -up]))
    level = np.cumsum(steps)
    if heights is None:
        level = (np.round(level) > 0).astype(float)
    so_far = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(knots))])
    return np.diff(np.interp(edges, knots, so_far))


def _nearest(there: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each place [S] the nearest one that is there; the earlier of two."""
    places = np.flatnonzero(there)
    every = np.arange(len(there))
    after = np.clip(np.searchsorted(places, every), 0, len(places) - 1)
    before = np.clip(after - 1, 0, None)
    nearer = np.abs(places[before] - every) <= np.abs(places[after] - every)
    return np.where(nearer, places[before], places[after])
