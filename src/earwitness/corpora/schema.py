"""The columns of a manifest, and the check that turns any table into one. Errors name file, row and column.

`path` is required, all else may be absent or empty. Empty text and `n/a` read as null. Columns of other names are kept
as text (for tables per condition), but a name that nearly equals a known one is taken for a typing error and refused
(`speker`; not `speaker_2`, which adds to it).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from earwitness.core.config import nearest
from earwitness.core.errors import DataError

Label = Literal["bonafide", "spoof"]
Split = Literal["train", "dev", "test"]

COLUMNS: Mapping[str, pl.DataType] = {
    "id": pl.String(),  # unique; the path where not given
    "path": pl.String(),  # against the manifest's folder
    "start": pl.Float64(),  # seconds in the file
    "end": pl.Float64(),  # seconds in the file
    "channel": pl.Int64(),  # 0-based
    "duration_s": pl.Float64(),
    "sample_rate": pl.Int64(),  # Hz, of the file
    "speaker": pl.String(),  # in spoof rows the imitated voice
    "label": pl.String(),  # bonafide | spoof
    "system": pl.String(),  # what made a spoof
    "family": pl.String(),  # systems that share their waveform generator
    "codec": pl.String(),
    "sex": pl.String(),
    "age": pl.Float64(),  # years
    "emotion": pl.String(),
    "intensity": pl.Float64(),  # of the emotion, 0..1
    "language": pl.String(),
    "transcript": pl.String(),
    "source_recording": pl.String(),  # the human recording behind a row: twins share it
    "split_group": pl.String(),  # must stay on one side of a split
    "licence": pl.String(),
    "split": pl.String(),  # train | dev | test
}
ALLOWED: Mapping[str, tuple[str, ...]] = {"label": ("bonafide", "spoof"), "split": ("train", "dev", "test")}
LOWEST: Mapping[str, float] = {
    "start": 0,
    "end": 0,
    "channel": 0,
    "duration_s": 0,
    "sample_rate": 1,
    "age": 0,
    "intensity": 0,
}
SYNTHETIC = "synthetic"  # an extra column: a row where it says true was made here, and cannot be bona fide
LARGEST = 2.0**53  # whole numbers up to here are exact in double precision


def checked(table: pl.DataFrame, where: object = None) -> pl.DataFrame:
    """The table with every known column, typed and in order, extra columns (as text) after them. Raises `DataError`."""
    _check_names(table.columns, where)
    extra = [name for name in table.columns if name not in COLUMNS]
    columns = {name: _typed(table, name, kind, where) for name, kind in COLUMNS.items()}
    columns |= {name: _text(table[name], where) for name in extra}
    result = pl.DataFrame(columns)
    _refuse_first(result["path"].is_null(), "path", "is empty", where)
    result = result.with_columns(pl.col("id").fill_null(pl.col("path")))
    for name, allowed in ALLOWED.items():
        _check_allowed(result[name], allowed, where)
    for name, lowest in LOWEST.items():
        _check_lowest(result[name], lowest, where)
    backwards = (result["end"] <= result["start"].fill_null(0.0)).fill_null(False)
    _refuse_first(backwards, "end", "is not after `start`", where)
    _check_unique(result["id"], where)
    if SYNTHETIC in result.columns:
        marked = (result[SYNTHETIC].str.to_lowercase() == "true") & (result["label"] == "bonafide")
        fix = "What was made here stays a spoof."
        _refuse_first(marked.fill_null(False), "label", "a synthetic row is called bonafide", where, fix=fix)
    return result


def fail(row: int, column: str, what: str, where: object, fix: str | None = None) -> DataError:
    """The error for the 0-based `row`; people read it 1-based, the header not counted."""
    return DataError(f"row {row + 1}, column `{column}`: {what}", where=where, fix=fix)


def _check_names(names: list[str], where: object) -> None:
    if "path" not in names:
        guess = nearest("path", names)
        fix = f"Rename column `{guess}`." if guess else "Every row needs the path of a recording."
        raise DataError("the column `path` is missing", where=where, fix=fix)
    for name in names:
        known = difflib.get_close_matches(name.lower(), COLUMNS, n=1, cutoff=0.8)
        meant = name.lower().startswith(f"{known[0]}_") if known else True  # e.g. `intensity_lo` is a name of its own
        if name not in COLUMNS and not meant:
            raise DataError(
                f"unknown column `{name}`; did you mean `{known[0]}`?", where=where, fix="Rename the column."
            )


def _typed(table: pl.DataFrame, name: str, kind: pl.DataType, where: object) -> pl.Series:
    if name not in table.columns:
        return pl.Series(name, [None] * table.height, dtype=kind)
    column = table[name]
    if kind == pl.String:
        return _text(column, where)
    return _number(column, kind, where)


def _text(column: pl.Series, where: object) -> pl.Series:
    """As text, with empty and `n/a` as null."""
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise DataError(
            f"column `{column.name}` holds {column.dtype}, not text", where=where, fix="Write plain values."
        )
    text = column.cast(pl.String)
    missing = (text == "") | text.str.strip_chars().str.to_lowercase().eq("n/a")
    return pl.select(pl.when(missing.fill_null(True)).then(None).otherwise(text).alias(column.name)).to_series()


def _number(column: pl.Series, kind: pl.DataType, where: object) -> pl.Series:
    """As finite numbers; NaN is missing, as other tools write it."""
    if column.dtype.is_numeric():
        values = column.cast(pl.Float64)
    else:
        text = _text(column, where)
        values = text.str.strip_chars().cast(pl.Float64, strict=False)
        wrong = text.is_not_null() & values.is_null()
        _refuse_first(wrong, column.name, "is not a number", where, text, "Leave the cell empty, or write a number.")
    values = values.fill_nan(None)
    _refuse_first(values.is_infinite().fill_null(False), column.name, "is not finite", where)
    if kind != pl.Int64:
        return values.alias(column.name)
    _refuse_first((values != values.floor()).fill_null(False), column.name, "is not a whole number", where, values)
    _refuse_first((values.abs() > LARGEST).fill_null(False), column.name, "is too large", where, values)
    return values.cast(pl.Int64).alias(column.name)


def _check_allowed(column: pl.Series, allowed: tuple[str, ...], where: object) -> None:
    wrong = column.is_not_null() & ~column.is_in(allowed)
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        guess = nearest(column[row].lower(), allowed)
        hint = f" Did you mean '{guess}'?" if guess else ""
        fix = f"Allowed: {', '.join(allowed)}, or empty.{hint}"
        raise fail(row, column.name, f"unknown {column.name} '{column[row]}'", where, fix)


def _check_lowest(column: pl.Series, lowest: float, where: object) -> None:
    _refuse_first((column < lowest).fill_null(False), column.name, f"is below {lowest:g}", where, column)


def _check_unique(ids: pl.Series, where: object) -> None:
    again = ~ids.is_first_distinct()
    if again.any():
        row = int(again.arg_max() or 0)
        first = int((ids == ids[row]).arg_max() or 0)
        fix = "Give each row its own `id` (several rows of one file need one each)."
        raise fail(row, "id", f"'{ids[row]}' is the id of row {first + 1} too", where, fix)


def _refuse_first(
    wrong: pl.Series, column: str, what: str, where: object, values: Any = None, fix: str | None = None
) -> None:
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise fail(row, column, what if values is None else f"'{values[row]}' {what}", where, fix)
