"""Calibration that hears how good both recordings are (quality measures of arXiv 2010.11255, in WeSpeaker's form).

A trial's inputs are its normalised score and, for each of duration, embedding norm and cohort mean, what the two sides
make of it: smaller, larger, difference, ratio. One linear output of these 13 numbers is the log-likelihood ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats, as_scores

LONGEST_S = 20.0  # longer recordings are as good as this one
MEASURES = ("duration", "norm", "cohort mean")
INPUTS = 1 + 4 * len(MEASURES)


@dataclass(frozen=True)
class Qualities:
    """One side of n trials, [n] each: seconds heard, length of the embedding before it is made a unit vector, and mean
    of its K highest cohort cosines. All must be above 0."""

    duration_s: ArrayLike
    norm: ArrayLike
    cohort_mean: ArrayLike

    def measures(self) -> list[Floats]:
        """In the order of `MEASURES`, durations capped. Raises `MetricError` for what is not above 0."""
        found = [as_scores(v, name) for v, name in zip(self._values, MEASURES, strict=True)]
        for values, name in zip(found, MEASURES, strict=True):
            if values.min() <= 0:
                what = f"{int((values <= 0).sum())} not above 0, so that a ratio of two says nothing"
                raise MetricError(what, where=name, fix="Leave these trials out.")
        return [np.minimum(found[0], LONGEST_S), *found[1:]]

    @property
    def _values(self) -> tuple[ArrayLike, ...]:
        return self.duration_s, self.norm, self.cohort_mean


@dataclass(frozen=True)
class QualityFusion:
    """llr = inputs . weights + bias; `weights` [13]."""

    weights: Floats
    bias: float

    def llr(self, inputs: Floats) -> Floats:
        """Natural-log likelihood ratios [n] of inputs [n, 13]."""
        return np.asarray(inputs @ self.weights + self.bias)


def quality_inputs(scores: ArrayLike, enrolment: Qualities, test: Qualities) -> Floats:
    """[n, 13]: the score, then minimum, maximum, difference and ratio (max / min) of each measure.

    The same for both orders of the sides. Raises `MetricError` for numbers that are not finite, for measures that are
    not above 0, and for unequal lengths.
    """
    columns = [as_scores(scores, "scores")]
    for a, b in zip(enrolment.measures(), test.measures(), strict=True):
        if not len(a) == len(b) == len(columns[0]):
            raise MetricError(f"{len(columns[0])} scores with measures of {len(a)} and {len(b)} recordings")
        low, high = np.minimum(a, b), np.maximum(a, b)
        columns += [low, high, high - low, high / low]
    return np.stack(columns, axis=1)


def fit_quality_fusion(inputs: Floats, target: ArrayLike) -> QualityFusion:
    """Minimise Cllr over inputs [n, 13] of trials that are targets or not ([n], true or false), by L-BFGS.

    Begins with weights of 1/13 and no bias. Raises `MetricError` where a class is missing, or where the inputs tell
    the classes apart without an error (no finite ratio fits then).
    """
    x, is_target = np.asarray(inputs, np.float64), np.asarray(target, np.bool_)
    if x.ndim != 2 or x.shape != (len(is_target), INPUTS) or not np.isfinite(x).all():
        raise MetricError(f"inputs of shape {list(x.shape)} must be finite and [{len(is_target)}, {INPUTS}]")
    if is_target.all() or not is_target.any():
        raise MetricError("there are trials of one class only", where="quality fusion", fix="Give both classes.")
    # in standard units the measures, which differ in size by a thousand, converge alike
    centre, spread = x.mean(axis=0), np.where(x.std(axis=0) > 1e-12, x.std(axis=0), 1.0)
    standard = np.column_stack([(x - centre) / spread, np.ones(len(x))])
    sign = np.where(is_target, 1.0, -1.0)
    share = 0.5 / np.where(is_target, is_target.sum(), (~is_target).sum())

    def cost(theta: Floats) -> tuple[float, Floats]:
        margin = sign * (standard @ theta)
        bits = float(share @ np.logaddexp(0, -margin)) / math.log(2)
        return bits, -(standard.T @ (share * sign * expit(-margin))) / math.log(2)

    first = np.full(INPUTS, 1 / INPUTS)
    start = np.append(first * spread, float(first @ centre))
    found = minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-13, "gtol": 1e-9})
    weights = found.x[:-1] / spread
    fusion = QualityFusion(weights, float(found.x[-1] - weights @ centre))
    llr = fusion.llr(x)
    if llr[is_target].min() > llr[~is_target].max():
        raise MetricError("the classes do not overlap, so that no finite likelihood ratio fits", where="quality fusion")
    return fusion
