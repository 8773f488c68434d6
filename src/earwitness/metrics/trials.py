"""Two-class trials sorted once, so that a resample costs a weighted count and not a sort.

trials = Trials(positive, negative, units)          # units: the rows of the positives, then of the negatives
bootstrap(lambda counts: [trials.resample(counts).eer()], units)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.core.errors import MetricError
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.calibration import min_cllr_at, surprise
from earwitness.metrics.costs import Cost, DetectionCost
from earwitness.metrics.detection import (
    EerMethod,
    ErrorRates,
    asvspoof_eer_of_sorted,
    auc_at,
    counts_below,
    eer_at,
    min_dcf_at,
)
from earwitness.metrics.scores import Floats, as_weights, two_classes
from earwitness.metrics.tandem import Tandem, min_tdcf_at, require_scores


class Trials:
    """Scores of two classes and the units that they are resampled by. Raises `MetricError` as every metric does.

    `weights`, one a row as in `units`, make a trial count for more than one (`partition_weights`).
    """

    def __init__(
        self, positive: ArrayLike, negative: ArrayLike, units: Units, weights: ArrayLike | None = None
    ) -> None:
        pos, neg = two_classes(positive, negative)
        if len(units.codes) != len(pos) + len(neg):
            raise MetricError(
                f"{len(units.codes)} rows have a unit, {len(pos) + len(neg)} have a score", where="bootstrap"
            )
        pos_order, neg_order = np.argsort(pos, kind="stable"), np.argsort(neg, kind="stable")
        self.positive, self.negative = pos[pos_order], neg[neg_order]
        self.positive_units = units.take(pos_order)
        self.negative_units = units.take(neg_order + len(pos))
        self.weighted = weights is not None
        if weights is not None:
            rows = as_weights(weights, len(pos) + len(neg), "weights")
            self.positive_weights, self.negative_weights = rows[pos_order], rows[neg_order + len(pos)]
        self.thresholds, *below = _corners(self.positive, self.negative)
        self.positive_runs, self.negative_runs = (_Runs.between(cuts) for cuts in below)

    def resample(self, counts: Floats) -> Resample:
        """The trials with each unit counted `counts` [U] times. Raises `MetricError` where one class is left empty."""
        pos, neg = self.positive_units.weights(counts), self.negative_units.weights(counts)
        if self.weighted:
            pos, neg = pos * self.positive_weights, neg * self.negative_weights
        return Resample(self, pos, neg)

    @cached_property
    def surprises(self) -> tuple[Floats, Floats]:
        """What each trial costs in bits when its score is read as a log-likelihood ratio."""
        return surprise(self.positive), surprise(-self.negative)

    @cached_property
    def distinct(self) -> int:
        """How many distinct scores there are."""
        return len(self.steps[0])

    @cached_property
    def steps(self) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
        """The distinct scores [K], and how many of each class lie below them and below +inf, [K + 1]."""
        return counts_below(self.positive, self.negative)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Places of the sorted positives, then negatives, in one rising order with positives first among ties."""
        return np.argsort(np.concatenate([self.positive, self.negative]), kind="stable")


@dataclass(frozen=True)
class _Runs:
    """Sorted trials of one class, cut at the corners: run j begins at `starts[j]`, corner k is after `runs[k]` runs."""

    starts: NDArray[np.int64]
    runs: NDArray[np.int64]

    @classmethod
    def between(cls, below: NDArray[np.int64]) -> _Runs:
        """From the number of trials below each corner, rising from 0 to all."""
        cuts, runs = np.unique(below, return_inverse=True)
        return cls(cuts[:-1], runs)

    def below(self, weights: Floats) -> Floats:
        """Weight of the trials below each corner, [K]."""
        return np.concatenate([[0.0], np.cumsum(np.add.reduceat(weights, self.starts))]).take(self.runs)


def _corners(pos: Floats, neg: Floats) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Where the ROC staircase of sorted scores turns: thresholds [K], positives and negatives below each.

    A run of scores of one class alone has no turn inside, and is a straight line under any weights.
    """
    distinct, pos_below, neg_below = counts_below(pos, neg)
    has_pos, has_neg = np.diff(pos_below) > 0, np.diff(neg_below) > 0
    turns = (has_pos[1:] != has_pos[:-1]) | (has_neg[1:] != has_neg[:-1]) | (has_pos[1:] & has_neg[1:])
    keep = np.flatnonzero(np.concatenate([[True], turns, [True]]))
    return np.append(distinct, np.inf)[keep], pos_below[keep], neg_below[keep]


class Resample:
    """Metrics of weighted trials; `positive` and `negative` are the weights of the sorted trials."""

    def __init__(self, trials: Trials, positive: Floats, negative: Floats) -> None:
        self.trials, self.positive, self.negative = trials, positive, negative
        self._positives, self._negatives = float(positive.sum()), float(negative.sum())
        if not (self._positives > 0 and self._negatives > 0):
            raise MetricError("one class is empty", where="resample")

    @cached_property
    def rates(self) -> ErrorRates:
        """Error rates at the corners of the ROC."""
        missed = self.trials.positive_runs.below(self.positive)
        rejected = self.trials.negative_runs.below(self.negative)
        return self._rates(self.trials.thresholds, missed, rejected)

    def eer(self, method: EerMethod = "interpolated") -> float:
        """Equal error rate; the `nearest` methods look at single trials, not at straight lines."""
        if method == "asvspoof":
            if self.trials.weighted:
                raise MetricError("the official EER knows no weights", fix="Use method 'interpolated'.")
            weights = np.concatenate([self.positive, self.negative])[self.trials.order]
            is_positive = self.trials.order < len(self.positive)
            return asvspoof_eer_of_sorted(np.repeat(is_positive, weights.astype(np.int64)))[0]
        rates = self.all_rates() if method in ("nearest_mean", "nearest_max") else self.rates
        return eer_at(rates, method).value

    def min_dcf(self, cost: Cost) -> float:
        """Normalised minimum detection cost."""
        return min_dcf_at(self.rates, cost).value

    def act_dcf(self, cost: Cost) -> float:
        """Normalised detection cost at the Bayes threshold; scores are natural-log likelihood ratios."""
        return sum(self._act(point) for point in cost.points) / len(cost.points)

    def min_tdcf(self, tandem: Tandem) -> float:
        """Minimum t-DCF of a countermeasure beside an ASV system whose error rates stay fixed."""
        require_scores(self.trials.distinct)
        return min_tdcf_at(self.rates, tandem).value

    def cllr(self) -> float:
        """Log-likelihood-ratio cost in bits; scores are natural-log likelihood ratios."""
        pos, neg = self.trials.surprises
        bits = _dot(self.positive, pos) / self._positives + _dot(self.negative, neg) / self._negatives
        return bits / 2

    def min_cllr(self) -> float:
        """Cllr after the best monotone calibration, in bits."""
        return min_cllr_at(self.rates)

    def auc(self) -> float:
        """Area under the ROC."""
        return auc_at(self.rates)

    def _act(self, point: DetectionCost) -> float:
        miss, false_alarm = point.weights
        first_pos = np.searchsorted(self.trials.positive, point.bayes_threshold)
        first_neg = np.searchsorted(self.trials.negative, point.bayes_threshold)
        missed = self.positive[:first_pos].sum() / self._positives
        accepted = self.negative[first_neg:].sum() / self._negatives
        return float(miss * missed + false_alarm * accepted)

    def all_rates(self) -> ErrorRates:
        """Error rates at every score, not only at the corners."""
        distinct, pos_below, neg_below = self.trials.steps
        missed = np.concatenate([[0.0], np.cumsum(self.positive)])[pos_below]
        rejected = np.concatenate([[0.0], np.cumsum(self.negative)])[neg_below]
        return self._rates(np.append(distinct, np.inf), missed, rejected)

    def _rates(self, thresholds: Floats, missed: Floats, rejected: Floats) -> ErrorRates:
        miss, false_alarm = missed / self._positives, 1 - rejected / self._negatives
        return ErrorRates(thresholds, miss, false_alarm, self._positives, self._negatives)


def _dot(weights: Floats, values: Floats) -> float:
    """Their product sum, in one thread: a BLAS that splits so short a sum over threads loses more than it gains."""
    return float(np.einsum("i,i", weights, values))
