"""A countermeasure beside a speaker verification (ASV) system: t-DCF, a-DCF, t-EER and SASV-EER.

Three classes: target and nontarget are human, spoof is not; a higher score favours the target (ASV, joint system) or
bona fide (countermeasure). Results of ASVspoof 2019 are in the legacy form of the t-DCF and cannot be compared with the
revised form of 2021 and later: a `Tandem` names its form.

tandem = TandemCost().tandem(asv_rates(SasvScores(target, nontarget, spoof)), "revised")
min_tdcf(bonafide, spoof, tandem).value
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.core.errors import MetricError
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.detection import Eer, EerMethod, ErrorRates, TieWarning, eer, error_rates, lowest_cost
from earwitness.metrics.scores import Floats, as_scores

TdcfForm = Literal["legacy", "revised"]
Compat = Literal["asvspoof5-full"]

_EQUAL = 1e-12  # rates this close are equal; rounding must not choose between thresholds
FEWEST_DISTINCT = 3  # fewer are decisions, and a curve of decisions has no minimum worth printing


class SasvScores:
    """Scores of one system over the three classes, float64 [N] each. Raises `MetricError` for what are no scores."""

    def __init__(self, target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> None:
        self.target = as_scores(target, "target scores")
        self.nontarget = as_scores(nontarget, "nontarget scores")
        self.spoof = as_scores(spoof, "spoof scores")

    @property
    def bonafide(self) -> Floats:
        """Targets, then nontargets."""
        return np.concatenate([self.target, self.nontarget])

    @property
    def impostors(self) -> Floats:
        """Nontargets, then spoofs."""
        return np.concatenate([self.nontarget, self.spoof])


@dataclass(frozen=True)
class AsvRates:
    """Error rates of an ASV system at one threshold; it accepts where score >= threshold (None: not known)."""

    p_miss: float
    p_fa: float
    p_fa_spoof: float
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not all(0 <= rate <= 1 for rate in (self.p_miss, self.p_fa, self.p_fa_spoof)):
            raise MetricError(f"no error rates: {self}", where="ASV", fix="Each lies between 0 and 1.")


# the organisers' ASV of ASVspoof 5, pooled over conditions (evaluation package)
ASVSPOOF5_ASV = AsvRates(0.01880141010575793, 0.01881016557566423, 0.4607082907604729)


def asv_rates(scores: SasvScores, threshold: float | None = None, compat: Compat | None = None) -> AsvRates:
    """Error rates of an ASV system at its own EER threshold (official definition, target against nontarget).

    `compat="asvspoof5-full"` repeats a defect of the ASVspoof 5 package, which takes the share of spoofs *rejected* for
    the share accepted where it is given the ASV's scores: only to match tables made with it. Raises `MetricError`.
    """
    if compat not in (None, "asvspoof5-full"):
        raise MetricError(f"unknown compat '{compat}'", fix="Use None or 'asvspoof5-full'.")
    cut = eer(scores.target, scores.nontarget, "asvspoof").threshold if threshold is None else threshold
    if not math.isfinite(cut):
        raise MetricError(f"threshold is {cut}", where="ASV")
    accepted = float(np.mean(scores.spoof >= cut))
    return AsvRates(
        p_miss=float(np.mean(scores.target < cut)),
        p_fa=float(np.mean(scores.nontarget >= cut)),
        p_fa_spoof=1 - accepted if compat == "asvspoof5-full" else accepted,
        threshold=cut,
    )


@dataclass(frozen=True)
class TandemCost:
    """Priors of the three classes and prices of errors; the defaults are those of ASVspoof 2019, 2021 and 5.

    A target lost costs `c_miss`, whichever of the two systems lost it (C_miss_asv and C_miss_cm of the legacy form).
    Raises `MetricError` where priors do not sum to 1 or a price is negative.
    """

    p_target: float = 0.9405
    p_nontarget: float = 0.0095
    p_spoof: float = 0.05
    c_miss: float = 1.0
    c_fa: float = 10.0
    c_fa_spoof: float = 10.0
    name: str = "asvspoof"

    def __post_init__(self) -> None:
        priors = (self.p_target, self.p_nontarget, self.p_spoof)
        prices = (self.c_miss, self.c_fa, self.c_fa_spoof)
        if not (all(p >= 0 for p in priors) and abs(sum(priors) - 1) <= 1e-10):
            raise MetricError(f"priors sum to {sum(priors):g}: {self}", where="cost model", fix="They must sum to 1.")
        if not all(c >= 0 and math.isfinite(c) for c in prices):
            raise MetricError(f"a price is negative or not finite: {self}", where="cost model")

    def tandem(self, asv: AsvRates, form: TdcfForm = "revised") -> Tandem:
        """The t-DCF beside this ASV. Raises `MetricError` for an ASV that leaves a countermeasure nothing to win.

        legacy: Kinnunen et al., Odyssey 2018, ASV-constrained; revised: Kinnunen et al., T-ASLP 2020.
        """
        if form not in ("legacy", "revised"):
            raise MetricError(f"unknown form of the t-DCF '{form}'", fix="Use 'legacy' or 'revised'.")
        floor = self.p_target * self.c_miss * asv.p_miss + self.p_nontarget * self.c_fa * asv.p_fa
        miss = self.p_target * self.c_miss - floor
        false_alarm = self.p_spoof * self.c_fa_spoof * asv.p_fa_spoof
        return Tandem(floor if form == "revised" else 0.0, miss, false_alarm, form)

    def __str__(self) -> str:
        priors = f"P_target {self.p_target:g}, P_nontarget {self.p_nontarget:g}, P_spoof {self.p_spoof:g}"
        return f"{self.name} ({priors}, C_miss {self.c_miss:g}, C_fa {self.c_fa:g}, C_fa_spoof {self.c_fa_spoof:g})"


ASVSPOOF_TANDEM = TandemCost()
ADCF_PACKAGE = TandemCost(0.9, 0.05, 0.05, 1, 10, 20, "a-dcf package")  # default of the stand-alone package


@dataclass(frozen=True)
class Tandem:
    """t-DCF(threshold) = c0 + c1 x P_miss + c2 x P_fa of the countermeasure; `c0` is 0 in the legacy form.

    Usually from `TandemCost.tandem`; ASVspoof 2021 also publishes the three numbers for each condition.
    Raises `MetricError` where one is negative, or where c1 or c2 is 0: there is nothing for a countermeasure to win.
    """

    c0: float
    c1: float
    c2: float
    form: TdcfForm

    def __post_init__(self) -> None:
        if not (self.c0 >= 0 and self.c1 > 0 and self.c2 > 0 and math.isfinite(self.c0 + self.c1 + self.c2)):
            raise MetricError(
                f"no t-DCF with C0 {self.c0:g}, C1 {self.c1:g}, C2 {self.c2:g}",
                fix="The ASV must accept some spoofs and err rarely on humans; check its scores and labels.",
            )

    @property
    def default(self) -> float:
        """Cost of the better of accept-all and reject-all, by which costs are normalised."""
        return self.c0 + min(self.c1, self.c2)

    @property
    def floor(self) -> float:
        """The normalised cost of a perfect countermeasure: what the ASV's own errors cost. 0 in the legacy form."""
        return self.c0 / self.default


@dataclass(frozen=True)
class MinTdcf(TieWarning):
    """Lowest normalised t-DCF over the countermeasure's thresholds (score >= threshold is accepted)."""

    value: float
    threshold: float
    tandem: Tandem
    tied_fraction: float


def min_tdcf(bonafide: ArrayLike, spoof: ArrayLike, tandem: Tandem) -> MinTdcf:
    """Minimum normalised tandem detection cost of a countermeasure.

    Below 1 for a useful one; never below `tandem.floor`. Raises `MetricError` as every metric does, and for fewer than
    three distinct scores, which are decisions.
    """
    rates = error_rates(bonafide, spoof)
    require_scores(len(rates.thresholds) - 1)
    return min_tdcf_at(rates, tandem)


def min_tdcf_at(rates: ErrorRates, tandem: Tandem) -> MinTdcf:
    """Minimum t-DCF of a countermeasure's operating points."""
    cost, threshold = lowest_cost(rates, tandem.c1, tandem.c2)
    return MinTdcf((tandem.c0 + cost) / tandem.default, threshold, tandem, rates.tied_fraction)


def require_scores(distinct: int) -> None:
    """Raise `MetricError` where there are so few distinct scores that they are decisions."""
    if distinct < FEWEST_DISTINCT:
        raise MetricError(
            f"fewer than {FEWEST_DISTINCT} distinct scores", where="t-DCF", fix="Give scores, not decisions."
        )


@dataclass(frozen=True)
class SasvRates:
    """Operating points of one system by rising threshold, from accept-all to reject-all; arrays are [K]."""

    thresholds: Floats
    miss: Floats
    fa_nontarget: Floats
    fa_spoof: Floats


class SasvTrials:
    """Scores of three classes sorted once; a resample costs a weighted count. See `Trials` for two classes.

    `units` has the rows of the targets, then of the nontargets, then of the spoofs.
    """

    def __init__(self, scores: SasvScores, units: Units | None = None) -> None:
        classes = (scores.target, scores.nontarget, scores.spoof)
        rows = sum(map(len, classes))
        self.units = units or Units.each(rows)
        if len(self.units.codes) != rows:
            raise MetricError(f"{len(self.units.codes)} rows have a unit, {rows} have a score", where="bootstrap")
        self.thresholds = np.append(np.unique(np.concatenate(classes)), np.inf)
        starts = np.cumsum([0, *map(len, classes)])
        self._sides = [
            _Side.of(one, int(start), self.thresholds) for one, start in zip(classes, starts[:-1], strict=True)
        ]

    def rates(self, counts: Floats | None = None) -> SasvRates:
        """Error rates with each unit counted `counts` [U] times. Raises `MetricError` where a class is left empty."""
        weights = self.units.weights(np.ones(self.units.count) if counts is None else counts)
        miss, nontarget, spoof = (side.rejected(weights) for side in self._sides)
        return SasvRates(self.thresholds, miss, 1 - nontarget, 1 - spoof)


@dataclass(frozen=True)
class _Side:
    """One class: its rows [n] by rising score, and how many of them lie below each threshold [K]."""

    rows: NDArray[np.int64]
    below: NDArray[np.int64]

    @classmethod
    def of(cls, scores: Floats, start: int, thresholds: Floats) -> _Side:
        order = np.argsort(scores, kind="stable")
        return cls(order + start, np.searchsorted(scores[order], thresholds))

    def rejected(self, weights: Floats) -> Floats:
        """Share of the class below each threshold, [K]."""
        passed = np.concatenate([[0.0], np.cumsum(weights[self.rows])])
        if not passed[-1] > 0:
            raise MetricError("one class is empty", where="resample")
        return np.asarray((passed / passed[-1])[self.below], np.float64)


@dataclass(frozen=True)
class MinAdcf:
    """Lowest normalised a-DCF over thresholds (score >= threshold is accepted) and the cost model it belongs to."""

    value: float
    threshold: float
    cost: TandemCost


def min_adcf(scores: SasvScores, cost: TandemCost = ASVSPOOF_TANDEM) -> MinAdcf:
    """Minimum architecture-agnostic detection cost of one score for all three classes (arXiv 2403.01355).

    The default is the cost model of ASVspoof 5 track 2; `ADCF_PACKAGE` that of the stand-alone package. Both are called
    a-DCF, so print the model. Raises `MetricError`.
    """
    return min_adcf_at(SasvTrials(scores).rates(), cost)


def min_adcf_at(rates: SasvRates, cost: TandemCost) -> MinAdcf:
    """Minimum a-DCF of operating points. Raises `MetricError` for a cost model under which one decision is free."""
    miss, nontarget, spoof = cost.p_target * cost.c_miss, cost.p_nontarget * cost.c_fa, cost.p_spoof * cost.c_fa_spoof
    default = min(miss, nontarget + spoof)
    if not default > 0:
        raise MetricError(f"deciding without listening costs nothing under {cost}", where="a-DCF")
    costs = (miss * rates.miss + nontarget * rates.fa_nontarget + spoof * rates.fa_spoof) / default
    k = int(np.argmin(costs))
    return MinAdcf(float(costs[k]), float(rates.thresholds[k]), cost)


def sasv_eer(scores: SasvScores, method: EerMethod = "interpolated") -> Eer:
    """EER of targets against nontargets and spoofs pooled (SASV challenge 2022). Depends on their proportion."""
    return eer(scores.target, scores.impostors, method)


@dataclass(frozen=True)
class TandemEer:
    """Concurrent tandem EER as a share, and the two thresholds where it is met (score >= threshold is accepted)."""

    value: float
    asv_threshold: float
    cm_threshold: float


def t_eer(asv: SasvScores, cm: SasvScores) -> TandemEer:
    """Concurrent t-EER of a cascade of countermeasure and ASV (Kinnunen et al., T-PAMI 2023, at even spoof prior).

    For each ASV threshold the countermeasure's threshold is the one where tandem miss and false alarm differ least;
    of these pairs the one is taken where the error no longer depends on the share of spoofs. Tied scores move together.
    The two systems may be tested on different trials. Raises `MetricError` where no pair exists: the ASV rejects
    targets more often than it accepts anything else, at every threshold.
    """
    return t_eer_at(SasvTrials(asv).rates(), error_rates(cm.bonafide, cm.spoof))


def t_eer_at(one: SasvRates, other: ErrorRates) -> TandemEer:
    """Concurrent t-EER of the operating points of an ASV and of a countermeasure. Raises `MetricError`."""
    usable = one.miss < (one.fa_nontarget + one.fa_spoof) / 2 - _EQUAL
    if not usable.any():
        raise MetricError("there is no t-EER: the ASV loses targets at every threshold", fix="Check its polarity.")
    miss, nontarget, spoof = one.miss[usable], one.fa_nontarget[usable], one.fa_spoof[usable]
    k = _balanced(miss, nontarget, spoof, other)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.abs(nontarget / spoof - other.false_alarm[k] / (1 - other.miss[k]))
    gap = np.where(np.isnan(gap), np.inf, gap)
    at = int(np.flatnonzero(gap <= gap.min() + _EQUAL)[0])
    return TandemEer(
        value=float(spoof[at] * other.false_alarm[k[at]]),
        asv_threshold=float(one.thresholds[usable][at]),
        cm_threshold=float(other.thresholds[k[at]]),
    )


def _balanced(miss: Floats, nontarget: Floats, spoof: Floats, cm: ErrorRates) -> NDArray[np.int64]:
    """For each ASV operating point the countermeasure's point with the smallest |tandem miss - false alarm|.

    The difference rises with the countermeasure's threshold, from below 0 to 1: all are bisected together.
    """

    def difference(k: NDArray[np.int64]) -> Floats:
        passed = 1 - cm.miss[k]
        return np.asarray(cm.miss[k] + passed * miss - (passed * nontarget + cm.false_alarm[k] * spoof) / 2)

    low, high = np.zeros(len(miss), np.int64), np.full(len(miss), len(cm.miss) - 1)
    while (high - low > 1).any():
        middle = (low + high) // 2
        above = difference(middle) >= 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(difference(high) < -difference(low) - _EQUAL, high, low)
