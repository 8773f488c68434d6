"""Columns and rows of tables that people give: typed, or refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.joining import join_advice

BAD_NUMBER = "Write an error instead of a score that is none."
Given = tuple[pl.DataFrame, object]  # a table with `id`, and where it comes from


def require_file(path: str | Path) -> None:
    """Raise `DataError` where there is no such file."""
    if not Path(path).is_file():
        what = "is a folder" if Path(path).is_dir() else "there is no such file"
        raise DataError(what, where=path, fix="Name a file." if Path(path).is_dir() else "Check the path.")


def require_partners(scores: Given, key: Given) -> None:
    """Raise `DataError` where an id of the one side has no partner in the other, with advice where ids look alike."""
    (scored, where), (known, key_where) = scores, key
    unknown, unscored = ~scored["id"].is_in(known["id"].implode()), ~known["id"].is_in(scored["id"].implode())
    if not (unknown.any() or unscored.any()):
        return
    advice = join_advice(scored["id"].filter(unknown), known["id"].filter(unscored), ("the scores", "the key"))
    advice = advice and f"{advice[0].upper()}{advice[1:]}."
    if unknown.all():
        what = f"none of the {scored['id'].n_unique()} ids is in the key {key_where} (here '{scored['id'][0]}'"
        what += f", there '{known['id'][0]}')" if known.height else ", which has no rows)"
        raise DataError(what, where=where, fix=advice or "Give the key of these very recordings.")
    refuse_first(scored, unknown, f"is not in the key {key_where}", where, advice)
    fix = advice or "Score every trial, or shorten the key."
    refuse_first(known, unscored, f"has no row in {where}", key_where, fix)


def text_column(table: pl.DataFrame, name: str) -> pl.Series:
    """A column as text, empty and `n/a` as null; all null where there is none. 1.0 reads as 1."""
    if name not in table.columns:
        return pl.Series(name, [None] * table.height, dtype=pl.String)
    column = table[name]
    whole = column.dtype.is_float() and bool((column == column.floor()).all())
    if column.dtype == pl.Boolean or whole:
        column = column.cast(pl.Int64, strict=False)
    text = column.cast(pl.String).str.strip_chars()
    missing = text.is_null() | (text == "") | (text.str.to_lowercase() == "n/a")
    return text.zip_with(~missing, pl.Series(name, [None] * table.height, dtype=pl.String))


def number_column(table: pl.DataFrame, name: str, where: object) -> pl.Series:
    """A column as finite float64, empty as null."""
    if name in table.columns and table[name].dtype.is_numeric():
        values = table[name].cast(pl.Float64)
        given = values.is_not_null()
    else:
        text = text_column(table, name)
        values, given = text.cast(pl.Float64, strict=False), text.is_not_null()
    bad = given.to_numpy() & ~np.isfinite(values.fill_null(np.nan).to_numpy())
    refuse_first(table, pl.Series(bad), f"has a `{name}` that is no finite number", where, BAD_NUMBER)
    return values.alias(name)


def refuse_first(table: pl.DataFrame, wrong: pl.Series, what: str, where: object, fix: str | None = None) -> None:
    """Raise `DataError` naming the first row where `wrong` holds, and how many there are."""
    if wrong.any():
        count, first = int(wrong.sum()), int(wrong.arg_max() or 0)
        more = f" (and {count - 1} more rows)" if count > 1 else ""
        raise DataError(f"row {first + 1}, id '{table['id'][first]}': {what}{more}", where=where, fix=fix)
