"""Scores as log-likelihood ratios: their cost, their calibration, how far they may be trusted, and words for them.

All likelihood ratios are natural logarithms; positive favours the positive class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from earwitness.core.errors import MetricError
from earwitness.metrics.detection import ErrorRates, convex_hull, error_rates
from earwitness.metrics.scores import Floats, as_scores, two_classes

VERBAL_SCALE = "verbal scale of the ENFSI guideline, 2015"


def cllr(positive_llr: ArrayLike, negative_llr: ArrayLike) -> float:
    """Log-likelihood-ratio cost in bits (Brümmer & du Preez 2006): 0 perfect, 1 for an LLR of 0 throughout.

    Cllr = 1/2 [mean_pos log2(1 + e^-l) + mean_neg log2(1 + e^l)]. Raises `MetricError`.

    >>> cllr([0.0], [0.0])
    1.0
    """
    pos, neg = two_classes(positive_llr, negative_llr)
    return float(np.mean(surprise(pos)) + np.mean(surprise(-neg))) / 2


def surprise(llr: Floats) -> Floats:
    """log2(1 + e^-l), what a log-likelihood ratio in favour of the truth costs, in bits; never overflows."""
    return np.logaddexp(0, -llr) / math.log(2)


def min_cllr(positive: ArrayLike, negative: ArrayLike) -> float:
    """Cllr after the best monotone calibration on the same trials (pool adjacent violators). Raises `MetricError`."""
    return min_cllr_at(error_rates(positive, negative))


def min_cllr_at(rates: ErrorRates) -> float:
    """Minimum Cllr of operating points: a block of the hull has the LLR ln(its share of positives / of negatives)."""
    hull = convex_hull(rates)
    pos, neg = np.diff(hull.miss), -np.diff(hull.false_alarm)
    bits = 0.0
    for own, other in ((pos, neg), (neg, pos)):
        own, other = own[own > 0], other[own > 0]
        bits += float(np.sum(own * np.log2(1 + other / own)))
    return bits / 2


@dataclass(frozen=True)
class AffineCalibration:
    """llr = scale * score + offset, natural log."""

    scale: float
    offset: float

    def llr(self, scores: ArrayLike) -> Floats:
        """Log-likelihood ratios [N] of scores [N]."""
        return self.scale * np.asarray(scores, np.float64) + self.offset


def fit_logistic(
    positive: ArrayLike, negative: ArrayLike, prior: float = 0.5, misleading: int = 0
) -> AffineCalibration:
    """Affine calibration by prior-weighted logistic regression, solved by Newton's method.

    Minimises P mean_pos ln(1 + e^-(l + logit P)) + (1-P) mean_neg ln(1 + e^(l + logit P)) with l = scale * s + offset.
    `misleading` adds that many positives at the lowest score and negatives at the highest, as if the worst had been
    seen: this tempers a small calibration set, and gives separated classes a finite answer.

    Raises `MetricError` where the scores do not rise with the positive class, are all equal, or where the classes do
    not overlap and nothing was added.
    """
    pos, neg = two_classes(positive, negative)
    if not 0 < prior < 1:
        raise MetricError(f"prior is {prior}", where="calibration", fix="Give a prior between 0 and 1.")
    pooled = np.concatenate([pos, neg])
    low, high = float(pooled.min()), float(pooled.max())
    if low == high:
        raise MetricError("all scores are equal, there is nothing to calibrate", where="calibration")
    if misleading <= 0 and pos.min() >= neg.max():
        raise MetricError(
            "the classes do not overlap, so that no finite likelihood ratio fits",
            where="calibration",
            fix="Use more or harder trials, or add misleading ones.",
        )
    pos, neg = np.append(pos, [low] * misleading), np.append(neg, [high] * misleading)
    centre, spread = float(pooled.mean()), float(pooled.std())
    slope, intercept = _newton((pos - centre) / spread, (neg - centre) / spread, prior)
    if not slope > 0:
        raise MetricError(
            "higher scores do not favour the positive class", where="calibration", fix="Check labels and polarity."
        )
    scale = slope / spread
    return AffineCalibration(scale, intercept - scale * centre)


def _newton(pos: Floats, neg: Floats, prior: float) -> tuple[float, float]:
    """Slope and intercept of the weighted logistic regression on standardised scores, with step halving."""
    scores = np.concatenate([pos, neg])
    sign = np.concatenate([np.ones(len(pos)), -np.ones(len(neg))])
    weight = np.concatenate([np.full(len(pos), prior / len(pos)), np.full(len(neg), (1 - prior) / len(neg))])
    inputs = np.stack([scores, np.ones_like(scores)])
    shift = math.log(prior / (1 - prior))

    def loss(at: Floats) -> float:
        return float(weight @ np.logaddexp(0, -sign * (at @ inputs + shift)))

    theta, now = np.zeros(2), loss(np.zeros(2))
    for _ in range(100):
        wrong = expit(-sign * (theta @ inputs + shift))
        gradient = -inputs @ (weight * sign * wrong)
        hessian = (inputs * (weight * wrong * (1 - wrong))) @ inputs.T + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        while (then := loss(theta - step)) > now and np.abs(step).max() > 1e-12:
            step = step / 2
        theta, now = theta - step, min(then, now)
        if np.abs(step).max() < 1e-10:
            break
    return float(theta[0]), float(theta[1])


def elub_bounds(positive_llr: ArrayLike, negative_llr: ArrayLike) -> tuple[float, float]:
    """Empirical lower and upper bound of log-likelihood ratios that these trials can support, natural log.

    A ratio beyond the bound would lead to worse decisions than not listening, once one misleading trial of either class
    is added: the upper bound is the lowest threshold t >= 1 with miss + t * false alarm > 1, the lower one its mirror
    image (Vergeer et al., Science & Justice 56 (2016) 482-491). Returns (low <= 0, high >= 0). Raises `MetricError`.
    """
    pos, neg = two_classes(positive_llr, negative_llr)
    return -_upper_bound(-neg, -pos), _upper_bound(pos, neg)


def _upper_bound(favoured: Floats, other: Floats) -> float:
    """Solved exactly: between neighbouring ratios the rates are constant, so miss + t * false alarm is linear in t."""
    favoured, other = np.sort(favoured), np.sort(other)
    steps = np.unique(np.concatenate([[0.0], favoured[favoured > 0], other[other > 0]]))
    accepted = (len(favoured) - np.searchsorted(favoured, steps, "right")) / (len(favoured) + 1)
    false_alarm = (len(other) - np.searchsorted(other, steps, "right") + 1) / (len(other) + 1)
    with np.errstate(divide="ignore"):
        supported = np.log(accepted) - np.log(false_alarm)
    fails = supported < np.append(steps[1:], np.inf)
    k = int(np.argmax(fails))
    return float(max(steps[k], supported[k]))


@dataclass(frozen=True)
class VerbalStep:
    """Likelihood ratios from `low` up to `high` (not included) and their words."""

    low: float
    high: float
    words: str


VERBAL_STEPS = (
    VerbalStep(1, 2, "no support either way"),
    VerbalStep(2, 10, "weak support"),
    VerbalStep(10, 100, "moderate support"),
    VerbalStep(100, 1_000, "moderately strong support"),
    VerbalStep(1_000, 10_000, "strong support"),
    VerbalStep(10_000, 1_000_000, "very strong support"),
    VerbalStep(1_000_000, math.inf, "extremely strong support"),
)


def verbal_scale(llr: float) -> str:
    """Strength in words of the ENFSI guideline for evaluative reporting (2015); the sign says for which proposition.

    >>> verbal_scale(math.log(250))
    'moderately strong support'

    Raises `MetricError` for NaN.
    """
    if math.isnan(llr):
        raise MetricError("is NaN", where="log-likelihood ratio")
    # a hair of tolerance: e^ln(10) must land in the class that begins at 10
    return next(step.words for step in reversed(VERBAL_STEPS) if abs(llr) >= math.log(step.low) - 1e-12)


def bounded(llr: ArrayLike, bounds: tuple[float, float]) -> Floats:
    """Log-likelihood ratios [N] cut to what `elub_bounds` found supported."""
    return np.clip(as_scores(np.atleast_1d(np.asarray(llr, np.float64)), "log-likelihood ratios"), *bounds)
