"""The figures by which scores are judged: each with its definition, and how it is computed from (resampled) trials.

One list serves judging and comparing, so that a figure means the same in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from earwitness.core.errors import MetricError, UsageError
from earwitness.evaluation.judging.draws import HUMANS, SPEAKERS, SPOOFS, Draw, Sides, Sorted
from earwitness.evaluation.judging.tasks import Task
from earwitness.metrics.costs import ASVSPOOF5, VOX01, VOX05, Cost
from earwitness.metrics.detection import (
    EER_DEFINITIONS,
    EerMethod,
)
from earwitness.metrics.scores import Floats
from earwitness.metrics.tandem import (
    ADCF_PACKAGE,
    ASVSPOOF_TANDEM,
    AsvRates,
    Tandem,
    TandemCost,
    min_adcf_at,
    t_eer_at,
)

COSTS: dict[Task, tuple[Cost, ...]] = {"deepfake": (ASVSPOOF5,), "speaker": (VOX01, VOX05)}
_NORMAL = "divided by the cost of the better of accept-all and reject-all"


@dataclass(frozen=True)
class Figure:
    """One figure; `scale` is "share", "bits" or "cost", `columns` the numbers that every row needs for it.

    What is `optional` is left out, with a note, where the trials do not allow it.
    """

    name: str
    definition: str
    scale: str
    of: Callable[[Draw], float]
    columns: tuple[str, ...] = ("score",)
    optional: bool = False


def figures_of(task: Task, method: EerMethod, also: Sequence[EerMethod], costs: Sequence[Cost]) -> list[Figure]:
    """The figures of a task in the order of print; `costs` empty means those customary for it.

    Raises `UsageError` for costs of two classes where there are three.
    """
    others = [other for other in also if other != method]
    if task == "sasv":
        if costs:
            fix = "Leave the option out: the a-DCF is printed under both cost models in use."
            raise UsageError(f"cost '{costs[0].name}' knows two classes, sasv has three", where="--cost", fix=fix)
        return _sasv_figures(method, others)
    costs = costs or COSTS[task]
    return [
        _eer("EER", method),
        *(_eer(f"EER {other}", other) for other in others),
        _AUC,
        *(_min_dcf(cost) for cost in costs),
        Figure(
            "minCllr",
            "Cllr after the best monotone calibration on these trials",
            "bits",
            lambda drawn: drawn.trials().min_cllr(),
        ),
        Figure("Cllr", _CLLR, "bits", lambda drawn: drawn.trials("llr").cllr(), ("llr",)),
        *(_act_dcf(cost) for cost in costs),
    ]


_CLLR = "1/2 [mean_pos log2(1 + e^-llr) + mean_neg log2(1 + e^llr)], from column llr"
_AUC = Figure(
    "AUC",
    "chance that a positive scores above a negative, ties counted half",
    "share",
    lambda drawn: drawn.trials().auc(),
)


def _eer(name: str, method: EerMethod, sides: Sides | None = None, against: str = "") -> Figure:
    definition = f"{against}{method}: {EER_DEFINITIONS[method]}"
    return Figure(name, definition, "share", lambda drawn: drawn.trials("score", sides).eer(method))


def _min_dcf(cost: Cost) -> Figure:
    definition = f"lowest over thresholds, {_NORMAL}; {cost}"
    return Figure(f"minDCF {cost.name}", definition, "cost", lambda drawn: drawn.trials().min_dcf(cost))


def _act_dcf(cost: Cost) -> Figure:
    definition = f"at the Bayes threshold of column llr, {_NORMAL}; {cost}"
    return Figure(f"actDCF {cost.name}", definition, "cost", lambda drawn: drawn.trials("llr").act_dcf(cost), ("llr",))


def tdcf_figure(tandem: Tandem) -> Figure:
    """The minimum tandem cost beside a verifier (Kinnunen et al., Odyssey 2018 legacy, T-ASLP 2020 revised)."""
    definition = (
        f"{tandem.form} form beside a fixed verifier: C0 {tandem.c0:.6f}, C1 {tandem.c1:.6f}, C2 {tandem.c2:.6f}, "
        f"{_NORMAL}"
    )
    return Figure(f"min t-DCF {tandem.form}", definition, "cost", lambda drawn: drawn.trials().min_tdcf(tandem))


def verifier_words(rates: AsvRates, tandem: Tandem) -> str:
    """The verifier that a t-DCF stands beside, for a note."""
    words = f"miss {rates.p_miss:.2%}, false alarm {rates.p_fa:.2%}, spoofs accepted {rates.p_fa_spoof:.2%}"
    return f"verifier at its EER threshold {rates.threshold:.4f}: {words}; floor of the t-DCF {tandem.floor:.4f}"


def _sasv_figures(method: EerMethod, others: Sequence[EerMethod]) -> list[Figure]:
    """Of spoofing-aware verification (arXiv 2403.01355, 2408.08739): a-DCF first, the measure of ASVspoof 5 track 2."""
    rest = "targets against nontargets and spoofs, "
    both = ("cm_score", "asv_score")
    tandem = f"of cm_score, revised form beside the verifier of asv_score at its EER threshold, {_NORMAL}; "
    return [
        _min_adcf("min a-DCF", ASVSPOOF_TANDEM),
        _min_adcf("min a-DCF package", ADCF_PACKAGE),
        _eer("SASV-EER", method, None, rest),
        *(_eer(f"SASV-EER {other}", other, None, rest) for other in others),
        _eer("SV-EER", method, SPEAKERS, "targets against nontargets, "),
        _eer("SPF-EER", method, SPOOFS, "targets against spoofs, "),
        _AUC,
        Figure("t-EER", _TEER, "share", _t_eer, both, optional=True),
        Figure("min t-DCF revised", f"{tandem}{ASVSPOOF_TANDEM}", "cost", _own_tdcf, both, optional=True),
    ]


_TEER = "concurrent tandem EER of cm_score and asv_score, where it does not depend on the share of spoofs"


def _min_adcf(name: str, cost: TandemCost) -> Figure:
    definition = f"architecture-agnostic cost, lowest over thresholds, {_NORMAL}; {cost}"
    return Figure(name, definition, "cost", lambda drawn: min_adcf_at(drawn.sasv(), cost).value)


def _t_eer(drawn: Draw) -> float:
    return t_eer_at(drawn.sasv("asv_score"), drawn.trials("cm_score", HUMANS).all_rates()).value


def _own_tdcf(drawn: Draw) -> float:
    return drawn.trials("cm_score", HUMANS).min_tdcf(drawn.sorted.tandem)


def computable(figures: Sequence[Figure], *tables: Sorted) -> tuple[list[Figure], list[str]]:
    """The figures that every table allows, and why an optional one is left out.

    Raises `MetricError` where one that is not optional cannot be had.
    """
    kept, notes = [], []
    whole = [Draw(table, np.ones(table.units.count)) for table in tables]
    for figure in figures:
        missing = [name for name in figure.columns if not all(table.scores.has(name) for table in tables)]
        why = f"not every trial has {' and '.join(missing)}" if missing else _refused(figure, whole)
        if not why:
            kept.append(figure)
        elif figure.optional:
            notes.append(f"no {figure.name}: {why}")
    return kept, notes


def _refused(figure: Figure, whole: Sequence[Draw]) -> str:
    """Why an optional figure cannot be had of all trials."""
    try:
        for drawn in whole:
            figure.of(drawn)
    except MetricError as error:
        if not figure.optional:
            raise
        return error.what
    return ""


def statistic_of(trials: Sorted, figures: Sequence[Figure]) -> Callable[[Floats], list[float]]:
    """The figures' values as a function of how often each unit was drawn; the trials are sorted once."""

    def statistic(counts: Floats) -> list[float]:
        drawn = Draw(trials, counts)
        return [figure.of(drawn) for figure in figures]

    return statistic
