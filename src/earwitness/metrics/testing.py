"""Is a difference more than chance, and how many items does it take to see one: tests, corrections, errors of means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import binom

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats, as_scores


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error."""

    value: float
    se: float


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down correction (1979): adjusted p values [n] in the order given. Raises `MetricError`."""
    p = as_scores(p_values, "p values")
    if (p < 0).any() or (p > 1).any():
        raise MetricError("lie between 0 and 1", where="p values")
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Exact p of McNemar's test: 2 min(P(X <= b), P(X >= b)), X binomial (b + c, 1/2), at most 1.

    The arguments are the items that only the first, and only the second, has right. 1 where there are none.
    """
    if min(only_first, only_second) < 0:
        raise MetricError("counts are not negative", where="McNemar's test")
    n = only_first + only_second
    if not n:
        return 1.0
    return min(1.0, 2 * float(binom.cdf(min(only_first, only_second), n, 0.5)))


def clustered_mean(values: ArrayLike, clusters: Sequence[object]) -> Estimate:
    """The mean and its standard error where items of one cluster (clip) are not independent (arXiv 2411.00640).

    SE^2 = s^2 / n + (1 / n^2) sum over clusters of the products of the deviations of each pair of different items, with
    s^2 over n; that is the sum of the squared sums of each cluster's deviations over n^2.
    """
    x = as_scores(values, "values")
    if len(clusters) != len(x):
        raise MetricError(f"{len(clusters)} clusters for {len(x)} values", fix="Give one a value.")
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(codes, x - x.mean())
    return Estimate(float(x.mean()), math.sqrt(float(np.sum(sums**2))) / len(x))


def bias_corrected_accuracy(
    judged: float, items: int, *, sensitivity: float, specificity: float, right: int, wrong: int
) -> Estimate:
    """The accuracy behind a judge's yes rate `judged` on n items, and its standard error by the delta method.

    `sensitivity` was measured on `right` items that people call right, `specificity` on `wrong` others
    (arXiv 2511.21140): theta = (p + q0 - 1) / (q0 + q1 - 1), cut to 0..1. Raises `MetricError` for a judge no better
    than chance, whose answers hold nothing to correct.
    """
    better = sensitivity + specificity - 1
    if better <= 0:
        raise MetricError("is no better than chance", where="the judge", fix="Use another judge.")
    if min(items, right, wrong) < 1:
        raise MetricError("there are no items of a kind", where="bias-corrected accuracy")
    theta = min(1.0, max(0.0, (judged + specificity - 1) / better))
    variance = (
        judged * (1 - judged) / items
        + (1 - theta) ** 2 * specificity * (1 - specificity) / wrong
        + theta**2 * sensitivity * (1 - sensitivity) / right
    )
    return Estimate(theta, math.sqrt(variance) / better)


def items_needed(sd_of_differences: float, effect: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """How many paired items a difference of `effect` takes: ((z_{1-a/2} + z_power) sd / effect)^2, rounded up."""
    if sd_of_differences < 0 or not effect or not (0 < alpha < 1 and 0 < power < 1):
        raise MetricError("needs sd >= 0, an effect, and alpha and power between 0 and 1", where="items needed")
    reach = float(ndtri(1 - alpha / 2) + ndtri(power))
    return max(1, math.ceil((reach * sd_of_differences / effect) ** 2))
