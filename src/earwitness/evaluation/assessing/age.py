"""The tests of an age model on the recordings that its run held out, beside always answering the training median.

results/test.csv    id, speaker, sex, age, mean, sd, low, high, nll, crps, seconds_used, seconds_total, error
results/age.json    the figures over them, with 95 % intervals over speakers
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.audio.reading import load
from earwitness.core.errors import AudioError, DataError, MetricError
from earwitness.corpora.batches import sex_class
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.tables import read_table, write_table
from earwitness.evaluation.assessing.outcome import (
    Outcome,
    figure,
    leaks_of,
    minutes,
    read_side,
    results_folder,
    write_result,
)
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.distribution import GridDistributions, crps_each, nll_each
from earwitness.metrics.regression import ccc, group_accuracy, mae, pearson
from earwitness.paralinguistic.age import AgeEstimate, AgeEstimator, average
from earwitness.training.card import ResultRow
from earwitness.training.left_out import LEFT_OUT
from earwitness.training.model_folder import ModelInfo, TestedRanges

Floats = NDArray[np.float64]
COLUMNS = {
    "id": pl.String,
    "speaker": pl.String,
    "sex": pl.String,
    "age": pl.Float64,
    "mean": pl.Float64,
    "sd": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "nll": pl.Float64,
    "crps": pl.Float64,
    "seconds_used": pl.Float64,
    "seconds_total": pl.Float64,
    "error": pl.String,
}
EDGES = (13.0, 18.0)  # years: children below, then teenagers, then adults
GROUPS = ("children (under 13)", "teenagers (13 to 17)", "adults (18 and over)")
FEWEST = 3  # speakers from which a group has figures of its own
SIDE = "test side"
LEFT_OUT_WORDS = {"clean": "each speaker left out once", "narrow_band": "the same in a telephone band (300-3400 Hz)"}


def assess_age(model: str | Path, run: str | Path, options: JudgeOptions | None = None) -> Outcome:
    """Judge an age model on the test side of its run. Writes into `run/results`. Raises `ModelError`, and
    `DataError` where the run's tables were changed."""
    run, estimator = Path(run), AgeEstimator.load(model)
    leaks = tuple(leaks_of(estimator.info))
    if (run / LEFT_OUT).is_file():
        return _assess_left_out(run, estimator, options or JudgeOptions())
    rows = read_side(run, "test")
    if rows is None:
        return Outcome(inconclusive=("It was not tested: its recipe held out no recordings.", *leaks))
    results = results_folder(run, estimator.info)
    table, by_speaker = _heard(estimator, rows)
    write_table(table, results / "test.csv")
    heard = table.filter(pl.col("error").is_null())
    source = results / "age.json"
    judged = _Judged(heard, estimator.reading.median, options or JudgeOptions(), source)
    if judged.units.count < 2:
        return Outcome(inconclusive=("It was not tested on two speakers or more.", *leaks))
    figures = [*judged.figures(), *judged.of_speakers(by_speaker)]
    write_result(source, "earwitness model card .", figures, failed=table.height - heard.height)
    return Outcome(
        rows=tuple(figures),
        tested=_ranges(heard, rows, estimator.info),
        inconclusive=(*leaks, *judged.doubts()),
    )


def _assess_left_out(run: Path, estimator: AgeEstimator, options: JudgeOptions) -> Outcome:
    """The figures of a head that was judged by leaving out every speaker once (`training.left_out`)."""
    results, written = results_folder(run, estimator.info), read_table(run / LEFT_OUT)
    source = results / "age.json"
    figures: list[ResultRow] = []
    doubts: list[str] = []
    for name, words in LEFT_OUT_WORDS.items():
        part = written.filter(pl.col("condition") == name)
        if not part.height:
            continue
        table, by_speaker = _left_out(part, estimator.reading.loss.grid.values)
        write_table(table, results / f"left-out.{name}.csv")
        judged = _Judged(table, estimator.reading.median, options, source, words)
        if name == "clean":
            figures += [*judged.figures(), *judged.of_speakers(by_speaker)]
            doubts += judged.doubts()
        else:
            figures += judged.in_short()
    write_result(source, "earwitness model card .", figures, failed=0)
    clean = written.filter(pl.col("condition") == "clean")
    ages = clean["age"].to_numpy()
    low, high = ages.min(), ages.max()
    amount = f"judged on {clean.height} recordings of {clean['speaker'].n_unique()} speakers, each left out of training"
    notes = (amount, f"ages from {float(low):g} to {float(high):g} years")
    return Outcome(rows=tuple(figures), tested=TestedRanges(notes=notes), inconclusive=tuple(doubts))


def _left_out(written: pl.DataFrame, grid: Sequence[float]) -> tuple[pl.DataFrame, dict[str, list[AgeEstimate]]]:
    """As `_heard`, from the rows of one condition."""
    found: list[dict[str, Any]] = []
    speakers: dict[str, list[AgeEstimate]] = {}
    for row in written.iter_rows(named=True):
        said = GridDistributions.of(grid, np.array(row["distribution"])[None])
        seconds = float(row["duration_s"] or 0.0)
        estimate = AgeEstimate.of(grid, said.probabilities[0], seconds, seconds)
        speakers.setdefault(row["speaker"] or row["id"], []).append(estimate)
        age = np.array([row["age"]], np.float64)
        scores = {"nll": float(nll_each(age, said)[0]), "crps": float(crps_each(age, said)[0])}
        known = {name: row[name] for name in ("id", "speaker", "sex", "age")}
        told = {name: getattr(estimate, name) for name in COLUMNS if hasattr(estimate, name)}
        found.append(known | told | scores)
    return pl.DataFrame(found, schema=COLUMNS), speakers


def _heard(estimator: AgeEstimator, side: Manifest) -> tuple[pl.DataFrame, dict[str, list[AgeEstimate]]]:
    """A row a recording, and the estimates of each speaker."""
    found: list[dict[str, Any]] = []
    speakers: dict[str, list[AgeEstimate]] = {}
    for row in side.rows():
        if row.age is None:
            raise DataError("has no age to judge by", where=row.id, fix="The run's tables were changed; train again.")
        known = {"id": row.id, "speaker": row.speaker, "sex": row.sex, "age": row.age}
        try:
            estimate = _estimate(estimator, side, row)
        except AudioError as error:
            found.append(known | {"error": str(error)})
            continue
        speakers.setdefault(row.speaker or row.id, []).append(estimate)
        said = GridDistributions.of(estimate.ages, estimate.distribution[None])
        age = np.array([row.age], np.float64)
        scores = {"nll": float(nll_each(age, said)[0]), "crps": float(crps_each(age, said)[0])}
        told = {name: getattr(estimate, name) for name in COLUMNS if hasattr(estimate, name)}
        found.append(known | told | scores)
    return pl.DataFrame(found, schema=COLUMNS), speakers


def _estimate(estimator: AgeEstimator, side: Manifest, row: Row) -> AgeEstimate:
    recording = load(side.resolve(row), estimator.info.rate, row.channel, row.start or 0.0, row.end)
    return estimator.estimate(recording.samples, recording.rate)


@dataclass(frozen=True)
class _Judged:
    """Recordings with truth and estimate, `median` of the training ages, and where the figures are written."""

    table: pl.DataFrame
    median: float
    options: JudgeOptions
    source: Path
    side: str = SIDE

    @property
    def units(self) -> Units:
        """Speakers, or recordings where a row has none."""
        whole = not self.table["speaker"].null_count()
        return Units.of(self.table["speaker" if whole else "id"].to_list(), "speaker" if whole else "recording")

    def column(self, name: str) -> Floats:
        """[N]."""
        return np.asarray(self.table[name].to_numpy(), np.float64)

    @property
    def errors(self) -> Floats:
        """|mean - age|, years, [N]."""
        return np.abs(self.column("mean") - self.column("age"))

    @property
    def median_errors(self) -> Floats:
        """|median - age|, years, [N]."""
        return np.abs(self.median - self.column("age"))

    def figures(self) -> Iterator[ResultRow]:
        """Errors beside the constant answer's, correlations, what the distributions are worth; by sex and by group."""
        truth, mean = self.column("age"), self.column("mean")
        covered = (self.column("low") <= truth) & (truth <= self.column("high"))
        yield self._mean(self.side, "MAE, years", self.errors)
        yield self._mean(self.side, "MAE of always answering the training median, years", self.median_errors)
        yield self._mean(self.side, "MAE less that of the median, years", self.errors - self.median_errors)
        if np.ptp(mean) > 0 and np.ptp(truth) > 0:  # a correlation with a constant is not defined
            yield self._row(self.side, "Pearson's r", lambda w: pearson(truth, mean, w))
            yield self._row(self.side, "CCC", lambda w: ccc(truth, mean, w))
        yield self._mean(self.side, "NLL of the age, nats", self.column("nll"))
        yield self._mean(self.side, "CRPS, years", self.column("crps"))
        yield self._mean(self.side, "coverage of the 80 % interval, %", covered.astype(np.float64))
        yield self._mean(self.side, "width of the 80 % interval, years", self.column("high") - self.column("low"))
        for place, name in enumerate(("female", "male")):
            part = self._of(np.array([sex_class(word) == place for word in self.table["sex"]]))
            if part is not None:
                yield part._mean(f"{self.side}, {name}", "MAE, years", part.errors)
        for place, name in enumerate(GROUPS):
            part = self._of(np.digitize(truth, EDGES) == place)
            if part is not None:
                yield part._recall(place, name)

    def in_short(self) -> Iterator[ResultRow]:
        """The error, beside that of the constant, and what the interval is worth."""
        truth = self.column("age")
        covered = (self.column("low") <= truth) & (truth <= self.column("high"))
        yield self._mean(self.side, "MAE, years", self.errors)
        yield self._mean(self.side, "MAE less that of the median, years", self.errors - self.median_errors)
        yield self._mean(self.side, "coverage of the 80 % interval, %", covered.astype(np.float64))

    def of_speakers(self, speakers: dict[str, list[AgeEstimate]]) -> Iterator[ResultRow]:
        """The MAE over speakers, each one's distributions averaged; none where a speaker has several ages."""
        names = self.table["speaker"].fill_null(self.table["id"])
        ages = dict(zip(names, self.column("age"), strict=True))
        if len(set(zip(names, self.column("age"), strict=True))) > len(ages) or len(ages) < 2:
            return
        errors = np.array([abs(average(found).mean - ages[name]) for name, found in speakers.items()])
        interval = self._interval(_mean_of(errors), Units.each(len(errors), "speaker"))
        yield figure(f"{self.side}, a speaker's recordings together", "MAE, years", interval, len(errors), self.source)

    def doubts(self) -> Iterator[str]:
        """Why answers must not count, where it is not shown that they are better than a constant."""
        gain = self._interval(_mean_of(self.errors - self.median_errors))
        if gain.high >= 0:
            yield (
                f"It is not shown to be better than always answering {self.median:g} years "
                f"(MAE {mae(self.column('age'), self.column('mean')):.2f} against {self.median_errors.mean():.2f})."
            )

    def _recall(self, place: int, name: str) -> ResultRow:
        """Of a group that lies between `EDGES`: how often the estimate does too."""
        truth, mean = self.column("age"), self.column("mean")

        def recall(weights: Floats) -> float:
            counts = group_accuracy(truth, mean, EDGES, weights).counts[place]
            return float(counts[place] / counts.sum())

        return self._row(f"{self.side}, {name}", "recall, %", recall)

    def _of(self, which: NDArray[np.bool_]) -> _Judged | None:
        """The rows of a group, bool [N]; None where it has too few speakers."""
        rows = self.table.filter(pl.Series(which))
        part = _Judged(rows, self.median, self.options, self.source, self.side)
        return part if rows.height and part.units.count >= FEWEST else None

    def _mean(self, data: str, metric: str, values: Floats) -> ResultRow:
        return self._row(data, metric, _mean_of(values))

    def _row(self, data: str, metric: str, statistic: Callable[[Floats], float]) -> ResultRow:
        return figure(data, metric, self._interval(statistic), self.table.height, self.source)

    def _interval(self, statistic: Callable[[Floats], float], units: Units | None = None) -> Interval:
        """Of a statistic of the weights [N] of rows, over units; those of the rows where no others are given."""
        units = units or self.units

        def of_counts(counts: Floats) -> list[float]:
            value = statistic(units.weights(counts))
            if not np.isfinite(value):  # e.g. a resample of one age: drawn again
                raise MetricError("is not defined", where="resample")
            return [value]

        return bootstrap(of_counts, units, self.options.n_resamples, self.options.seed)[0]


def _mean_of(values: Floats) -> Callable[[Floats], float]:
    """The weighted mean of values [N], as a statistic of the weights."""
    return lambda weights: float(weights @ values / weights.sum())


def _ranges(heard: pl.DataFrame, rows: Manifest, info: ModelInfo) -> TestedRanges:
    """Which ages and how much speech were tested on."""
    low, high = float(heard["age"].min()), float(heard["age"].max())  # type: ignore[arg-type]
    amount = (
        f"tested on {minutes(rows):.0f} minutes: {heard.height} recordings of {heard['speaker'].n_unique()} speakers"
    )
    notes = info.training.get("notes")
    fitted = [str(note) for note in notes if str(note).startswith("temperature")] if isinstance(notes, list) else []
    languages = rows.table["language"].drop_nulls().unique().sort().to_list()
    return TestedRanges(languages=tuple(languages), notes=(amount, f"ages from {low:g} to {high:g} years", *fitted))
