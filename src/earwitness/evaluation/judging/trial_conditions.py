"""Tables of speaker trials by condition: how short, how noisy, of which sexes, across which channels.

`evaluate speaker --by duration snr sex channel` makes these columns of what a table of trials tells of both sides:

    duration    speech of the shorter side, seconds (`speech_s_*`, else `seconds_used_*`)
    snr         the noisier side, speech above background in dB (`snr_db_*`)
    sex         `sex_*` of both sides: of one sex, or of two
    channel     whether both sides have one bandwidth (telephone or wide) and, where it is known, one codec

A column of the same name in the table or its key stays as it is. A trial with an unknown side is `(none)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import polars as pl

from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.training.conditions import NARROW_HZ, NOISY_DB, SHORT_S

DURATIONS_S = (SHORT_S, 5.0, 10.0)  # edges between the groups
SNRS_DB = (NOISY_DB, 30.0)


def with_conditions(scores: LabelledScores, columns: Sequence[str]) -> LabelledScores:
    """The scores with those of the columns that can be made of what they hold; others are left as they are."""
    if scores.task != "speaker":
        return scores
    made = {
        name: found.alias(name)
        for name in columns
        if name in MADE and name not in scores.table.columns and (found := MADE[name](scores.table)) is not None
    }
    return replace(scores, table=scores.table.with_columns(**made)) if made else scores


def _duration(table: pl.DataFrame) -> pl.Expr | None:
    sides = _sides(table, "speech_s") or _sides(table, "seconds_used")
    return None if sides is None else _binned(sides, DURATIONS_S, "s")


def _snr(table: pl.DataFrame) -> pl.Expr | None:
    sides = _sides(table, "snr_db")
    return None if sides is None else _binned(sides, SNRS_DB, "dB")


def _sex(table: pl.DataFrame) -> pl.Expr | None:
    sides = _sides(table, "sex")
    if sides is None:
        return None
    one, other = (side.cast(pl.String) for side in sides)
    both = pl.when(one == other).then(pl.format("both {}", one)).otherwise(pl.lit("of two sexes"))
    return pl.when(one.is_not_null() & other.is_not_null()).then(both)


def _channel(table: pl.DataFrame) -> pl.Expr | None:
    bands, codecs = _sides(table, "bandwidth_hz"), _sides(table, "codec")
    if bands is None and codecs is None:
        return None
    across, known = pl.lit(False), pl.lit(True)
    if bands is not None:
        narrow = [side.cast(pl.Float64, strict=False) < NARROW_HZ for side in bands]
        across, known = across | (narrow[0] != narrow[1]), known & narrow[0].is_not_null() & narrow[1].is_not_null()
    if codecs is not None:
        across = across | codecs[0].cast(pl.String).ne_missing(codecs[1].cast(pl.String))
    word = pl.when(across).then(pl.lit("across channels")).otherwise(pl.lit("one channel"))
    return pl.when(known).then(word)


MADE: dict[str, Callable[[pl.DataFrame], pl.Expr | None]] = {
    "duration": _duration,
    "snr": _snr,
    "sex": _sex,
    "channel": _channel,
}


def _sides(table: pl.DataFrame, name: str) -> tuple[pl.Expr, pl.Expr] | None:
    """The columns of both sides, where the table has both."""
    both = f"{name}_enrol", f"{name}_test"
    return (pl.col(both[0]), pl.col(both[1])) if all(column in table.columns for column in both) else None


def _binned(sides: tuple[pl.Expr, pl.Expr], edges: Sequence[float], unit: str) -> pl.Expr:
    """The lesser side's group, named so that groups sort by size: `1: under 2 s`."""
    numbers = [side.cast(pl.Float64, strict=False) for side in sides]
    least = pl.when(numbers[0].is_not_null() & numbers[1].is_not_null()).then(pl.min_horizontal(*numbers))
    named = pl.lit(f"{len(edges) + 1}: {edges[-1]:g} {unit} or more")
    for place in range(len(edges) - 1, -1, -1):
        words = f"under {edges[0]:g} {unit}" if place == 0 else f"{edges[place - 1]:g} to {edges[place]:g} {unit}"
        named = pl.when(least < edges[place]).then(pl.lit(f"{place + 1}: {words}")).otherwise(named)
    return pl.when(least.is_not_null()).then(named)
