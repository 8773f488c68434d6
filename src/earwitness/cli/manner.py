"""`earwitness evaluate` and `compare` of score tables that say how recordings are spoken: ages and emotions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from earwitness.cli.figures import number
from earwitness.core.errors import UsageError, printable

if TYPE_CHECKING:
    from earwitness.evaluation.judging.judge import JudgeOptions
    from earwitness.evaluation.judging.manner import Manner
    from earwitness.evaluation.results.manner import MannerComparison, MannerResult
    from earwitness.paralinguistic.labels import LabelsConfig
    from earwitness.training.card import ResultRow

PLAIN = {"Pearson's r", "CCC"}  # neither years nor percent


def is_table(path: Path) -> bool:
    """Whether a path is meant as a score table, where a run's folder could stand too."""
    from earwitness.core.writing import TABLE_FORMATS

    return path.is_file() or (path.suffix in TABLE_FORMATS and not path.is_dir())


def evaluate_table(
    task: Manner, scores: Path, key: Path | None, options: JudgeOptions, *, model: str | None, out: Path | None
) -> None:
    """Judge, write and print."""
    from earwitness.evaluation.results.manner import evaluate_manner

    result = evaluate_manner(task, scores, _needed(task, key), options, _labels(task, model))
    if out is not None:  # before the print: the reader of a pipe may have seen enough
        result.write(out)
    for line in _lines(result):
        typer.echo(printable(line))


def compare_tables(
    task: Manner, first: Path, second: Path, key: Path | None, options: JudgeOptions, *, out: Path | None
) -> None:
    """Compare, write and print."""
    from earwitness.evaluation.results.manner import compare_manner

    result = compare_manner(task, first, second, _needed(task, key), options)
    if out is not None:
        result.write(out)
    for line in _compared(result, first, second):
        typer.echo(printable(line))


def _needed(task: Manner, key: Path | None) -> Path:
    if key is None:
        fix = f"Give the manifest of these recordings, with the column `{task}`."
        raise UsageError(f"is needed to know the true {task}s", where="--key", fix=fix)
    return key


def _labels(task: Manner, model: str | None) -> LabelsConfig | None:
    """The label scheme of a model. Raises `ModelError`."""
    from earwitness.cli.localisation import refuse_others

    if model is None:
        return None
    if task == "age":
        refuse_others(task, {"--model": model})
    from earwitness.paralinguistic.emotion import emotion_info
    from earwitness.training.model_folder import read_model_info
    from earwitness.training.shipped import find_model

    return emotion_info(read_model_info(find_model(model))).labels


def _lines(result: MannerResult) -> Iterator[str]:
    from earwitness.cli.emotion import figure_lines

    if result.emotions is None:
        yield from _ages(result)
    else:
        yield from figure_lines(result.emotions)
    yield from (f"note: {note}" for note in result.notes)


def _ages(result: MannerResult) -> Iterator[str]:
    unit = next((row.unit for row in result.rows if row.unit), "speaker")
    yield f"age: {result.judged} recordings judged, {result.speakers} units of {unit}"
    yield ""
    for row in result.rows:
        where = "" if row.data == "all" else f" ({row.data.removeprefix('all, ')}: {row.files})"
        yield f"  {row.metric + where:62} {_value(row)}"
    yield f"  95 % intervals: {result.record.settings['n_resamples']} resamples over {unit}"


def _value(row: ResultRow) -> str:
    digits = 3 if row.metric in PLAIN else 2
    if row.low is None or row.high is None:
        return f"{row.value:8.{digits}f}"
    return f"{row.value:8.{digits}f}   [{row.low:8.{digits}f}, {row.high:8.{digits}f}]"


def _compared(result: MannerComparison, first: Path, second: Path) -> Iterator[str]:
    name, scale = ("MAE, years", "years") if result.task == "age" else ("UA (mean recall)", "share")
    yield f"A: {first}"
    yield f"B: {second}"
    others = f"{result.first_only} by A alone and {result.second_only} by B alone are not compared"
    yield f"{result.shared} recordings judged by both; {others}"
    yield ""
    yield name
    yield f"  A           {number(result.paired.first, scale)}"
    yield f"  B           {number(result.paired.second, scale)}"
    yield f"  A minus B   {number(result.paired.difference, scale)}"
    yield ""
    change = result.paired.difference
    yield f"95 % intervals: {change.n_resamples} resamples over {change.unit}, {change.n_units} units"
    yield result.answer
    yield from (f"note: {note}" for note in result.notes)
