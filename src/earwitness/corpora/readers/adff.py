"""Collections in the manner of ADFF 2024 (arXiv 2504.10819): folders of recordings and a CSV that says what each is.

    path,label,generator,condition
    real/0001.wav,bonafide,,clean
    fake/0001.wav,spoof,xtts,mp3-64k

ADFF itself is not public; this reads collections that are laid out so, and says nothing of ADFF's results.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from earwitness.core.config import nearest
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import LABELS, read_text, unknown_word

COLUMNS = ("path", "label", "generator", "condition")
NONE = ("", "-", "n/a")  # how a field says that there is nothing


def read_adff(path: Path) -> Imported:
    """The CSV, or a folder with one; paths are against its folder, and every row is a test row. `generator` becomes
    `system`; `condition` stays a column, for `evaluate --by condition`.

    Raises `DataError` naming the line: a missing column or field, an unknown label, a bona fide row with a generator, a
    path that stands there twice or leads to no file.
    """
    file = _find(path)
    columns, numbers = _read(file)
    lines = zip(numbers, *(columns[name] for name in COLUMNS), strict=True)
    seen: dict[str, int] = {}
    for number, name, label, generator, _ in lines:
        _check(file, number, name, label, generator)
        if (first := seen.setdefault(name, number)) != number:
            raise _fail(file, number, f"'{name}' stands in line {first} too", "Keep one of them.")
    table = pl.DataFrame(
        {
            "path": columns["path"],
            "label": columns["label"],
            "system": [None if value in NONE else value for value in columns["generator"]],
            "condition": [None if value in NONE else value for value in columns["condition"]],
            "split": ["test"] * len(numbers),
        },
        schema_overrides=dict.fromkeys(("system", "condition"), pl.String),
    )
    unnamed = table.filter((pl.col("label") == "spoof") & pl.col("system").is_null()).height
    notes = [f"{unnamed} spoof(s) name no generator"] if unnamed else []
    return Imported(Manifest.from_table(table, file.parent, file), tuple(notes))


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    files = sorted(path.glob("*.csv"))
    if len(files) != 1:
        found = "no CSV" if not files else f"several CSV files ({', '.join(file.name for file in files[:3])})"
        raise DataError(f"holds {found}", where=path, fix="Name the CSV itself.")
    return files[0]


def _read(file: Path) -> tuple[dict[str, list[str]], list[int]]:
    """The columns, whatever their order and whatever stands beside them, and the line of each row."""
    reader = csv.reader(io.StringIO(read_text(file)))
    rows: list[Sequence[str]] = []
    numbers: list[int] = []
    try:
        header = [name.strip() for name in next(reader)]
        places = [_place(file, header, name) for name in COLUMNS]
        for row in reader:
            if row and len(row) != len(header):
                raise _fail(file, reader.line_num, f"has {len(row)} fields instead of {len(header)}")
            if row:
                rows.append([row[place].strip() for place in places])
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise _fail(file, reader.line_num, f"is not CSV ({error})") from None
    if not rows:
        raise DataError("names no recording", where=file)
    return dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True)), numbers


def _place(file: Path, header: list[str], name: str) -> int:
    if name not in header:
        guess = nearest(name, header)
        hint = f" Is it the one named '{guess}'?" if guess else ""
        raise _fail(file, 1, f"there is no column '{name}'", f"Needed: {','.join(COLUMNS)}.{hint}")
    return header.index(name)


def _check(file: Path, number: int, name: str, label: str, generator: str) -> None:
    if label not in LABELS:
        raise _fail(file, number, *unknown_word("label", label, LABELS))
    if label == "bonafide" and generator not in NONE:
        raise _fail(file, number, f"is bonafide and names the generator '{generator}'", "Correct one of the two.")
    if not name:
        raise _fail(file, number, "names no path")
    if not (file.parent / name).is_file():
        raise _fail(file, number, f"there is no file '{name}' beside the list", "Check the path.")


def _fail(file: Path, number: int, what: str, fix: str | None = None) -> DataError:
    return DataError(f"line {number}: {what}", where=file, fix=fix)
