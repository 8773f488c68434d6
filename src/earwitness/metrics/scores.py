"""Scores at the border: whatever a caller hands in becomes finite float64 [N], or is refused with a `MetricError`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.core.errors import MetricError

Floats = NDArray[np.float64]


def as_scores(values: ArrayLike, name: str) -> Floats:
    """The values as finite float64 [N].

    Raises `MetricError` where there are none, where they are no numbers, and where one is NaN or infinite.
    """
    try:
        scores = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise MetricError("are not numbers", where=name, fix="Give one number a trial.") from None
    if scores.ndim != 1:
        raise MetricError(f"have shape {scores.shape}, not one dimension", where=name, fix="Give one number a trial.")
    if not len(scores):
        raise MetricError("there are none", where=name, fix="Both classes are needed.")
    bad = ~np.isfinite(scores)
    if bad.any():
        first = int(np.argmax(bad))
        what = f"{int(bad.sum())} not finite, first {scores[first]} at index {first}"
        raise MetricError(what, where=name, fix="Leave such trials out by name, with an error.")
    return scores


def two_classes(positive: ArrayLike, negative: ArrayLike) -> tuple[Floats, Floats]:
    """Scores of both classes, checked."""
    return as_scores(positive, "positive scores"), as_scores(negative, "negative scores")


def as_weights(values: ArrayLike, count: int, name: str) -> Floats:
    """The weights of `count` trials as finite float64 [count], none negative and not all zero. Raises `MetricError`."""
    weights = as_scores(values, name)
    if len(weights) != count:
        raise MetricError(f"there are {len(weights)} for {count} trials", where=name, fix="Give one number a trial.")
    if (weights < 0).any() or not weights.any():
        raise MetricError("one is negative, or all are zero", where=name)
    return weights
