"""audformat databases: a header `db.yaml` and a table a file, `db.<table>.csv` or `.parquet`.

Filewise tables describe whole files, segmented ones stretches (`file,start,end`, times as `0 days 00:00:01.500000`).
Pickled tables (`.pkl`) are never opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from earwitness.core.errors import DataError
from earwitness.corpora.formats.audformat_writing import COLUMN_OF, SEXES, write_audformat
from earwitness.corpora.formats.base import Value, extra_name, fits, imported, numbered, text_of
from earwitness.corpora.formats.times import NS, of_ns, stretch
from earwitness.corpora.imported import Imported
from earwitness.corpora.schema import COLUMNS
from earwitness.corpora.tables import read_table

__all__ = ["read_audformat", "write_audformat"]

Node = Mapping[Any, Any]
Key = tuple[str, int | None, int | None]  # file, start and end in nanoseconds
PREFIX = "audformat_"
_CORE = ("description", "source", "usage", "license", "author", "languages")
RESERVED = ("path", "start", "end", "channel_ids")
_TIME = re.compile(r"(?:(\d{1,7}) days?,? ?)?(?:\+?(\d{1,9}):(\d\d):(\d\d)(?:\.(\d{1,9}))?)?")


@dataclass
class _Rows:
    """Rows by their place in a file, and notes on what came of them."""

    rows: dict[Key, dict[str, Value]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


def read_audformat(path: Path) -> Imported:
    """An audformat database (the folder, or its db.yaml), all tables joined: a row a segment, or a file without any.

    Labels of whole files hold for their segments. Codes with a label stand as the label, the code in `<column>_code`;
    miscellaneous tables are joined where a scheme points at them. Raises `DataError`.
    """
    header_file = path / "db.yaml" if path.is_dir() else path
    header = _header(header_file)
    found = _Rows()
    for name, node in _nodes(header, "tables", header_file):
        table = _table(header_file.parent, name)
        _add_table(found, table, name, node, _Header(header, header_file))
    _inherit(found.rows)
    rows = _placed(found.rows)
    _fit_words(rows, found.notes)
    notes = [*_lost(_Header(header, header_file), found.used), *found.notes]
    if count := sum(row.get("point_s") is not None for row in rows):
        notes.append(f"{count} stretch(es) of no length kept as a point of their recording (column `point_s`)")
    return imported(rows, header_file.parent, header_file, notes)


# --- header


@dataclass(frozen=True)
class _Header:
    """The header with its file, for the parts that columns point at."""

    data: Node
    file: Path

    def part(self, group: str, name: object) -> Node:
        nodes = self.mapping(self.data.get(group), group)
        return self.mapping(nodes.get(name), f"{group}: {name}") if isinstance(name, str | int) else {}

    def mapping(self, value: object, what: str) -> Node:
        """A part of the header, nothing where it is not there. Raises `DataError` for anything but names and values."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise DataError(f"`{what}` is no list of names and values", where=self.file)
        return value


def _header(file: Path) -> Node:
    if not file.is_file():
        raise DataError("holds no db.yaml", where=file.parent, fix="Name the folder of an audformat database.")
    try:
        header = yaml.safe_load(text_of(file))
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"is not valid YAML ({str(error).splitlines()[0]})", where=file) from None
    if not isinstance(header, Mapping) or not isinstance(header.get("tables"), Mapping):
        raise DataError("names no tables", where=file, fix="Expected: an audformat header with `tables`.")
    return header


def _nodes(header: Node, group: str, file: Path) -> Iterator[tuple[str, Node]]:
    for name, node in header[group].items():
        if not isinstance(node, Mapping) or node.get("type") not in ("filewise", "segmented"):
            fix = "Expected: `type: filewise` or `type: segmented`."
            raise DataError(f"table '{name}' has no known type", where=file, fix=fix)
        if not re.fullmatch(r"[\w.\- ]+", str(name)):
            raise DataError(f"table '{name}': such a name is no part of a file name", where=file)
        yield str(name), node


def _lost(header: _Header, used: set[str]) -> list[str]:
    """What of the header a manifest has no column for."""
    notes = []
    core = [
        name for name in ("description", "source", "usage", "license", "author", "languages") if header.data.get(name)
    ]
    if core:
        notes.append(f"of the header not in the manifest: {', '.join(core)}")
    for group in ("raters", "attachments"):
        if names := header.mapping(header.data.get(group), group):
            notes.append(f"{group} of the header are not in the manifest: {', '.join(map(str, names))}")
    misc = header.mapping(header.data.get("misc_tables"), "misc_tables")
    if others := [name for name in misc if name not in used]:
        notes.append(f"misc tables that no scheme points at left out: {', '.join(map(str, others))}")
    return notes


# --- tables


def _table(folder: Path, name: str) -> pl.DataFrame:
    """A table with texts as they stand; times of Parquet in nanoseconds. Raises `DataError`."""
    csv, parquet = folder / f"db.{name}.csv", folder / f"db.{name}.parquet"
    if csv.is_file():
        return read_table(csv)
    if parquet.is_file():
        table = read_table(parquet)
        times = [pl.col(column).dt.total_nanoseconds() for column, kind in table.schema.items() if kind == pl.Duration]
        words = [column for column, kind in table.schema.items() if kind == pl.Categorical or kind == pl.Enum]
        return table.with_columns(*times, pl.col(words).cast(pl.String))
    if (folder / f"db.{name}.pkl").is_file():
        fix = 'Save the database with storage_format="csv" or "parquet": a pickle can run any code when it is opened.'
        raise DataError(f"table '{name}' is there only as a pickle, which is not opened", where=folder, fix=fix)
    raise DataError(f"has no file of the table '{name}'", where=folder, fix=f"Expected: {csv.name} or {parquet.name}.")


def _add_table(found: _Rows, table: pl.DataFrame, name: str, node: Node, header: _Header) -> None:
    segmented = node["type"] == "segmented"
    index = ["file", "start", "end"] if segmented else ["file"]
    if missing := [column for column in index if column not in table.columns]:
        raise DataError(f"table '{name}' has no column `{missing[0]}`", where=header.file.parent)
    keys = [_key(row, name, number, header) for number, row in enumerate(table.select(index).iter_rows())]
    for key in keys:
        found.rows.setdefault(key, {})
    columns = {column: table[column].to_list() for column in table.columns if column not in index}
    for column, values in _explained(columns, node, header, found.used).items():
        _add_column(found, column, keys, values, name)
    rate = header.part("media", node.get("media_id")).get("sampling_rate")
    split = node.get("split_id")
    side = header.part("splits", split).get("type", split)
    for column, value in (("sample_rate", rate), ("split", side)):
        if isinstance(value, str | int | float):
            _add_column(found, column, keys, [value] * len(keys), name)


def _key(row: Sequence[Any], name: str, number: int, header: _Header) -> Key:
    file, *times = row
    if not file:
        raise DataError(f"table '{name}', row {number + 1}: no file", where=header.file.parent)
    start, end = (_ns(time, name, number, header) for time in times) if times else (None, None)
    return str(file), start if start or end is not None else None, end


def _ns(time: object, name: str, number: int, header: _Header) -> int | None:
    """Nanoseconds of a time: a number of them (Parquet), or a text such as `0 days 00:00:01.500000`."""
    if time is None or time in ("", "NaT"):
        return None
    if isinstance(time, int):
        return time
    match = _TIME.fullmatch(str(time).strip())
    if not match or not any(match.groups()):
        fix = "Expected: `0 days 00:00:01.500000`."
        raise DataError(f"table '{name}', row {number + 1}: '{time}' is no time", where=header.file.parent, fix=fix)
    days, hours, minutes, whole = (int(part or 0) for part in match.groups()[:4])
    return (((days * 24 + hours) * 60 + minutes) * 60 + whole) * NS + int((match[5] or "").ljust(9, "0"))


def _explained(columns: Mapping[str, list[Any]], node: Node, header: _Header, used: set[str]) -> dict[str, list[Any]]:
    """The columns under our names, codes replaced by their labels, and what labels say further."""
    result: dict[str, list[Any]] = {}
    described = header.mapping(node.get("columns"), "columns")
    schemes = {column: header.mapping(described.get(column), column).get("scheme_id") for column in columns}
    for column, values in columns.items():
        name = _name(column, schemes, columns)
        scheme = header.part("schemes", schemes[column])
        labels = _labels(scheme, header, used)
        if scheme.get("dtype") == "time":
            name = "duration_s" if column == "duration" else name
            values = [
                None if (time := _ns(value, column, row, header)) is None else of_ns(time)
                for row, value in enumerate(values)
            ]
        plain = {code: label for code, label in labels.items() if isinstance(label, str | int | float)}
        if plain and any(plain.get(_code(value), value) != value for value in values):
            result[extra_name(f"{column}_code", PREFIX)] = values
            values = [plain.get(_code(value), value) for value in values]
        result[name] = [SEXES.get(str(value), value) for value in values] if name == "sex" else values
        for further in dict.fromkeys(key for label in labels.values() if isinstance(label, Mapping) for key in label):
            said = [_said(labels.get(_code(value)), further) for value in values]
            own = _name(str(further), {}, {})
            result.setdefault(own, [SEXES.get(str(value), value) for value in said] if own == "sex" else said)
    return result


def _name(column: str, schemes: Mapping[str, object], columns: Mapping[str, object]) -> str:
    """The manifest's column: by the column's own name, else by its scheme's where no other column has that."""
    scheme = schemes.get(column)
    alone = list(schemes.values()).count(scheme) == 1
    for known in (column, scheme if alone and isinstance(scheme, str) and scheme not in columns else None):
        if isinstance(known, str) and known not in RESERVED and (known in COLUMN_OF or known in COLUMNS):
            return COLUMN_OF.get(known, known)
    return extra_name(column, PREFIX)


def _said(label: object, further: object) -> object:
    return label.get(further) if isinstance(label, Mapping) else None


def _code(value: object) -> str:
    """Codes are compared as text: a CSV has no other, and YAML reads 3 as a number."""
    return str(value)


def _labels(scheme: Node, header: _Header, used: set[str]) -> dict[str, Any]:
    """What codes mean: a dictionary in the header, or a misc table that the scheme names."""
    labels = scheme.get("labels")
    if isinstance(labels, str):
        if labels not in header.mapping(header.data.get("misc_tables"), "misc_tables"):
            raise DataError(f"there is no misc table '{labels}'", where=header.file)
        used.add(labels)
        table = _table(header.file.parent, labels)
        first, *others = table.columns
        return {
            _code(row[0]): dict(zip(others, row[1:], strict=True)) for row in table.select(first, *others).iter_rows()
        }
    return {_code(code): label for code, label in labels.items()} if isinstance(labels, Mapping) else {}


def _add_column(found: _Rows, column: str, keys: Sequence[Key], values: Sequence[Any], table: str) -> None:
    """Add what a table says; where another table says something else, this one's stands under `<table>.<column>`."""
    texts = [None if value is None else str(value) for value in values]
    differs = any(
        value is not None and found.rows[key].get(column) not in (None, value)
        for key, value in zip(keys, texts, strict=True)
    )
    if differs:
        found.notes.append(f"tables differ on `{column}`; what '{table}' says is in `{table}.{column}`")
        column = f"{table}.{column}"
    for key, value in zip(keys, texts, strict=True):
        if value is not None:
            found.rows[key][column] = value


def _inherit(rows: dict[Key, dict[str, Value]]) -> None:
    """Labels of whole files hold for their segments, and a file with segments is no row of its own."""
    for file in {key[0] for key in rows if key[1] is not None or key[2] is not None}:
        whole = rows.pop((file, None, None), {})
        for key in [key for key in rows if key[0] == file] if whole else ():
            rows[key] = {**whole, **rows[key]}


def _placed(rows: Mapping[Key, Mapping[str, Value]]) -> list[dict[str, Value]]:
    files = [file for file, _, _ in rows]
    ids = files if len(set(files)) == len(files) else numbered(files)
    placed = []
    for id_, ((file, start, end), values) in zip(ids, rows.items(), strict=True):
        known = values.get("id") or id_
        times = {} if start is end is None else vars(stretch(of_ns(start or 0), None if end is None else of_ns(end)))
        placed.append({**values, "id": known, "path": file, **times})
    return placed


def _fit_words(rows: list[dict[str, Value]], notes: list[str]) -> None:
    """`label` and `split` have fixed words in a manifest; other words stand in a column of their own."""
    for name in ("label", "split"):
        if not fits(name, [row.get(name) for row in rows]):
            notes.append(f"`{name}` is kept as the column `{PREFIX}{name}`")
            for row in rows:
                row[f"{PREFIX}{name}"] = row.pop(name, None)
