"""The figures by which scores are judged: each with its definition, and how it is computed from (resampled) trials.

One list serves judging and comparing, so that a figure means the same in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from earwitness.evaluation.judging.labelled import LabelledScores, Task
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.costs import ASVSPOOF5, VOX01, VOX05, Cost
from earwitness.metrics.detection import (
    EER_DEFINITIONS,
    EerMethod,
)
from earwitness.metrics.scores import Floats
from earwitness.metrics.tandem import Tandem
from earwitness.metrics.trials import Resample, Trials

COSTS: dict[Task, tuple[Cost, ...]] = {"deepfake": (ASVSPOOF5,), "speaker": (VOX01, VOX05)}
_NORMAL = "divided by the cost of the better of accept-all and reject-all"


@dataclass(frozen=True)
class Figure:
    """One figure; `scale` is "share", "bits" or "cost", `column` which numbers it reads."""

    name: str
    definition: str
    scale: str
    of: Callable[[Resample], float]
    column: Literal["score", "llr"] = "score"


def eer_figure(method: EerMethod, name: str = "EER") -> Figure:
    """The equal error rate by a definition."""
    return Figure(name, f"{method}: {EER_DEFINITIONS[method]}", "share", lambda drawn: drawn.eer(method))


def figures_of(task: Task, method: EerMethod, also: Sequence[EerMethod], costs: Sequence[Cost]) -> list[Figure]:
    """The figures of a task in the order of print; `costs` empty means those customary for it."""
    costs = costs or COSTS[task]
    return [
        eer_figure(method),
        *(eer_figure(other, f"EER {other}") for other in also if other != method),
        Figure("AUC", "chance that a positive scores above a negative, ties counted half", "share", Resample.auc),
        *(_min_dcf(cost) for cost in costs),
        Figure("minCllr", "Cllr after the best monotone calibration on these trials", "bits", Resample.min_cllr),
        Figure("Cllr", _CLLR, "bits", Resample.cllr, "llr"),
        *(_act_dcf(cost) for cost in costs),
    ]


_CLLR = "1/2 [mean_pos log2(1 + e^-llr) + mean_neg log2(1 + e^llr)], from column llr"


def _min_dcf(cost: Cost) -> Figure:
    definition = f"lowest over thresholds, {_NORMAL}; {cost}"
    return Figure(f"minDCF {cost.name}", definition, "cost", lambda drawn: drawn.min_dcf(cost))


def _act_dcf(cost: Cost) -> Figure:
    definition = f"at the Bayes threshold of column llr, {_NORMAL}; {cost}"
    return Figure(f"actDCF {cost.name}", definition, "cost", lambda drawn: drawn.act_dcf(cost), "llr")


def tdcf_figure(tandem: Tandem) -> Figure:
    """The minimum tandem cost beside a verifier (Kinnunen et al., Odyssey 2018 legacy, T-ASLP 2020 revised)."""
    definition = (
        f"{tandem.form} form beside a fixed verifier: C0 {tandem.c0:.6f}, C1 {tandem.c1:.6f}, C2 {tandem.c2:.6f}, "
        f"{_NORMAL}"
    )
    return Figure(f"min t-DCF {tandem.form}", definition, "cost", lambda drawn: drawn.min_tdcf(tandem))


def computable(figures: Sequence[Figure], *tables: LabelledScores) -> list[Figure]:
    """The figures for which every table has the numbers."""
    with_llr = all(table.has_llr for table in tables)
    return [figure for figure in figures if figure.column == "score" or with_llr]


def statistic_of(scores: LabelledScores, units: Units, figures: Sequence[Figure]) -> Callable[[Floats], list[float]]:
    """The figures' values as a function of how often each unit was drawn; the trials are sorted once."""
    columns = {figure.column for figure in figures}
    trials = {name: Trials(scores.positive[name], scores.negative[name], units) for name in sorted(columns)}

    def statistic(counts: Floats) -> list[float]:
        drawn = {name: kept.resample(counts) for name, kept in trials.items()}
        return [figure.of(drawn[figure.column]) for figure in figures]

    return statistic
