"""A manifest as an audformat database with CSV tables: `files` for whole files, `segments` for stretches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from earwitness.core.writing import write_atomically
from earwitness.corpora.formats.base import numbered
from earwitness.corpora.formats.times import NS, of_ns, points, shown, to_ns
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.schema import COLUMNS, fail

COLUMN_OF: Mapping[str, str] = {"gender": "sex", "transcription": "transcript", "text": "transcript"}
NAME_OF: Mapping[str, str] = {"sex": "gender", "transcript": "transcription"}
SEXES: Mapping[Any, str] = {"female": "f", "male": "m"}
LABELLED = ("speaker", "emotion", "sex", "language", "label", "split")  # schemes that list their labels
INDEX = ("id", "path", "start", "end", "point_s")
DAY_S = 86400
PREFIX = "audformat_"


def write_audformat(manifest: Manifest, out: Path) -> tuple[str, ...]:
    """db.yaml, and db.files.csv and db.segments.csv as there are rows for them, in the folder `out`.

    Every column has its place. Times are in nanoseconds. Raises `DataError` where two rows are the same stretch.
    """
    table = manifest.rebased(out).table
    starts, ends = _times(table)
    whole = pl.Series([start is None for start in starts])
    columns = [name for name in table.columns if name not in INDEX and table[name].null_count() < table.height]
    data = {_name(column): _texts(table[column]) for column in columns}
    paths = table["path"].to_list()
    made = paths if len(set(paths)) == len(paths) else numbered(paths)
    if table["id"].to_list() != made:
        data["id"] = table["id"].to_list()
    full = pl.DataFrame(
        {"file": paths, "start": starts, "end": ends, **data}, schema_overrides={"start": pl.String, "end": pl.String}
    )
    _refuse_equal(full)
    tables = {"files": full.filter(whole).drop("start", "end"), "segments": full.filter(~whole)}
    tables = {name: rows for name, rows in tables.items() if rows.height}
    schemes = {_name(column): _scheme(table[column]) for column in columns}
    schemes |= {"id": {"dtype": "str"}} if "id" in data else {}
    write_atomically(out / "db.yaml", _header(out.absolute().name, table, tables, schemes))
    for name, rows in tables.items():
        write_atomically(out / f"db.{name}.csv", rows.write_csv())
    return _rounded_note(table)


def _times(table: pl.DataFrame) -> tuple[list[str | None], list[str | None]]:
    """Start and end as texts; both None for whole files, an open end for rows without one."""
    starts: list[str | None] = []
    ends: list[str | None] = []
    for start, end, point in table.select("start", "end", points(table)).iter_rows():
        first, last = (point, point) if point is not None else (start, end)
        part = first is not None or last is not None
        starts.append(_time(first or 0.0) if part else None)
        ends.append(None if last is None else _time(last))
    return starts, ends


def _time(seconds: float) -> str:
    """As pandas writes it: `0 days 00:00:01.500000`, nanoseconds only where there are any."""
    whole, fraction = divmod(to_ns(seconds), NS)
    days, rest = divmod(whole, DAY_S)
    clock = f"{days} days {rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    if not fraction:
        return clock
    return f"{clock}.{fraction // 1000:06d}" if fraction % 1000 == 0 else f"{clock}.{fraction:09d}"


def _name(column: str) -> str:
    return NAME_OF.get(column) or column.removeprefix(PREFIX)


def _texts(column: pl.Series) -> list[str | None]:
    if column.dtype != pl.String:
        return [None if value is None else shown(float(value)) for value in column]
    if column.name == "sex":
        words = {ours: theirs for theirs, ours in SEXES.items()}
        return [words.get(value, value) for value in column]
    return column.to_list()


def _scheme(column: pl.Series) -> dict[str, Any]:
    kind = COLUMNS.get(column.name, pl.String())
    if kind != pl.String:
        return {"dtype": "int" if kind == pl.Int64 else "float"}
    if column.name not in LABELLED:
        return {"dtype": "str"}
    return {"dtype": "str", "labels": sorted({text for text in _texts(column) if text is not None})}


def _header(name: str, table: pl.DataFrame, tables: Mapping[str, pl.DataFrame], schemes: Mapping[str, Any]) -> str:
    licences = table["licence"].drop_nulls().unique().to_list()
    header: dict[str, Any] = {"name": name or "database", "source": "", "usage": "other"}
    if len(licences) == 1 and not table["licence"].null_count():
        header["license"] = licences[0]
    header["schemes"] = dict(schemes)
    header["tables"] = {
        table_name: {
            "type": "filewise" if table_name == "files" else "segmented",
            "columns": {column: {"scheme_id": column} for column in rows.columns if column in schemes},
        }
        for table_name, rows in tables.items()
    }
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=120)


def _refuse_equal(full: pl.DataFrame) -> None:
    again = ~full.select(pl.struct("file", "start", "end").is_first_distinct()).to_series()
    if again.any():
        row = int(again.arg_max() or 0)
        fix = "Join the rows that are the same stretch of one file."
        raise fail(row, "path", "is the same stretch of the same file as an earlier row", None, fix)


def _rounded_note(table: pl.DataFrame) -> tuple[str, ...]:
    times = [*table["start"], *table["end"]]
    count = sum(time is not None and of_ns(to_ns(time)) != time for time in times)
    return (f"{count} time(s) rounded to nanoseconds",) if count else ()
