"""Predictions of a number (age in years): errors, correlations, and what a mean hides.

Everywhere the truth comes first, and moments are those of the population (divided by n). With `weights`, one a row as a
resample of `metrics.bootstrap` gives them, a row counts as often as its weight says. What is not defined is NaN, never
0: a correlation with a constant, for one. No correlation stands for an error: Pearson's is blind to scale and shift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats, as_scores, as_weights

EXACT_GUARD = 1e-10  # what an error of exactly 0 counts as in a geometric mean
CS_YEARS = 5.0


@dataclass(frozen=True)
class RegressionFigures:
    """All of one set of predictions; `cs` is the share of errors up to `cs_limit`. NaN where a value is not defined."""

    items: int
    mae: float
    mse: float
    rmse: float
    pearson: float
    spearman: float
    ccc: float
    r2: float
    gm: float
    bmae: float
    cs: float
    cs_limit: float


@dataclass(frozen=True)
class GroupAccuracy:
    """Share of predictions in the group of their truth. Group i is edges[i-1] <= value < edges[i], open at both ends.

    `counts[i, j]` are the rows of group i that were put in group j, [len(edges) + 1] twice.
    """

    edges: tuple[float, ...]
    counts: Floats
    value: float

    def __str__(self) -> str:
        return f"{self.value:.4f} (edges {', '.join(f'{edge:g}' for edge in self.edges)})"


@dataclass(frozen=True)
class SpeakerErrors:
    """Errors of each speaker's mean prediction, for corpora where a speaker has one age; `mae` is their mean."""

    speakers: tuple[str, ...]
    errors: Floats
    mae: float


def mae(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean absolute error. Raises `MetricError`, as all here do, for no rows, unequal lengths and values not finite."""
    y, f, w = paired_values(truth, predicted, weights)
    return _mean(np.abs(f - y), w)


def mse(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean squared error."""
    y, f, w = paired_values(truth, predicted, weights)
    return _mean((f - y) ** 2, w)


def rmse(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Root of the mean squared error."""
    return math.sqrt(mse(truth, predicted, weights))


def pearson(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Pearson's correlation; NaN where either is constant."""
    return _correlation(*paired_values(truth, predicted, weights))


def spearman(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Spearman's correlation: Pearson's of the ranks, tied values sharing their mean rank."""
    y, f, w = paired_values(truth, predicted, weights)
    return _correlation(_ranks(y, w), _ranks(f, w), w)


def ccc(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Concordance (Lin 1989): 2 cov / (var + var + squared difference of means).

    At most |Pearson|; 0 for a constant prediction of a truth that varies; NaN where both are constant and equal.
    """
    y, f, w = paired_values(truth, predicted, weights)
    moments = _moments(y, f, w)
    apart = moments.var_y + moments.var_f + (moments.mean_y - moments.mean_f) ** 2
    return 2 * moments.cov / apart if apart > 0 else math.nan


def r2(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Share of the truth's variance that is explained: 1 - MSE / var(truth); NaN for a constant truth."""
    y, f, w = paired_values(truth, predicted, weights)
    if _constant(y):
        return math.nan
    return 1 - _mean((f - y) ** 2, w) / _moments(y, f, w).var_y


def geometric_mean_error(
    truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None, guard: float = EXACT_GUARD
) -> float:
    """GM: exp of the mean log of absolute errors. Errors of exactly 0 count as `guard`; with a guard of 0 one of them
    makes the whole 0. (arXiv 2102.09554; the guard is that of its text-similarity code.)"""
    y, f, w = paired_values(truth, predicted, weights)
    errors = np.abs(f - y)
    errors = np.where(errors == 0, guard, errors)
    if not errors.all():
        return 0.0
    return math.exp(_mean(np.log(errors), w))


def balanced_mae(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None, width: float = 1.0) -> float:
    """bMAE: the mean over bins of the truth, those that occur, of each bin's MAE. A bin holds `width` years from a
    multiple of it on: by default the completed year of age."""
    y, f, w = paired_values(truth, predicted, weights)
    _, bins = np.unique(np.floor(y / width), return_inverse=True)
    sums = np.bincount(bins, w * np.abs(f - y))
    return float(np.mean(sums / np.bincount(bins, w)))


def cumulative_score(
    truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None, limit: float = CS_YEARS
) -> float:
    """CS(k): share of rows whose absolute error is at most `limit`."""
    y, f, w = paired_values(truth, predicted, weights)
    return _mean((np.abs(f - y) <= limit).astype(np.float64), w)


def regression_figures(
    truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None, limit: float = CS_YEARS
) -> RegressionFigures:
    """Every figure above; of weighted rows `items` counts those that occur."""
    y, f, w = paired_values(truth, predicted, weights)
    return RegressionFigures(
        items=len(y),
        mae=mae(y, f, w),
        mse=mse(y, f, w),
        rmse=rmse(y, f, w),
        pearson=pearson(y, f, w),
        spearman=spearman(y, f, w),
        ccc=ccc(y, f, w),
        r2=r2(y, f, w),
        gm=geometric_mean_error(y, f, w),
        bmae=balanced_mae(y, f, w),
        cs=cumulative_score(y, f, w, limit),
        cs_limit=limit,
    )


def group_accuracy(
    truth: ArrayLike, predicted: ArrayLike, edges: Sequence[float], weights: ArrayLike | None = None
) -> GroupAccuracy:
    """Accuracy of age groups; the prediction is put into the group it lies in, unrounded.

    Raises `MetricError` for edges that do not rise.
    """
    y, f, w = paired_values(truth, predicted, weights)
    cuts = as_scores(edges, "edges")
    if (np.diff(cuts) <= 0).any():
        raise MetricError("do not rise", where="edges", fix="E.g. 20, 30, 40.")
    counts = np.zeros((len(cuts) + 1, len(cuts) + 1))
    np.add.at(counts, (np.digitize(y, cuts), np.digitize(f, cuts)), w)
    return GroupAccuracy(tuple(cuts.tolist()), counts, float(np.trace(counts) / counts.sum()))


def interval_errors(predicted: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """How far each prediction [N] is from its interval [low, high]: 0 inside. For ages known as bands.

    Raises `MetricError` for unequal lengths and for a `low` above its `high`.
    """
    f, lo, hi = as_scores(predicted, "predictions"), as_scores(low, "low"), as_scores(high, "high")
    if not len(f) == len(lo) == len(hi):
        raise MetricError(
            f"{len(f)} predictions with {len(lo)} low and {len(hi)} high ends", fix="Give one each a row."
        )
    if (lo > hi).any():
        raise MetricError(f"the interval at index {int(np.argmax(lo > hi))} ends before it begins", where="intervals")
    return np.maximum(0.0, np.maximum(lo - f, f - hi))


def speaker_errors(truth: ArrayLike, predicted: ArrayLike, speakers: Sequence[str]) -> SpeakerErrors:
    """Errors of the mean prediction of each speaker, in order of their names.

    Raises `MetricError` where a speaker has several ages: then no one error is theirs.
    """
    y, f, _ = paired_values(truth, predicted)
    if len(speakers) != len(y):
        raise MetricError(f"{len(speakers)} speakers for {len(y)} rows", fix="Give one a row.")
    names, codes = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
    rows = np.bincount(codes)
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    np.minimum.at(low, codes, y)
    np.maximum.at(high, codes, y)
    if (low != high).any():
        one = int(np.argmax(low != high))
        what = f"'{names[one]}' is {low[one]:g} and {high[one]:g} years old"
        raise MetricError(what, where="errors by speaker", fix="Look at errors by row instead.")
    errors = np.abs(np.bincount(codes, f) / rows - low)
    return SpeakerErrors(tuple(str(name) for name in names), errors, float(errors.mean()))


def paired_values(
    truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Floats, Floats, Floats]:
    """Truth, prediction and weight of the rows that count, float64 [n] each. Raises `MetricError`."""
    y, f = as_scores(truth, "truth"), as_scores(predicted, "predictions")
    if len(y) != len(f):
        raise MetricError(f"{len(f)} predictions for {len(y)} rows", fix="Give one a row.")
    if weights is None:
        return y, f, np.ones(len(y))
    w = as_weights(weights, len(y), "weights")
    return y[w > 0], f[w > 0], w[w > 0]


@dataclass(frozen=True)
class _Moments:
    mean_y: float
    mean_f: float
    var_y: float
    var_f: float
    cov: float


def _moments(y: Floats, f: Floats, w: Floats) -> _Moments:
    mean_y, mean_f = _mean(y, w), _mean(f, w)
    off_y, off_f = y - mean_y, f - mean_f
    return _Moments(mean_y, mean_f, _mean(off_y**2, w), _mean(off_f**2, w), _mean(off_y * off_f, w))


def _correlation(y: Floats, f: Floats, w: Floats) -> float:
    if _constant(y) or _constant(f):
        return math.nan
    moments = _moments(y, f, w)
    spread = math.sqrt(moments.var_y) * math.sqrt(moments.var_f)
    return float(np.clip(moments.cov / spread, -1, 1)) if spread > 0 else math.nan


def _ranks(values: Floats, w: Floats) -> Floats:
    """Mean rank of each value, as if each stood there as often as its weight says."""
    _, places = np.unique(values, return_inverse=True)
    here = np.bincount(places, w)
    below = np.cumsum(here) - here
    ranks: NDArray[np.float64] = below + (here + 1) / 2
    return ranks[places]


def _constant(values: Floats) -> bool:
    """Exactly, where a variance might be a rounding error."""
    return bool(values.min() == values.max())


def _mean(values: Floats, w: Floats) -> float:
    return float(np.einsum("i,i", values, w) / w.sum())
