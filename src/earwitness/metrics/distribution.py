"""Predicted distributions over a grid (ages in whole years): how likely, how sharp, and how honest they are.

A distribution is a row of probabilities over the same rising grid. A truth between two points of the grid belongs to
the nearer one where a bin is asked for (half upwards); the CRPS takes it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from earwitness.core.errors import MetricError
from earwitness.metrics.regression import spearman
from earwitness.metrics.scores import Floats, as_scores

FLOOR = 1e-12  # the least probability that a truth is given
LEVEL = 0.8  # of the central interval
_SUM_SLACK = 1e-4  # float32 softmax over a hundred bins


@dataclass(frozen=True)
class GridDistributions:
    """N distributions: `probabilities` [N, A] over the points `grid` [A]. Raises `MetricError` where they are none."""

    grid: Floats
    probabilities: Floats

    @classmethod
    def of(cls, grid: ArrayLike, probabilities: ArrayLike) -> GridDistributions:
        """Checked, and each row divided by its sum, which must be 1 to 1e-4."""
        points = as_scores(grid, "grid")
        rows = np.asarray(probabilities, np.float64)
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != len(points):
            raise MetricError(f"have shape {rows.shape} for a grid of {len(points)} points", where="probabilities")
        if (np.diff(points) <= 0).any():
            raise MetricError("does not rise", where="grid")
        sums = rows.sum(axis=1)
        if not np.isfinite(rows).all() or (rows < 0).any() or (np.abs(sums - 1) > _SUM_SLACK).any():
            raise MetricError("a row is negative, not finite or does not sum to 1", where="probabilities")
        return cls(points, rows / sums[:, None])

    @cached_property
    def cdf(self) -> Floats:
        """Probability up to and with each grid point, [N, A]."""
        return np.asarray(np.cumsum(self.probabilities, axis=1), np.float64)

    @cached_property
    def mean(self) -> Floats:
        """[N]."""
        return np.asarray(self.probabilities @ self.grid, np.float64)

    @cached_property
    def sd(self) -> Floats:
        """Standard deviation, [N]."""
        squares = (self.grid - self.mean[:, None]) ** 2
        return np.asarray(np.sqrt(np.einsum("na,na->n", self.probabilities, squares)), np.float64)

    def quantile(self, share: float) -> Floats:
        """The first grid point with at least `share` of the probability up to it, [N]."""
        reached = self.cdf >= min(share, 1.0) - 1e-9  # sums of floats; the last point always counts
        reached[:, -1] = True
        return np.asarray(self.grid[np.argmax(reached, axis=1)], np.float64)

    def central(self, level: float = LEVEL) -> tuple[Floats, Floats]:
        """Ends [N] and [N] of the interval that leaves (1 - level) / 2 out on either side. Raises `MetricError`."""
        _check_level(level)
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)


@dataclass(frozen=True)
class Coverage:
    """How often an interval of nominal `level` holds the truth, and its mean width; `reliability` is the share above
    (+) or below (-) the level."""

    level: float
    share: float
    width: float
    items: int

    @property
    def reliability(self) -> float:
        """Coverage minus level: 0 is honest, below 0 overconfident."""
        return self.share - self.level


@dataclass(frozen=True)
class DistributionFigures:
    """Of N distributions: mean negative log-likelihood (nats), mean CRPS (units of the grid), the central interval's
    coverage, and Spearman's correlation of predicted SD with absolute error of the mean (`sharpness`)."""

    nll: float
    crps: float
    coverage: Coverage
    sharpness: float


def nll_each(truth: ArrayLike, predicted: GridDistributions, floor: float = FLOOR) -> Floats:
    """-ln of the probability of each truth's bin [N], of at least `floor`: also where the truth is off the grid."""
    y, grid = _truths(truth, predicted), predicted.grid
    place = np.searchsorted((grid[1:] + grid[:-1]) / 2, y, side="right")
    reach = np.diff(grid).max() / 2 if len(grid) > 1 else 0.5
    inside = (y >= grid[0] - reach) & (y < grid[-1] + reach)
    found = np.where(inside, predicted.probabilities[np.arange(len(y)), place], 0.0)
    return -np.log(np.maximum(found, floor))


def nll(truth: ArrayLike, predicted: GridDistributions, floor: float = FLOOR) -> float:
    """Mean negative log-likelihood in nats. Raises `MetricError`, as all here do, for unequal lengths."""
    return float(nll_each(truth, predicted, floor).mean())


def crps_each(truth: ArrayLike, predicted: GridDistributions) -> Floats:
    """Continuous ranked probability score [N]: sum over the grid of (F_k - 1[a_k >= y])^2, for a grid in steps of 1.

    Raises `MetricError` for a grid with other steps.
    """
    y = _truths(truth, predicted)
    if not np.allclose(np.diff(predicted.grid), 1):
        raise MetricError("has steps other than 1", where="grid", fix="The CRPS here is a sum over whole years.")
    return np.asarray(((predicted.cdf - (predicted.grid >= y[:, None])) ** 2).sum(axis=1), np.float64)


def crps(truth: ArrayLike, predicted: GridDistributions) -> float:
    """Mean continuous ranked probability score, in units of the grid; of a point prediction the absolute error."""
    return float(crps_each(truth, predicted).mean())


def coverage(truth: ArrayLike, low: ArrayLike, high: ArrayLike, level: float = LEVEL) -> Coverage:
    """Of given intervals [low, high], each [N] and nominally holding `level`. Raises `MetricError`."""
    _check_level(level)
    y, lo, hi = as_scores(truth, "truth"), as_scores(low, "low"), as_scores(high, "high")
    if not len(y) == len(lo) == len(hi):
        raise MetricError(f"{len(lo)} low and {len(hi)} high ends for {len(y)} rows", fix="Give one each a row.")
    if (lo > hi).any():
        raise MetricError(f"the interval at index {int(np.argmax(lo > hi))} ends before it begins", where="intervals")
    return Coverage(level, float(np.mean((lo <= y) & (y <= hi))), float(np.mean(hi - lo)), len(y))


def distribution_figures(truth: ArrayLike, predicted: GridDistributions, level: float = LEVEL) -> DistributionFigures:
    """All four of one set of distributions. Raises `MetricError`."""
    y = _truths(truth, predicted)
    return DistributionFigures(
        nll=nll(y, predicted),
        crps=crps(y, predicted),
        coverage=coverage(y, *predicted.central(level), level),
        sharpness=spearman(predicted.sd, np.abs(predicted.mean - y)),
    )


def _truths(truth: ArrayLike, predicted: GridDistributions) -> Floats:
    y = as_scores(truth, "truth")
    if len(y) != len(predicted.probabilities):
        raise MetricError(f"{len(predicted.probabilities)} distributions for {len(y)} rows", fix="Give one a row.")
    return y


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise MetricError(f"{level:g} is no share", where="level", fix="E.g. 0.8.")
