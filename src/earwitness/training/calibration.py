"""From scores to bounded log-likelihood ratios with intervals, under the condition that a recording is in.

A calibration is fitted on dev trials as they are, and again on the same trials made short, narrow-band or noisy. A
recording that is in such a condition is answered by its calibration too, and the answer that claims least is given:
evidence from poor audio widens and weakens by measurement, not by taste. Bounds are empirical (ELUB, see
`metrics.calibration.elub_bounds`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from earwitness.core.config import Config
from earwitness.core.errors import MetricError
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.calibration import AffineCalibration, elub_bounds, fit_logistic
from earwitness.metrics.scores import Floats

ConditionName = Literal["clean", "short", "narrow_band", "noisy"]
RESAMPLES = 200
MOST_INTERVALS = 128  # scores whose intervals are found one by one
LEAST_LLR = math.log(2)  # below a ratio of 2 the verbal scale knows no support


class ConditionCalibration(Config):
    """llr = scale * score + offset, kept within [low, high]; `spread` holds bootstrap pairs (scale, offset)."""

    condition: ConditionName
    scale: float
    offset: float
    low: float = Field(le=0)
    high: float = Field(ge=0)
    spread: tuple[tuple[float, float], ...] = ()
    positives: int
    negatives: int

    def llr(self, score: float) -> float:
        """The bounded natural-log likelihood ratio."""
        return float(np.clip(self.scale * score + self.offset, self.low, self.high))

    def llrs(self, scores: Floats) -> Floats:
        """`llr` of many scores [n]."""
        return np.asarray(np.clip(self.scale * scores + self.offset, self.low, self.high))

    def intervals(self, scores: Floats) -> tuple[Floats, Floats]:
        """`interval` of many scores [n]: lower and upper limits [n]. Of more than `MOST_INTERVALS` scores it is found
        on so many places between the lowest and the highest score, and drawn straight between them."""
        if len(scores) > MOST_INTERVALS:
            places = np.linspace(scores.min(), scores.max(), MOST_INTERVALS)
            low, high = self.intervals(places)
            at = (scores - places[0]) / max(places[1] - places[0], 1e-12)
            before = np.minimum(at.astype(np.int64), MOST_INTERVALS - 2)
            beyond = at - before  # as np.interp, several times faster where places are evenly spaced
            return low[before] + beyond * np.diff(low)[before], high[before] + beyond * np.diff(high)[before]
        pairs = np.array(self.spread or [(self.scale, self.offset)])
        found = np.percentile(pairs[:, :1] * scores + pairs[:, 1:], [2.5, 97.5], axis=0)
        low, high = np.clip(found, self.low, self.high)
        return low, high

    def interval(self, score: float) -> tuple[float, float]:
        """The 95 % interval over the bootstrap of the calibration set, bounded like the ratio itself."""
        pairs = np.array(self.spread or [(self.scale, self.offset)])
        low, high = np.percentile(pairs[:, 0] * score + pairs[:, 1], [2.5, 97.5])
        return float(np.clip(low, self.low, self.high)), float(np.clip(high, self.low, self.high))


@dataclass(frozen=True)
class Ratio:
    """A natural-log likelihood ratio, its 95 % interval and bounds, and the conditions it was given under."""

    llr: float
    low: float
    high: float
    bounds: tuple[float, float]
    conditions: tuple[ConditionName, ...]


@dataclass(frozen=True)
class Ratios:
    """`Ratio` of many scores: natural-log likelihood ratios, limits and bounds, [n] each."""

    llr: Floats
    low: Floats
    high: Floats
    least: Floats
    most: Floats

    @classmethod
    def of(cls, ratios: Sequence[Ratio]) -> Ratios:
        """Ratios that were found one by one, possibly under different conditions."""
        rows = np.array([(ratio.llr, ratio.low, ratio.high, *ratio.bounds) for ratio in ratios])
        return cls(*rows.T)

    def at(self, place: int, conditions: tuple[ConditionName, ...] = ()) -> Ratio:
        """One of them."""
        llr, low, high, *bounds = (float(v[place]) for v in (self.llr, self.low, self.high, self.least, self.most))
        return Ratio(llr, low, high, (bounds[0], bounds[1]), conditions)


class Calibration(Config):
    """The calibrations of a model, `clean` first; `fitted_on` names the trials."""

    fitted_on: str
    conditions: tuple[ConditionCalibration, ...] = Field(min_length=1)

    def llr(self, score: float) -> float:
        """The ratio of a recording in no special condition."""
        return self.conditions[0].llr(score)

    def ratio(self, score: float, present: Sequence[ConditionName] = ()) -> Ratio:
        """The answer that claims least among `clean` and the present conditions; its interval covers them all."""
        used = [self.conditions[0], *(c for c in self.conditions[1:] if c.condition in present)]
        least = min(used, key=lambda c: abs(c.llr(score)))
        intervals = [c.interval(score) for c in used]
        return Ratio(
            least.llr(score),
            min(low for low, _ in intervals),
            max(high for _, high in intervals),
            (least.low, least.high),
            tuple(c.condition for c in used[1:]),
        )

    def ratios(self, scores: Floats, present: Sequence[ConditionName] = ()) -> Ratios:
        """`ratio` of many scores [n] that are in the same conditions."""
        used = [self.conditions[0], *(c for c in self.conditions[1:] if c.condition in present)]
        llrs = np.stack([c.llrs(scores) for c in used])
        least = np.abs(llrs).argmin(axis=0)
        limits = [c.intervals(scores) for c in used]
        return Ratios(
            np.take_along_axis(llrs, least[None], axis=0)[0],
            np.min([low for low, _ in limits], axis=0),
            np.max([high for _, high in limits], axis=0),
            np.array([c.low for c in used])[least],
            np.array([c.high for c in used])[least],
        )


def fit_condition(
    condition: ConditionName, positive: ArrayLike, negative: ArrayLike, units: Units, seed: int = 0
) -> ConditionCalibration:
    """Fit one condition; `units` are those of the positives, then of the negatives, and are resampled whole.

    Where the scores of a condition do not rise with the positive class, the answer under it is always 0: nothing is
    known.
    """
    pos, neg = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    try:
        fitted = fit_logistic(pos, neg, misleading=1)
    except MetricError:
        return ConditionCalibration(
            condition=condition, scale=0, offset=0, low=0, high=0, positives=len(pos), negatives=len(neg)
        )
    low, high = elub_bounds(fitted.llr(pos), fitted.llr(neg))
    return ConditionCalibration(
        condition=condition,
        scale=fitted.scale,
        offset=fitted.offset,
        low=low,
        high=high,
        spread=_spread(pos, neg, units, seed),
        positives=len(pos),
        negatives=len(neg),
    )


def _spread(pos: Floats, neg: Floats, units: Units, seed: int) -> tuple[tuple[float, float], ...]:
    """(scale, offset) of calibrations refitted on resampled units; resamples that cannot be fitted are left out."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        counts = units.weights(units.draw(rng)).astype(np.int64)
        chosen_pos = np.repeat(pos, counts[: len(pos)])
        chosen_neg = np.repeat(neg, counts[len(pos) :])
        if len(chosen_pos) == 0 or len(chosen_neg) == 0:
            continue
        try:
            fitted: AffineCalibration = fit_logistic(chosen_pos, chosen_neg, misleading=1)
        except MetricError:
            continue
        found.append((round(fitted.scale, 6), round(fitted.offset, 6)))
    return tuple(found)
