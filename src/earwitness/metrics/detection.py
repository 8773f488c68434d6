"""Two-class detection: error rates, equal error rate, detection cost, area under the curve.

One convention everywhere: a higher score favours the positive class (bona fide, same speaker), and a trial is accepted
where score >= threshold. Tied scores move together, so that a constant score has an EER of exactly one half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from earwitness.core.errors import MetricError
from earwitness.metrics.costs import ASVSPOOF5 as ASVSPOOF5  # cost models are also found here, beside what uses them
from earwitness.metrics.costs import VOX01 as VOX01
from earwitness.metrics.costs import VOX05 as VOX05
from earwitness.metrics.costs import Cost
from earwitness.metrics.costs import DetectionCost as DetectionCost
from earwitness.metrics.scores import Floats, as_weights, two_classes

Counts = NDArray[np.int64]

TIED_WARNING = 0.01  # share of scores tied across classes from which a caller warns

EerMethod = Literal["interpolated", "asvspoof", "rocch", "nearest_mean", "nearest_max"]

EER_DEFINITIONS: dict[EerMethod, str] = {
    "interpolated": "straight line between the two operating points around the crossing; tied scores are one point",
    "asvspoof": "official ASVspoof scripts: mean of the rates where they differ least; tied scores bona fide first",
    "rocch": "crossing of the convex hull of the ROC with the diagonal",
    "nearest_mean": "operating point with the smallest |miss - false alarm|, mean of the two rates",
    "nearest_max": "operating point with the smallest |miss - false alarm|, larger of the two rates",
}


class TieWarning:
    """What every result says that depends on how tied scores are treated."""

    tied_fraction: float  # share of all scores that equal a score of the other class

    @property
    def many_ties(self) -> bool:
        """More than 1 % of the scores are tied across classes: definitions differ, and a caller should say so."""
        return self.tied_fraction > TIED_WARNING


@dataclass(frozen=True)
class ErrorRates(TieWarning):
    """Operating points by rising threshold, from accept-all (0, 1) to reject-all (1, 0); arrays are [K].

    `miss[k]` is the share of positives below `thresholds[k]`, `false_alarm[k]` the share of negatives at or above it;
    the last threshold is +inf. `positives` and `negatives` are trial counts (weighted counts in a resample).
    """

    thresholds: Floats
    miss: Floats
    false_alarm: Floats
    positives: float
    negatives: float
    tied_fraction: float = 0.0

    @cached_property
    def crossing(self) -> int:
        """First index where miss >= false alarm; at least 1."""
        low, high = 0, len(self.miss) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.miss[middle] >= self.false_alarm[middle] else (middle, high)
        return high


@dataclass(frozen=True)
class Eer(TieWarning):
    """Equal error rate as a share, its threshold, and which definition it is.

    The threshold belongs to the rule score >= threshold; for `asvspoof` to the official rule score > threshold.
    """

    value: float
    threshold: float
    method: EerMethod
    tied_fraction: float


@dataclass(frozen=True)
class MinDcf:
    """Lowest normalised detection cost over all thresholds (1 = useless), and where each operating point reaches it."""

    value: float
    thresholds: tuple[float, ...]
    cost: Cost

    @property
    def threshold(self) -> float:
        """The threshold of a single operating point. Raises `MetricError` where several were averaged."""
        if len(self.thresholds) > 1:
            raise MetricError(f"{self.cost} has no single threshold", fix="Use `thresholds`, one an operating point.")
        return self.thresholds[0]


def error_rates(positive: ArrayLike, negative: ArrayLike) -> ErrorRates:
    """Operating points at every distinct score and at +inf. N log N in time, linear in memory. Raises `MetricError`."""
    pos, neg = (np.sort(scores) for scores in two_classes(positive, negative))
    distinct, pos_below, neg_below = counts_below(pos, neg)
    return ErrorRates(
        thresholds=np.append(distinct, np.inf),
        miss=pos_below / len(pos),
        false_alarm=(len(neg) - neg_below) / len(neg),
        positives=len(pos),
        negatives=len(neg),
        tied_fraction=_tied_fraction(pos_below, neg_below),
    )


def weighted_rates(
    positive: ArrayLike, negative: ArrayLike, positive_weights: ArrayLike, negative_weights: ArrayLike
) -> ErrorRates:
    """Operating points where each trial counts with its weight >= 0; all arrays are [N] of their class.

    Raises `MetricError` as `error_rates` does, and for weights that are negative, all zero, or not one a trial.
    """
    distinct, *below = counts_below(*(np.sort(scores) for scores in two_classes(positive, negative)))
    both = ((positive, positive_weights, "positive weights"), (negative, negative_weights, "negative weights"))
    passed: list[Floats] = []
    for (scores, weights, name), below_of_class in zip(both, below, strict=True):
        order = np.argsort(np.asarray(scores), kind="stable")
        weighed = as_weights(weights, len(order), name)[order]
        passed.append(np.concatenate([[0.0], np.cumsum(weighed)])[below_of_class])
    missed, rejected = passed
    return ErrorRates(
        thresholds=np.append(distinct, np.inf),
        miss=missed / missed[-1],
        false_alarm=1 - rejected / rejected[-1],
        positives=float(missed[-1]),
        negatives=float(rejected[-1]),
        tied_fraction=_tied_fraction(*below),
    )


def partition_weights(partition: Sequence[object] | NDArray[np.generic]) -> Floats:
    """Weights [N] that give each partition the same say: the largest partition's count over the own one's.

    For the trials of one class, each with the partition it belongs to (the equalised variant of the NIST tools, over
    language x gender). The weighted error rate is then the mean of the partitions' error rates.
    """
    _, codes, counts = np.unique(np.asarray(partition), return_inverse=True, return_counts=True)
    return np.asarray((counts.max() / counts)[codes], np.float64)


def counts_below(pos: Floats, neg: Floats) -> tuple[Floats, Counts, Counts]:
    """Of sorted scores: the distinct scores [K], and how many of each class lie below them and below +inf, [K + 1]."""
    merged = np.concatenate([pos, neg])
    merged.sort(kind="stable")  # two sorted runs: a linear merge
    first = np.empty(len(merged), bool)
    first[0] = True
    np.not_equal(merged[1:], merged[:-1], out=first[1:])
    below = np.append(np.flatnonzero(first), len(merged))
    distinct = merged if len(below) == len(merged) + 1 else merged[below[:-1]]
    pos_below = np.zeros(len(below), np.int64)
    np.cumsum(np.bincount(np.searchsorted(distinct, pos), minlength=len(distinct)), out=pos_below[1:])
    below -= pos_below
    return distinct, pos_below, below


def _tied_fraction(pos_below: Counts, neg_below: Counts) -> float:
    """Share of scores that equal a score of the other class."""
    total = int(pos_below[-1] + neg_below[-1])
    if len(pos_below) == total + 1:
        return 0.0
    pos_here, neg_here = np.diff(pos_below), np.diff(neg_below)
    return float((pos_here + neg_here)[(pos_here > 0) & (neg_here > 0)].sum()) / total


def eer(positive: ArrayLike, negative: ArrayLike, method: EerMethod = "interpolated") -> Eer:
    """Equal error rate by a named definition (`EER_DEFINITIONS`).

    >>> eer([0.9, 0.8, 0.7, 0.4], [0.6, 0.5, 0.3, 0.2, 0.1, 0.05]).value
    0.25

    Raises `MetricError` for a missing class, NaN or infinite scores, and an unknown method.
    """
    if method == "asvspoof":
        return _asvspoof_eer(*two_classes(positive, negative))
    return eer_at(error_rates(positive, negative), method)


def eer_at(rates: ErrorRates, method: EerMethod = "interpolated") -> Eer:
    """Equal error rate of given operating points; every method but `asvspoof`, which needs the scores."""
    if method == "interpolated":
        value = _crossing_value(rates)
    elif method == "rocch":
        value = _crossing_value(convex_hull(rates))
    elif method in ("nearest_mean", "nearest_max"):
        k = _nearest(rates)
        both = (float(rates.miss[k]), float(rates.false_alarm[k]))
        value = max(both) if method == "nearest_max" else sum(both) / 2
    else:
        raise MetricError(f"unknown EER method '{method}'", fix=f"Use one of {', '.join(EER_DEFINITIONS)}.")
    return Eer(value, float(rates.thresholds[_nearest(rates)]), method, rates.tied_fraction)


def _crossing_value(rates: ErrorRates) -> float:
    """Where the straight line through the two points around the crossing meets miss = false alarm."""
    k = rates.crossing
    m1, f1 = float(rates.miss[k - 1]), float(rates.false_alarm[k - 1])
    m2, f2 = float(rates.miss[k]), float(rates.false_alarm[k])
    part = (f1 - m1) / ((m2 - m1) + (f1 - f2))
    return m1 + part * (m2 - m1)


def _nearest(rates: ErrorRates) -> int:
    """Index of the smallest |miss - false alarm|; an exact tie goes to the lower threshold."""
    k = rates.crossing
    above = rates.miss[k] - rates.false_alarm[k]
    below = rates.false_alarm[k - 1] - rates.miss[k - 1]
    return k if above < below - 1e-12 else k - 1


def _asvspoof_eer(pos: Floats, neg: Floats) -> Eer:
    """The official scripts' curve: all scores in one stable sort, bona fide placed first; no interpolation."""
    scores = np.concatenate([pos, neg])
    order = np.argsort(scores, kind="stable")
    value, k = asvspoof_eer_of_sorted(order < len(pos))
    threshold = scores[order[k - 1]] if k else scores[order[0]] - 0.001
    tied = _tied_fraction(*counts_below(np.sort(pos), np.sort(neg))[1:])
    return Eer(value, float(threshold), "asvspoof", tied)


def asvspoof_eer_of_sorted(is_positive: NDArray[np.bool_]) -> tuple[float, int]:
    """Official EER of labels [N] in rising order of score, and after how many rejected trials it is met."""
    rejected = np.concatenate([[0], np.cumsum(is_positive)])
    n_pos, n = int(rejected[-1]), len(is_positive)
    miss = rejected / n_pos
    false_alarm = ((n - n_pos) - (np.arange(n + 1) - rejected)) / (n - n_pos)
    k = int(np.argmin(np.abs(miss - false_alarm)))
    return float(miss[k] + false_alarm[k]) / 2, k


def convex_hull(rates: ErrorRates) -> ErrorRates:
    """The operating points on the lower convex hull of (false alarm, miss), found by pooling adjacent violators."""
    pos, neg = np.diff(rates.miss), -np.diff(rates.false_alarm)
    used = np.flatnonzero(pos + neg > 0)
    pos, neg = pos[used], neg[used]
    blocks = isotonic_regression(pos / (pos + neg), weights=pos + neg).blocks
    vertices = np.append(used[blocks[:-1]], len(rates.miss) - 1)
    return ErrorRates(
        rates.thresholds[vertices],
        rates.miss[vertices],
        rates.false_alarm[vertices],
        rates.positives,
        rates.negatives,
        rates.tied_fraction,
    )


def min_dcf(positive: ArrayLike, negative: ArrayLike, cost: Cost) -> MinDcf:
    """Normalised minimum detection cost: min over thresholds of (C_miss P miss + C_fa (1-P) fa) / C_default.

    The threshold is chosen on the same trials, so the value speaks of discrimination only. Of several operating points
    each has its own minimum, and the mean is returned. Raises `MetricError`.
    """
    return min_dcf_at(error_rates(positive, negative), cost)


def min_dcf_at(rates: ErrorRates, cost: Cost) -> MinDcf:
    """Minimum detection cost of given operating points."""
    values, thresholds = zip(*(lowest_cost(rates, *point.weights) for point in cost.points), strict=True)
    return MinDcf(sum(values) / len(values), thresholds, cost)


def lowest_cost(rates: ErrorRates, miss: float, false_alarm: float) -> tuple[float, float]:
    """Lowest of miss x P_miss + false_alarm x P_fa over the operating points, and the lowest threshold with it."""
    costs = miss * rates.miss + false_alarm * rates.false_alarm
    k = int(np.argmin(costs))
    return float(costs[k]), float(rates.thresholds[k])


def act_dcf(positive_llr: ArrayLike, negative_llr: ArrayLike, cost: Cost) -> float:
    """Normalised detection cost at the Bayes threshold; scores are natural-log likelihood ratios.

    Above 1 is legal: worse than deciding without listening. Of several operating points the mean. Raises `MetricError`.
    """
    pos, neg = two_classes(positive_llr, negative_llr)
    values = []
    for point in cost.points:
        miss, false_alarm = point.weights
        values.append(miss * np.mean(pos < point.bayes_threshold) + false_alarm * np.mean(neg >= point.bayes_threshold))
    return float(np.mean(values))


def ctrsvdd_min_dcf(positive: ArrayLike, negative: ArrayLike) -> float:
    """What CtrSVDD results of the Nes2Net repository call minDCF: min over thresholds of (P_miss + P_fa) / 2.

    Prior and prices are even and nothing is normalised, so that a useless score has 0.5: half of our `min_dcf` at
    `DetectionCost(0.5)`. The EER beside it is our `nearest_mean`. Raises `MetricError`.
    """
    return lowest_cost(error_rates(positive, negative), 0.5, 0.5)[0]


def auc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Area under the ROC: chance that a positive scores above a negative, ties counted half. Raises `MetricError`."""
    return auc_at(error_rates(positive, negative))


def auc_at(rates: ErrorRates) -> float:
    """Area under the ROC of given operating points."""
    return float(np.trapezoid(1 - rates.miss[::-1], rates.false_alarm[::-1]))
