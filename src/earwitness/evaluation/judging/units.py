"""What the scores of a table are resampled by: the unit that repeats, so that an interval is not too narrow."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import polars as pl

from earwitness.core.errors import UsageError
from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.evaluation.judging.score_files import SYSTEM_SCORES
from earwitness.metrics.bootstrap import Units

Unit = Literal["auto", "speaker", "system", "utterance"]
_NO_GROUPS = ("id", "path", "score", "llr", *SYSTEM_SCORES, "label", "positive")


def units_of(scores: LabelledScores, unit: Unit = "auto") -> tuple[Units, list[str]]:
    """What is resampled together, rows of the positives first, and what must be said about it.

    `auto`: bona fide by speaker crossed with spoof by system (by speaker where there are no systems); trials by the
    speakers of both sides; sasv by the speaker who is claimed. Where a column is missing or has one value only: by
    utterance (trials: by recording; sasv: by trial). Raises `UsageError` where a named unit is not there.
    """
    if unit not in get_args(Unit):
        raise UsageError(f"unknown unit '{unit}'", where="--unit", fix=f"Use one of {', '.join(get_args(Unit))}.")
    pos, neg = scores.positive, scores.negative
    if scores.task == "sasv":
        return _claimed_units(pl.concat([pos, neg]), unit)
    if scores.task == "speaker":
        return _trial_units(pl.concat([pos, neg]), unit)
    if unit == "utterance":
        return Units.stacked(Units.each(pos.height), Units.each(neg.height)), []
    if unit == "speaker":
        require_column(scores, "speaker", "--unit")
        return _grouped(pl.concat([pos, neg]), "speaker")
    if unit == "system":
        require_column(scores, "system", "--unit")
        system, notes = _grouped(neg, "system")
        return Units.stacked(Units.each(pos.height), system), notes
    if _usable(pos, "speaker") and _usable(neg, "speaker") and not _usable(neg, "system"):
        return _grouped(pl.concat([pos, neg]), "speaker")  # a speaker brings the scores of both classes
    by_speaker, first = _grouped_or_each(pos, "speaker", "bona fide")
    by_system, second = _grouped_or_each(neg, "system", "spoof")
    return Units.stacked(by_speaker, by_system), first + second


def speaker_units(table: pl.DataFrame) -> Units:
    """The speakers of a table; a row without one is a unit of its own ("recording" where no row has one)."""
    units, _ = _grouped(table, "speaker")
    return replace(units, name="recording") if table["speaker"].null_count() == table.height else units


def _usable(table: pl.DataFrame, column: str) -> bool:
    return column in table.columns and table[column].drop_nulls().n_unique() > 1


def _grouped_or_each(table: pl.DataFrame, column: str, what: str) -> tuple[Units, list[str]]:
    if _usable(table, column):
        return _grouped(table, column)
    note = f"{what}: fewer than two values of {column}, so the interval is over utterances"
    return Units.each(table.height), [note]


def _grouped(table: pl.DataFrame, column: str) -> tuple[Units, list[str]]:
    """Units by a column; a row without a value is a unit of its own."""
    missing = table[column].null_count()
    own = pl.format("\0{}", pl.int_range(pl.len()))
    ids = table.select(pl.col(column).cast(pl.String).fill_null(own)).to_series()
    notes = [f"{missing} rows have no {column} and are each a unit of their own"] if missing else []
    return Units.of(ids.to_numpy(), column), notes


def _trial_units(trials: pl.DataFrame, unit: Unit) -> tuple[Units, list[str]]:
    if unit == "utterance":
        return Units.each(trials.height, "trial"), []
    if unit == "system":
        raise UsageError("speaker trials have no systems", where="--unit", fix="Use speaker or utterance.")
    sides = ("enrol_speaker", "test_speaker")
    if all(side in trials.columns and not trials[side].null_count() for side in sides):
        return Units.pairs(trials[sides[0]].to_list(), trials[sides[1]].to_list(), "speaker"), []
    if unit == "speaker":
        fix = "Add them to the key, or use --unit auto."
        raise UsageError("the trials have no columns `enrol_speaker` and `test_speaker`", where="--unit", fix=fix)
    note = "no columns `enrol_speaker` and `test_speaker`, so the interval is over the recordings of both sides"
    return Units.pairs(trials["enrol"].to_list(), trials["test"].to_list(), "recording"), [note]


def _claimed_units(trials: pl.DataFrame, unit: Unit) -> tuple[Units, list[str]]:
    """By the target speaker: `enrol_speaker` where it is known, else `enrol`."""
    if unit == "system":
        what = "the attacks of sasv are no units: all of them are tried on every target speaker"
        raise UsageError(what, where="--unit", fix="Use speaker or utterance.")
    if unit == "utterance":
        return Units.each(trials.height, "trial"), []
    column = "enrol_speaker" if _usable(trials, "enrol_speaker") else "enrol"
    if unit == "auto" and not _usable(trials, column):
        return Units.each(trials.height, "trial"), ["only one target speaker, so the interval is over trials"]
    units, notes = _grouped(trials, column)
    return replace(units, name="target speaker"), notes


def require_column(scores: LabelledScores, column: str, option: str) -> None:
    """Raise `UsageError` naming the columns that there are, where the table lacks one."""
    if column not in scores.table.columns:
        known = [name for name in scores.table.columns if name not in _NO_GROUPS]
        fix = f"There are: {', '.join(known)}." if known else "Give a --key with more columns."
        raise UsageError(f"there is no column '{column}'", where=option, fix=fix)
