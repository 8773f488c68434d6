"""NeMo manifests: JSON lines with `audio_filepath`, `duration` in seconds, and `offset` for a part of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.formats.base import Value, extra_name, fits, imported, left_behind, numbered
from earwitness.corpora.formats.json_lines import (
    Fields,
    as_text,
    as_values,
    number_of,
    quoted_numbers,
    read_objects,
    text_of,
    write_objects,
)
from earwitness.corpora.formats.times import duration_of, end_of, points, rounded_note, stretch
from earwitness.corpora.imported import Imported
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.schema import COLUMNS

COLUMN_OF: Mapping[str, str] = {"text": "transcript", "lang": "language", "gender": "sex"}
FIELD_OF: Mapping[str, str] = {column: field for field, column in COLUMN_OF.items()}
TIMES = ("audio_filepath", "offset", "duration")
ORDER = ("text", "label", "speaker", "lang")  # behind the times; all else in the order of the manifest
PREFIX = "nemo_"
# Columns that NeMo says otherwise: fields of these names mean something else
OURS = ("path", "start", "end", "duration_s", "transcript", "language", "sex", "point_s")


def read_nemo(path: Path) -> Imported:
    """A NeMo manifest. A `label` that is neither bonafide nor spoof is kept as `nemo_label`: it may be anything.

    Fields of other names become columns of text (lists and objects as JSON). Raises `DataError` naming the line.
    """
    lines = list(read_objects(path))
    columns = _columns([fields for _, fields in lines])
    rows = [_row(fields, columns, path, number) for number, fields in lines]
    names = [str(row["path"]) for row in rows]
    ids = names if len(set(names)) == len(names) else numbered(names)
    full = [{**row, "id": row.get("id") or id_} for id_, row in zip(ids, rows, strict=True)]
    kept = [f"`{field}` is kept as the column `{name}`" for field, name in columns.items() if name.startswith(PREFIX)]
    extra = [name for name, column in columns.items() if column not in COLUMNS]
    quoted = [name for name in extra if quoted_numbers([fields.get(name) for _, fields in lines])]
    kept += [f"`{name}` holds numbers in quotes; writing gives numbers" for name in quoted]
    zero = sum(row.get("point_s") is not None for row in rows)
    kept += [f"{zero} stretch(es) of no length kept as a point of their recording (column `point_s`)"] if zero else []
    return imported(full, path.parent, path, kept)


def write_nemo(manifest: Manifest, out: Path) -> tuple[str, ...]:
    """One JSON line a row; columns that NeMo has no name for keep theirs."""
    table = manifest.rebased(out.parent).table
    names = [name for name in table.columns if name not in (*OURS, "id") or name in FIELD_OF]
    values = {_field(name): _values(table[name]) for name in names if table[name].null_count() < table.height}
    derived = table["path"].to_list()
    derived = derived if len(set(derived)) == len(derived) else numbered(derived)
    if table["id"].to_list() != derived:
        values["id"] = table["id"].to_list()
    order = [field for field in ORDER if field in values]
    order += [field for field in values if field not in order]
    times = _times(table)
    objects = []
    for row, place in enumerate(times):
        rest = {field: values[field][row] for field in order if values[field][row] is not None}
        objects.append({**place, **rest})
    write_objects(out, objects)
    parts = table.filter(pl.any_horizontal(pl.col("start", "end").is_not_null()))
    told = left_behind(parts.select("duration_s"), [], "NeMo, where rows are parts of files,")
    lengthless = sum("duration" not in place for place in times)
    note = f"{lengthless} row(s) have no `duration`, which NeMo asks for; `earwitness corpus import` fills it in"
    rounded = rounded_note(zip(*parts.drop_nulls(["start", "end"])[["start", "end"]], strict=True))
    return (*told, *rounded, note) if lengthless else (*told, *rounded)


def _columns(lines: Sequence[Fields]) -> dict[str, str]:
    """The column of every field."""
    names = dict.fromkeys(name for fields in lines for name in fields if name not in TIMES)
    return {name: _column(name, [fields.get(name) for fields in lines]) for name in names}


def _column(field: str, values: Sequence[Any]) -> str:
    if field in COLUMN_OF:
        return COLUMN_OF[field]
    if field in OURS or (field in COLUMNS and not _suits(field, values)):
        return f"{PREFIX}{field}"
    return field if field in COLUMNS else extra_name(field, PREFIX)


def _suits(column: str, values: Sequence[Any]) -> bool:
    if COLUMNS[column] != pl.String:
        return all(
            value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values
        )
    return fits(column, [as_text(value) for value in values])


def _row(fields: Fields, columns: Mapping[str, str], path: Path, number: int) -> dict[str, Value]:
    row: dict[str, Value] = {"path": text_of(fields, "audio_filepath", path, number)}
    start, duration = number_of(fields, "offset", path, number), number_of(fields, "duration", path, number)
    if start is None:
        row["duration_s"] = duration
    else:
        row |= vars(stretch(start, None if duration is None else end_of(start, duration)))
    for field, column in columns.items():
        value = fields.get(field)
        numeric = COLUMNS.get(column, pl.String()) != pl.String
        if column in row and row[column] is not None:
            raise DataError(f"line {number}: `{field}` says again what another field says", where=path)
        row[column] = value if numeric else as_text(value)
    return row


def _field(column: str) -> str:
    return FIELD_OF.get(column) or column.removeprefix(PREFIX)


def _values(column: pl.Series) -> list[Any]:
    """What JSON should hold: numbers as numbers, whole ones without a fraction."""
    if column.dtype == pl.Float64:
        return [int(value) if value is not None and value == int(value) else value for value in column]
    return column.to_list() if column.name in COLUMNS else as_values(column.to_list())


def _times(table: pl.DataFrame) -> list[dict[str, Any]]:
    wanted = table.select("path", "start", "end", "duration_s", points(table))
    return [_place(*values) for values in wanted.iter_rows()]


def _place(
    path: str, start: float | None, end: float | None, duration_s: float | None, point: float | None
) -> dict[str, Any]:
    place: dict[str, Any] = {"audio_filepath": path}
    if point is not None:
        return {**place, "offset": point, "duration": 0.0}
    if start is None and end is None:
        return place if duration_s is None else {**place, "duration": duration_s}
    first, last = start or 0.0, duration_s if end is None else end
    place["offset"] = first
    return place if last is None else {**place, "duration": duration_of(first, last)}
