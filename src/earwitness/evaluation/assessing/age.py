"""The tests of an age model on the recordings that its run held out, beside always answering the training median.

results/test.csv    id, speaker, sex, age, mean, sd, low, high, nll, crps, seconds_used, seconds_total, error
results/age.json    the figures over them, with 95 % intervals over speakers
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from earwitness.audio.reading import load
from earwitness.core.errors import AudioError, DataError
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.tables import read_table, write_table
from earwitness.evaluation.ages import JudgedAges
from earwitness.evaluation.assessing.outcome import (
    Outcome,
    leaks_of,
    minutes,
    read_side,
    results_folder,
    write_result,
)
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.metrics.distribution import GridDistributions, crps_each, nll_each
from earwitness.paralinguistic.age import AgeEstimate, AgeEstimator
from earwitness.training.card import ResultRow
from earwitness.training.left_out import LEFT_OUT
from earwitness.training.model_folder import ModelInfo, TestedRanges
from earwitness.training.runlog import counted

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
    table = _heard(estimator, rows)
    write_table(table, results / "test.csv")
    heard = table.filter(pl.col("error").is_null())
    source = results / "age.json"
    judged = JudgedAges(heard, estimator.reading.median, options or JudgeOptions(), source)
    if judged.units.count < 2:
        return Outcome(inconclusive=("It was not tested on two speakers or more.", *leaks))
    figures = [*judged.figures(), *judged.of_speakers()]
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
        table = _left_out(part, estimator.reading.loss.grid.values)
        write_table(table, results / f"left-out.{name}.csv")
        judged = JudgedAges(table, estimator.reading.median, options, source, words)
        if name == "clean":
            figures += [*judged.figures(), *judged.of_speakers()]
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


def _left_out(written: pl.DataFrame, grid: Sequence[float]) -> pl.DataFrame:
    """As `_heard`, from the rows of one condition."""
    found: list[dict[str, Any]] = []
    for row in written.iter_rows(named=True):
        said = GridDistributions.of(grid, np.array(row["distribution"])[None])
        seconds = float(row["duration_s"] or 0.0)
        estimate = AgeEstimate.of(grid, said.probabilities[0], seconds, seconds)
        age = np.array([row["age"]], np.float64)
        scores = {"nll": float(nll_each(age, said)[0]), "crps": float(crps_each(age, said)[0])}
        known = {name: row[name] for name in ("id", "speaker", "sex", "age")}
        told = {name: getattr(estimate, name) for name in COLUMNS if hasattr(estimate, name)}
        found.append(known | told | scores)
    return pl.DataFrame(found, schema=COLUMNS)


def _heard(estimator: AgeEstimator, side: Manifest) -> pl.DataFrame:
    """A row a recording."""
    found: list[dict[str, Any]] = []
    for row in counted(side.rows(), "hearing the test side", len(side)):
        if row.age is None:
            raise DataError("has no age to judge by", where=row.id, fix="The run's tables were changed; train again.")
        known = {"id": row.id, "speaker": row.speaker, "sex": row.sex, "age": row.age}
        try:
            estimate = _estimate(estimator, side, row)
        except AudioError as error:
            found.append(known | {"error": str(error)})
            continue
        said = GridDistributions.of(estimate.ages, estimate.distribution[None])
        age = np.array([row.age], np.float64)
        scores = {"nll": float(nll_each(age, said)[0]), "crps": float(crps_each(age, said)[0])}
        told = {name: getattr(estimate, name) for name in COLUMNS if hasattr(estimate, name)}
        found.append(known | told | scores)
    return pl.DataFrame(found, schema=COLUMNS)


def _estimate(estimator: AgeEstimator, side: Manifest, row: Row) -> AgeEstimate:
    recording = load(side.resolve(row), estimator.info.rate, row.channel, row.start or 0.0, row.end)
    return estimator.estimate(recording.samples, recording.rate)


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
