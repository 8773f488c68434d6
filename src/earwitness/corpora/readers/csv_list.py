"""Lists in CSV with a fixed header: to a table and back. Lines are counted, so that an error can name one."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.core.writing import write_atomically
from earwitness.corpora.readers.lists import read_text, translated, unknown_word


def read_csv_list(path: Path, header: Sequence[str], words: Mapping[str, str]) -> pl.DataFrame:
    """The columns of the header as text, the last one (the label) translated by `words`; the first one is unique.

    Raises `DataError` naming the line.
    """
    reader = csv.reader(io.StringIO(read_text(path)))
    rows: list[list[str]] = []
    numbers: list[int] = []
    try:
        found = [name.strip() for name in next(reader)]
        if found != list(header):
            raise DataError(f"line 1: the header is {','.join(found)} instead of {','.join(header)}", where=path)
        for row in reader:
            if len(row) != len(header) and row:
                wanted = f"{len(row)} fields instead of {len(header)} ({','.join(header)})"
                raise DataError(f"line {reader.line_num}: has {wanted}", where=path)
            if row:
                rows.append(row)
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: is not CSV ({error})", where=path) from None
    table = pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row")
    label = translated(table[header[-1]], words)
    if (row_number := _first(label.is_null())) is not None:
        what, fix = unknown_word("label", table[header[-1]][row_number], words)
        raise DataError(f"line {numbers[row_number]}: {what}", where=path, fix=fix)
    ids = table[header[0]]
    if (row_number := _first(~ids.is_first_distinct())) is not None:
        first = int((ids == ids[row_number]).arg_max() or 0)
        what = f"line {numbers[row_number]}: '{ids[row_number]}' stands in line {numbers[first]} too"
        raise DataError(what, where=path, fix="Keep one of them.")
    return table.with_columns(label.alias(header[-1]))


def write_csv_list(columns: Mapping[str, pl.Series], words: Mapping[str, str], path: Path) -> None:
    """Write whole or not at all; the last column is the label, written as the word that `words` has for it.

    Raises `DataError` where a label is empty or a value is missing.
    """
    table = pl.DataFrame(dict(columns))
    label = table.columns[-1]
    table = table.with_columns(translated(table[label], {ours: word for word, ours in words.items()}).alias(label))
    for name in table.columns:
        if (row := _first(table[name].is_null())) is not None:
            raise DataError(f"row {row + 1} has no {name}", where=path, fix="This list needs it in every row.")
    write_atomically(path, table.write_csv())


def _first(wrong: pl.Series) -> int | None:
    return int(wrong.arg_max() or 0) if wrong.any() else None
