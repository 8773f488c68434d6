"""Two-class detection: error rates, equal error rate, detection cost, area under the curve.

One convention everywhere: a higher score favours the positive class (bona fide, same speaker), and a trial is accepted
where score >= threshold. Tied scores move together, so that a constant score has an EER of exactly one half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats, two_classes

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


@dataclass(frozen=True)
class ErrorRates:
    """Operating points by rising threshold, from accept-all (0, 1) to reject-all (1, 0); arrays are [K].

    `miss[k]` is the share of positives below `thresholds[k]`, `false_alarm[k]` the share of negatives at or above it;
    the last threshold is +inf. `positives` and `negatives` are trial counts (weighted counts in a resample).
    """

    thresholds: Floats
    miss: Floats
    false_alarm: Floats
    positives: float
    negatives: float
    tied_fraction: float = 0.0  # share of all scores that equal a score of the other class

    @cached_property
    def crossing(self) -> int:
        """First index where miss >= false alarm; at least 1."""
        low, high = 0, len(self.miss) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.miss[middle] >= self.false_alarm[middle] else (middle, high)
        return high


@dataclass(frozen=True)
class Eer:
    """Equal error rate as a share, its threshold, and which definition it is.

    The threshold belongs to the rule score >= threshold; for `asvspoof` to the official rule score > threshold.
    """

    value: float
    threshold: float
    method: EerMethod
    tied_fraction: float

    @property
    def many_ties(self) -> bool:
        """More than 1 % of the scores are tied across classes: definitions differ, and a caller should say so."""
        return self.tied_fraction > TIED_WARNING


@dataclass(frozen=True)
class DetectionCost:
    """A cost model: prior of the positive class and the prices of a miss and of a false alarm."""

    p_target: float
    c_miss: float = 1.0
    c_fa: float = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        if not (0 < self.p_target < 1 and self.c_miss > 0 and self.c_fa > 0):
            raise MetricError(f"no cost model: {self}", fix="The prior lies between 0 and 1, costs are positive.")

    @property
    def weights(self) -> tuple[float, float]:
        """Weight of miss and of false alarm, normalised so that the better of accept-all and reject-all costs 1."""
        miss, false_alarm = self.c_miss * self.p_target, self.c_fa * (1 - self.p_target)
        default = min(miss, false_alarm)
        return miss / default, false_alarm / default

    @property
    def bayes_threshold(self) -> float:
        """Where a natural-log likelihood ratio should be cut: ln(C_fa (1 - P) / (C_miss P))."""
        return math.log(self.c_fa * (1 - self.p_target) / (self.c_miss * self.p_target))

    def __str__(self) -> str:
        return f"{self.name or 'cost'} (P_target {self.p_target:g}, C_miss {self.c_miss:g}, C_fa {self.c_fa:g})"


ASVSPOOF5 = DetectionCost(0.95, 1, 10, "asvspoof5")  # P_spoof 0.05, arXiv 2408.08739
VOX01 = DetectionCost(0.01, 1, 1, "vox01")
VOX05 = DetectionCost(0.05, 1, 1, "vox05")


@dataclass(frozen=True)
class MinDcf:
    """Lowest normalised detection cost over all thresholds (1 = useless), and where it is reached."""

    value: float
    threshold: float
    cost: DetectionCost


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


def min_dcf(positive: ArrayLike, negative: ArrayLike, cost: DetectionCost) -> MinDcf:
    """Normalised minimum detection cost: min over thresholds of (C_miss P miss + C_fa (1-P) fa) / C_default.

    The threshold is chosen on the same trials, so the value speaks of discrimination only. Raises `MetricError`.
    """
    return min_dcf_at(error_rates(positive, negative), cost)


def min_dcf_at(rates: ErrorRates, cost: DetectionCost) -> MinDcf:
    """Minimum detection cost of given operating points."""
    miss, false_alarm = cost.weights
    costs = miss * rates.miss + false_alarm * rates.false_alarm
    k = int(np.argmin(costs))
    return MinDcf(float(costs[k]), float(rates.thresholds[k]), cost)


def act_dcf(positive_llr: ArrayLike, negative_llr: ArrayLike, cost: DetectionCost) -> float:
    """Normalised detection cost at the Bayes threshold; scores are natural-log likelihood ratios.

    Above 1 is legal: worse than deciding without listening. Raises `MetricError`.
    """
    pos, neg = two_classes(positive_llr, negative_llr)
    miss, false_alarm = cost.weights
    return float(miss * np.mean(pos < cost.bayes_threshold) + false_alarm * np.mean(neg >= cost.bayes_threshold))


def auc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Area under the ROC: chance that a positive scores above a negative, ties counted half. Raises `MetricError`."""
    return auc_at(error_rates(positive, negative))


def auc_at(rates: ErrorRates) -> float:
    """Area under the ROC of given operating points."""
    return float(np.trapezoid(1 - rates.miss[::-1], rates.false_alarm[::-1]))
