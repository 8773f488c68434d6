"""What an emotion model is worth on recordings that it did not learn from: the table of its answers, and its figures.

WA, UA and macro-F1 are of the likeliest class among those of the recording's corpus, whether or not the model would
have answered; what it answers stands beside them. A recording that cannot be heard is called `unheard`, which is wrong.
Intervals resample speakers. Folds: all rows pooled, which is what counts, and the mean over folds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.core.errors import AudioError, DataError
from earwitness.corpora.manifest import Row
from earwitness.corpora.tables import read_table, write_table
from earwitness.evaluation.judging.units import speaker_units
from earwitness.metrics.bootstrap import Interval, Paired, Units, bootstrap, paired
from earwitness.metrics.classification import Confusion, FoldFigures, confusion, over_folds
from earwitness.paralinguistic.emotion import EmotionEstimator
from earwitness.paralinguistic.labels import CATEGORIES, Labels
from earwitness.training.runlog import counted

UNHEARD = "unheard"
CALLS = (*CATEGORIES, UNHEARD)
TABLE = "test.csv"
Floats = NDArray[np.float64]
COLUMNS = {
    "id": pl.String,
    "corpus": pl.String,
    "speaker": pl.String,
    "sex": pl.String,
    "text": pl.String,
    "emotion": pl.String,
    "called": pl.String,
    "probability": pl.Float64,
    "answered": pl.Boolean,
    "intensity": pl.Float64,
    "intensity_lo": pl.Float64,
    "intensity_hi": pl.Float64,
    "error": pl.String,
}
"""Of the table of answers: truth, what was called, and `intensity` as estimated beside the interval of the truth."""


@dataclass(frozen=True)
class Accuracies:
    """Of some rows: the matrix, and WA, UA, macro-F1 and the WA of always calling the class that is most frequent in
    it, with intervals over speakers (None with fewer than two)."""

    name: str
    matrix: Confusion
    speakers: int
    wa: Interval | None
    ua: Interval | None
    macro_f1: Interval | None
    majority: Interval | None


@dataclass(frozen=True)
class IntensityOrder:
    """Pairs of recordings of one speaker, emotion and text whose strengths differ: the share in which the stronger one
    is estimated higher, and the mean difference of the estimates. Strengths within other sentences are not compared:
    where only one sentence has levels (CREMA-D) the estimate could be that of the sentence."""

    pairs: int
    right: float
    difference: float
    interval: Interval | None


@dataclass(frozen=True)
class EmotionFigures:
    """All figures of a table of answers; `parts` are corpora and sexes where there are several."""

    whole: Accuracies
    parts: tuple[Accuracies, ...]
    answered: float
    answered_wa: float
    order: IntensityOrder | None
    answered_interval: Interval | None = None
    answered_wa_interval: Interval | None = None


def answer(estimator: EmotionEstimator, labels: Labels) -> pl.DataFrame:
    """The model's answers to all labelled rows, heard whole by its windows, as `COLUMNS`."""
    rows = zip(labels.manifest.rows(), labels.manifest.table["corpus"], labels.intensity, strict=True)
    found = []
    for row, corpus, (lo, hi) in counted(rows, "hearing the test side", len(labels.manifest)):
        told = (row.id, corpus, row.speaker, row.sex, row.transcript, row.emotion)
        truth = (None, None) if math.isnan(lo) else (float(lo), float(hi))
        called, probability, answered, intensity, error = _answer(estimator, labels.manifest.resolve(row), row, corpus)
        found.append((*told, called, probability, answered, intensity, *truth, error))
    return pl.DataFrame(found, schema=COLUMNS, orient="row")


def _answer(
    estimator: EmotionEstimator, path: Path, row: Row, corpus: str
) -> tuple[str, float | None, bool, float | None, str | None]:
    try:
        one = estimator.estimate_file(path, corpus, row.channel, row.start or 0.0, row.end)
    except AudioError as error:
        return UNHEARD, None, False, None, str(error)
    return one.likeliest, float(one.probabilities.max()), one.category is not None, one.intensity, None


def left_out_answers(written: pl.DataFrame) -> pl.DataFrame:
    """As `COLUMNS`, from left-out probabilities of one condition (`training.left_out`)."""
    found = []
    for row in written.iter_rows(named=True):
        probabilities = np.array(row["probabilities"])
        likeliest, largest = CATEGORIES[int(probabilities.argmax())], float(probabilities.max())
        told = (row["id"], row["corpus"], row["speaker"], row["sex"], None, CATEGORIES[row["category"]])
        found.append((*told, likeliest, largest, largest >= row["threshold"], None, None, None, None))
    return pl.DataFrame(found, schema=COLUMNS, orient="row")


def read_answers(path: str | Path) -> pl.DataFrame:
    """A table of answers that was written before. Raises `DataError` where a column is missing."""
    table = read_table(Path(path))
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise DataError(f"has no column `{missing[0]}`", where=path, fix="Let `earwitness model card RUN` test again.")
    texts = table.select(*(pl.col(name).cast(pl.String) for name in COLUMNS))
    typed = [
        (pl.col(name).str.to_lowercase() == "true").alias(name)
        if kind == pl.Boolean
        else pl.when(pl.col(name) == "").then(None).otherwise(pl.col(name)).cast(kind).alias(name)
        for name, kind in COLUMNS.items()
    ]
    return texts.select(typed)


def runs_in(place: Path) -> list[Path]:
    """The tables of answers of a run, or of all runs in a folder. Raises `DataError` where there is none."""
    own = place / "results" / TABLE
    found = [own] if own.is_file() else sorted(place.glob(f"*/results/{TABLE}"))
    if not found:
        raise DataError(f"holds no tested run (results/{TABLE})", where=place, fix="Train one, or name its folder.")
    return found


def write_answers(table: pl.DataFrame, path: Path) -> None:
    """As CSV."""
    write_table(table, path)


def figures(table: pl.DataFrame, resamples: int = 1000, seed: int = 0) -> EmotionFigures:
    """All of a table of answers. Raises `DataError` for an empty one."""
    if not table.height:
        raise DataError("there are no answers to judge")
    parts = []
    for column in ("corpus", "sex"):
        values = sorted(table[column].drop_nulls().unique())
        if len(values) > 1:
            parts += [
                accuracies(table.filter(pl.col(column) == value), f"{column} {value}", resamples, seed)
                for value in values
            ]
    answered = table.filter(pl.col("answered"))
    right = (answered["emotion"] == answered["called"]).mean()
    said, correct = table["answered"].to_numpy(), (answered["emotion"] == answered["called"]).to_numpy()
    return EmotionFigures(
        whole=accuracies(table, "all", resamples, seed),
        parts=tuple(parts),
        answered=answered.height / table.height,
        answered_wa=float("nan") if right is None else float(right),  # type: ignore[arg-type]
        order=intensity_order(table, resamples, seed),
        answered_interval=_share(table, said, resamples, seed),
        answered_wa_interval=_share(answered, correct, resamples, seed),
    )


def accuracies(table: pl.DataFrame, name: str, resamples: int = 1000, seed: int = 0) -> Accuracies:
    """WA, UA and macro-F1 of some rows, and the constant call's WA."""
    units, matrices = speaker_units(table), _matrices(table)
    matrix = matrices(np.ones(table.height))
    frequent = int(matrix.truths.argmax())

    def statistic(counts: Floats) -> tuple[float, ...]:
        drawn = matrices(units.weights(counts))
        return drawn.wa, drawn.ua, drawn.macro_f1, float(drawn.truths[frequent] / drawn.items)

    intervals: tuple[Interval | None, ...] = (None,) * 4
    if units.count > 1:
        intervals = bootstrap(statistic, units, resamples, seed)
    return Accuracies(name, matrix, units.count, *intervals)


def compared(first: pl.DataFrame, second: pl.DataFrame, resamples: int = 1000, seed: int = 0) -> Paired:
    """UA of two models on the same rows, and first minus second, over the same resampled speakers.

    Raises `DataError` where the tables are not of the same rows.
    """
    second = first.select("id").join(second, on="id", how="left", maintain_order="left")
    if second["called"].null_count() or first.height != second.height:
        raise DataError("the two models did not answer the same recordings", fix="Test both on the same side.")
    units = speaker_units(first)

    def ua(table: pl.DataFrame) -> Callable[[Floats], float]:
        matrices = _matrices(table)
        return lambda counts: matrices(units.weights(counts)).ua

    return paired(ua(first), ua(second), units, resamples, seed)


def folds(tables: Sequence[pl.DataFrame]) -> FoldFigures:
    """Folds of one protocol: their tables of answers pooled, and the mean over them. Raises `DataError` where a
    recording is tested twice or a speaker stands in two folds."""
    ids = pl.concat([table.select("id") for table in tables])["id"]
    if ids.n_unique() < len(ids):
        what = f"the recording '{ids.filter(ids.is_duplicated())[0]}' is tested in two folds"
        raise DataError(what, fix="Give the runs of one protocol, which tests every recording once.")
    seen: dict[str, int] = {}
    for number, table in enumerate(tables):
        for name in table["speaker"].drop_nulls().unique():
            if seen.setdefault(name, number) != number:
                raise DataError(f"the speaker '{name}' is tested in two folds", fix="Folds leave whole speakers out.")
    for number, table in enumerate(tables, start=1):
        if table["emotion"].n_unique() < 2:
            what = f"fold {number} has one category only ({table['emotion'][0]})"
            raise DataError(what, fix="Fold otherwise: the speakers that are left out need all classes.")
    return over_folds([_matrix(table) for table in tables])


def intensity_order(table: pl.DataFrame, resamples: int = 1000, seed: int = 0) -> IntensityOrder | None:
    """Of all pairs; None where there is none."""
    known = table.drop_nulls(["intensity", "intensity_lo", "intensity_hi", "text", "speaker"])
    middle = (known["intensity_lo"] + known["intensity_hi"]).to_numpy() / 2
    keys = list(known.select("corpus", "speaker", "emotion", "text").iter_rows())
    groups: dict[tuple[object, ...], list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(key, []).append(place)
    pairs = [(a, b) for places in groups.values() for a in places for b in places if middle[a] > middle[b]]
    if not pairs:
        return None
    estimate = known["intensity"].to_numpy()
    differences = np.array([estimate[a] - estimate[b] for a, b in pairs])
    units = Units.of([keys[a][1] for a, _ in pairs], "speaker")
    interval = None
    if units.count > 1:

        def mean(counts: Floats) -> list[float]:
            weights = units.weights(counts)
            return [float((weights * differences).sum() / weights.sum())]

        interval = bootstrap(mean, units, resamples, seed)[0]
    return IntensityOrder(len(pairs), float((differences > 0).mean()), float(differences.mean()), interval)


def _matrix(table: pl.DataFrame) -> Confusion:
    return confusion(table["emotion"].to_list(), table["called"].to_list(), CALLS)


def _matrices(table: pl.DataFrame) -> Callable[[Floats], Confusion]:
    """The matrix as a function of the weights [N] of rows: names are looked up once, not in every resample."""
    size = len(_matrix(table).classes)  # refuses names that are no class
    truth, called = (np.array([CALLS.index(name) for name in table[side]]) for side in ("emotion", "called"))
    cells = size * truth + called

    def of_weights(weights: Floats) -> Confusion:
        counts = np.bincount(cells, weights, size * size).astype(np.float64)
        return Confusion(CALLS, counts.reshape(size, size))

    return of_weights


def _share(table: pl.DataFrame, which: NDArray[np.bool_], resamples: int, seed: int) -> Interval | None:
    """In what share of the rows something holds, bool [N]; None with fewer than two speakers."""
    units = speaker_units(table)
    if units.count < 2:
        return None

    def share(counts: Floats) -> list[float]:
        weights = units.weights(counts)
        return [float(weights @ which / weights.sum())]

    return bootstrap(share, units, resamples, seed)[0]
