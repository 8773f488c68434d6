"""How good scores are: error rates with intervals over the right unit, per system and per any other column.

judgement = judge(read_labelled("deepfake", "scores.parquet", "manifest.csv"))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import polars as pl

from earwitness.core.errors import DataError, MetricError, UsageError
from earwitness.evaluation.judging.draws import Sorted, verifier_of
from earwitness.evaluation.judging.figures import (
    Figure,
    computable,
    figures_of,
    statistic_of,
    tdcf_figure,
    verifier_words,
)
from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.evaluation.judging.tasks import Task
from earwitness.evaluation.judging.trial_conditions import with_conditions
from earwitness.evaluation.judging.units import Unit, require_column, units_of
from earwitness.metrics.bootstrap import FEW_UNITS, Interval, Paired, Units, bootstrap
from earwitness.metrics.costs import Cost
from earwitness.metrics.detection import (
    EER_DEFINITIONS,
    TIED_WARNING,
    EerMethod,
    error_rates,
)
from earwitness.metrics.scores import Floats
from earwitness.metrics.tandem import Tandem
from earwitness.metrics.trials import Trials

SPOOF_COLUMNS = ("system", "family")  # they describe spoofs alone, whatever a key writes into bona fide rows
NOTHING = ("", "-", "bonafide", "bona-fide")  # what keys write where a bona fide row has no value
FEW_RESAMPLES = 200
FEWEST_OF_A_SYSTEM = 10  # files; systems with fewer are judged together


@dataclass(frozen=True)
class JudgeOptions:
    """How to judge. `by` are columns with a table each; `costs` empty means those customary for the task."""

    eer_method: EerMethod = "interpolated"
    also: tuple[EerMethod, ...] = ()  # further definitions of the EER
    unit: Unit = "auto"
    by: tuple[str, ...] = ()
    costs: tuple[Cost, ...] = ()
    tandem: Tandem | None = None  # the verifier's share of the t-DCF
    n_resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for method in (self.eer_method, *self.also):
            if method not in EER_DEFINITIONS:
                raise MetricError(f"unknown EER method '{method}'", fix=f"Use one of {', '.join(EER_DEFINITIONS)}.")
        if self.unit not in get_args(Unit):
            fix = f"Use one of {', '.join(get_args(Unit))}."
            raise UsageError(f"unknown unit '{self.unit}'", where="--unit", fix=fix)


@dataclass(frozen=True)
class Measure:
    """One figure with its interval and its definition; `scale` is "share" or "bits" or "cost"."""

    name: str
    interval: Interval
    definition: str
    scale: str


@dataclass(frozen=True)
class Group:
    """The rows with one value in one column. No EER where there is only one class; `note` says against what."""

    column: str
    value: str
    positives: int
    negatives: int
    eer: Interval | None
    note: str = ""


@dataclass(frozen=True)
class Judgement:
    """Everything that `evaluate` says of a score file."""

    task: Task
    positives: int
    negatives: int
    failed: int
    unlabelled: int
    tied_fraction: float
    measures: tuple[Measure, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    def measure(self, name: str) -> Measure:
        """One measure by its name. Raises `MetricError` where it was not computed."""
        for found in self.measures:
            if found.name == name:
                return found
        raise MetricError(f"there is no '{name}'", fix=f"Computed: {', '.join(m.name for m in self.measures)}.")


@dataclass(frozen=True)
class PairedMeasure:
    """One figure of two score files on the same resamples, and the difference first minus second."""

    name: str
    paired: Paired
    definition: str
    scale: str


@dataclass(frozen=True)
class Comparison:
    """Two score files on the same rows; for every measure but AUC a negative difference means: the first is better."""

    first: str
    second: str
    measures: tuple[PairedMeasure, ...]  # the EER comes first; of sasv the a-DCF
    rows: int
    left_out: int  # rows that only one of the two could score

    @property
    def eer(self) -> Paired:
        """The first measure and its difference: what the answer is about."""
        return self.measures[0].paired

    @property
    def answer(self) -> str:
        """The difference in words."""
        low, high = self.eer.difference.low, self.eer.difference.high
        if high < 0:
            return f"{self.first} is better than {self.second}"
        if low > 0:
            return f"{self.first} is worse than {self.second}"
        return f"no difference between {self.first} and {self.second} can be told on these rows"


def judge(scores: LabelledScores, options: JudgeOptions | None = None) -> Judgement:
    """All measures and tables of one score file.

    Raises `MetricError` where a class is missing, `UsageError` where a column or unit that was asked for is not there.
    """
    options = options or JudgeOptions()
    scores = with_conditions(scores, options.by)
    for column in options.by:
        require_column(scores, column, "--by")
    units, notes = units_of(scores, options.unit)
    measures, left_out = _measures(scores, units, options)
    tied = error_rates(scores.positive["score"], scores.negative["score"]).tied_fraction
    notes = [*notes, *left_out, *_cautions(scores, measures, tied)]
    return Judgement(
        task=scores.task,
        positives=scores.positive.height,
        negatives=scores.negative.height,
        failed=len(scores.failed),
        unlabelled=len(scores.unlabelled),
        tied_fraction=tied,
        measures=tuple(measures),
        groups=tuple(_groups(scores, options)),
        notes=tuple(notes),
    )


def compare(
    first: LabelledScores, second: LabelledScores, names: tuple[str, str], options: JudgeOptions | None = None
) -> Comparison:
    """Paired comparison of two score files over the same resamples of the rows that both could score.

    Raises `MetricError` where the files share too little, `DataError` where their labels differ.
    """
    options = options or JudgeOptions()
    known = set(second.table["id"])
    shared = [row for row in first.table["id"] if row in known]
    left_out = len({*first.table["id"], *known}) - len(shared)
    one, two = first.with_ids(shared), second.with_ids(shared)
    differs = one.table["label"] != two.table["label"]
    if differs.any():
        row = shared[int(differs.arg_max() or 0)]
        raise DataError(
            f"id '{row}' has one label in {names[0]} and another in {names[1]}", fix="Use one key for both."
        )
    units, _ = units_of(one, options.unit)
    sides = Sorted(one, units), Sorted(two, units)
    figures, _ = computable(_figures(one, options), *sides)
    of_one, of_two = (statistic_of(side, figures) for side in sides)

    def both(counts: Floats) -> list[float]:
        firsts, seconds = of_one(counts), of_two(counts)
        return [*firsts, *seconds, *(a - b for a, b in zip(firsts, seconds, strict=True))]

    found = bootstrap(both, units, options.n_resamples, options.seed)
    count = len(figures)
    paired = zip(figures, found[:count], found[count : 2 * count], found[2 * count :], strict=True)
    compared = tuple(
        PairedMeasure(figure.name, Paired(*intervals), figure.definition, figure.scale) for figure, *intervals in paired
    )
    return Comparison(*names, compared, len(shared), left_out)


def _measures(scores: LabelledScores, units: Units, options: JudgeOptions) -> tuple[list[Measure], list[str]]:
    """All figures from one set of resamples, and notes on those that these trials do not allow."""
    trials = Sorted(scores, units)
    figures, notes = computable(_figures(scores, options), trials)
    intervals = bootstrap(statistic_of(trials, figures), units, options.n_resamples, options.seed)
    measures = [
        Measure(figure.name, interval, figure.definition, figure.scale)
        for figure, interval in zip(figures, intervals, strict=True)
    ]
    if scores.task == "sasv" and any(figure.name.startswith("min t-DCF") for figure in figures):
        notes.append(verifier_words(verifier_of(scores), trials.tandem))
    return measures, notes


def _figures(scores: LabelledScores, options: JudgeOptions) -> list[Figure]:
    figures = figures_of(scores.task, options.eer_method, options.also, options.costs)
    return figures if options.tandem is None else [*figures, tdcf_figure(options.tandem)]


def _cautions(scores: LabelledScores, measures: list[Measure], tied: float) -> Iterator[str]:
    """What a reader must know beside the figures."""
    auc = next(measure.interval for measure in measures if measure.name == "AUC")
    if scores.failed:
        yield f"{len(scores.failed)} rows could not be scored (first '{scores.failed[0]}') and are not judged"
    if scores.unlabelled:
        yield f"{len(scores.unlabelled)} rows have no label (first '{scores.unlabelled[0]}') and are not judged"
    if auc.value < 0.5:
        interval = f"AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]"
        sure = "favour" if auc.high < 0.5 else "seem to favour"
        yield f"the scores {sure} the wrong class ({interval}): higher must mean bona fide or same speaker"
    if tied > TIED_WARNING:
        yield f"{tied:.1%} of the scores are tied across classes: EER definitions differ here"
    if auc.few_units:
        yield f"fewer than {FEW_UNITS} units of {auc.unit} to resample: the intervals are rather too narrow"
    if scores.task == "sasv":
        spoofs = int((scores.negative["label"] == "spoof").sum())
        yield f"of the negatives {scores.negative.height - spoofs} are nontargets, {spoofs} spoofs"
    if auc.n_resamples < FEW_RESAMPLES:
        yield f"{auc.n_resamples} resamples are too few for a 95 % interval: use 1000"
    if scores.task != "sasv" and not scores.has_llr:
        yield "not every row has an llr: Cllr and actDCF need calibrated log-likelihood ratios"


def _groups(scores: LabelledScores, options: JudgeOptions) -> Iterator[Group]:
    """The table of each system (where there are several), then those of the named columns."""
    columns = list(dict.fromkeys(options.by))
    spoofs = scores.negative.filter(pl.col("label") == "spoof")
    several = "system" in scores.table.columns and spoofs["system"].n_unique() > 1
    if several and "system" not in columns:
        columns.insert(0, "system")
    for column in columns:
        against_all = scores.task != "speaker" and _of_spoofs(scores.positive, spoofs, column)
        pos, neg = _valued(scores.positive, column), _valued(spoofs if against_all else scores.negative, column)
        if against_all and column == "system":
            neg = _pooled(spoofs)
        note = "against all bona fide" if scores.task == "deepfake" else "against all targets"
        values = sorted({*neg["_value"]} if against_all else {*pos["_value"], *neg["_value"]})
        for value in values:
            chosen = pos if against_all else pos.filter(pl.col("_value") == value)
            group = pl.concat([chosen, neg.filter(pl.col("_value") == value)]).drop("_value")
            yield _group(scores, group, column, value, options, note if against_all else "")


def _of_spoofs(bona_fide: pl.DataFrame, spoofs: pl.DataFrame, column: str) -> bool:
    """Whether a column describes spoofs alone: bona fide rows have nothing there (attack, vocoder, ...)."""
    said = bona_fide[column].drop_nulls().cast(pl.String).unique()
    nothing = all(value in NOTHING for value in said)
    return column in SPOOF_COLUMNS or (nothing and spoofs[column].null_count() < spoofs.height)


def _valued(table: pl.DataFrame, column: str) -> pl.DataFrame:
    return table.with_columns(_value=pl.col(column).cast(pl.String).fill_null("(none)"))


def _pooled(spoof: pl.DataFrame) -> pl.DataFrame:
    """Systems with enough files by name; the rest by family where that is known."""
    spoof = _valued(spoof, "system")
    family = pl.col("family") if "family" in spoof.columns else pl.lit(None, pl.String)
    small = pl.len().over("_value") < FEWEST_OF_A_SYSTEM
    rest = pl.when(family.is_null()).then(pl.lit("(small systems)")).otherwise(pl.format("(small, {})", family))
    return spoof.with_columns(_value=pl.when(small).then(rest).otherwise("_value"))


def _group(
    scores: LabelledScores, table: pl.DataFrame, column: str, value: str, options: JudgeOptions, note: str
) -> Group:
    part = LabelledScores(scores.task, table, (), (), {})
    counts = part.positive.height, part.negative.height
    if not all(counts):
        return Group(column, value, *counts, None, "one class only")
    try:
        units, _ = units_of(part, options.unit)
    except UsageError:  # this part has no such unit
        units, _ = units_of(part, "auto")
    trials = Trials(part.positive["score"], part.negative["score"], units)
    try:
        found = bootstrap(
            lambda resampled: [trials.resample(resampled).eer(options.eer_method)],
            units,
            options.n_resamples,
            options.seed,
        )
    except MetricError as error:
        return Group(column, value, *counts, None, error.what)
    return Group(column, value, *counts, found[0], note)
