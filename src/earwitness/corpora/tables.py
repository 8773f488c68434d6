"""Manifest files: CSV, Parquet and JSON lines, to and from a table."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import polars as pl

from earwitness.core.errors import DataError, UsageError
from earwitness.core.plain_files import read_plain, require_plain
from earwitness.core.writing import TABLE_FORMATS, atomic_file

ROWS_AT_ONCE = 50_000


def read_table(path: Path) -> pl.DataFrame:
    """The raw table of a file, values as they stand there (CSV: all text). Raises `DataError` or `UsageError`."""
    _check_format(path)
    try:
        if path.suffix == ".parquet":
            require_plain(path)
            return pl.read_parquet(path)
        data = read_plain(path)
    except FileNotFoundError:
        raise DataError("there is no such manifest", where=path, fix="Check the path.") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=path) from None
    except pl.exceptions.PolarsError as error:
        raise DataError(f"is not a Parquet file ({_first_line(error)})", where=path) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text (byte {error.start})", where=path, fix="Save it as UTF-8.") from None
    if not text.strip():
        raise DataError("is empty", where=path, fix="A manifest has a header and one row a recording.")
    return _read_csv(text, path) if path.suffix == ".csv" else _read_jsonl(text, path)


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write whole or not at all. Raises `UsageError` for another format."""
    _check_format(path)
    with atomic_file(path) as file:
        # the file is written here: polars up to 1.35 loses what a full disk refuses, and says nothing
        if path.suffix == ".parquet":
            content = io.BytesIO()
            table.write_parquet(content)
            file.write(content.getbuffer())
        elif path.suffix == ".csv":
            for number, rows in enumerate(table.iter_slices(ROWS_AT_ONCE) if len(table) else [table]):
                file.write(rows.write_csv(include_header=number == 0).encode("utf-8"))
        else:
            for row in table.iter_rows(named=True):
                file.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8"))


def _check_format(path: Path) -> None:
    if path.is_dir():
        raise UsageError("is a folder, not a table", where=path, fix="Name the file in it.")
    if path.suffix not in TABLE_FORMATS:
        raise UsageError(
            f"'{path.suffix}' is not a manifest format", where=path, fix=f"Use one of {', '.join(TABLE_FORMATS)}."
        )


def _read_csv(text: str, path: Path) -> pl.DataFrame:
    header = next(csv.reader(io.StringIO(text)), [])
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise DataError(f"the column `{min(twice)}` stands twice in the header", where=path, fix="Keep one of them.")
    try:
        return pl.read_csv(text.encode(), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"is not a CSV table ({_first_line(error)})", where=path) from None


def _read_jsonl(text: str, path: Path) -> pl.DataFrame:
    """Values as text: what type a column has is for the schema to say, not for the first rows."""
    rows: list[dict[str, str | None]] = []
    names: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            row = _parse_line(line, number, path)
            names.update(dict.fromkeys(row))
            rows.append(row)
    return pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in names}, schema=dict.fromkeys(names, pl.String)
    )


def _parse_line(line: str, number: int, path: Path) -> dict[str, str | None]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"line {number} is not JSON ({error})", where=path) from None
    if not isinstance(row, dict):
        raise DataError(f"line {number} is not a JSON object", where=path)
    return {name: _as_text(value, name, number, path) for name, value in row.items()}


def _as_text(value: Any, name: str, number: int, path: Path) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        raise DataError(
            f"line {number}, column `{name}`: holds a {type(value).__name__}", where=path, fix="Write plain values."
        )
    return json.dumps(value)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
