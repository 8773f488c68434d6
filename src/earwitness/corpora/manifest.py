"""A table of recordings: what each is, who speaks, who may learn from it.

    manifest = Manifest.read("corpus/manifest.csv")
    for row in manifest.rows():
        print(row.id, row.label, manifest.resolve(row))

The columns stand in `corpora.schema`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_text
from earwitness.core.paths import data_root, inside
from earwitness.corpora.schema import COLUMNS, Label, Split, checked
from earwitness.corpora.tables import read_table, write_table


@dataclass(frozen=True)
class Row:
    """One recording, or the stretch of one from `start` to `end` seconds. None: not known."""

    id: str
    path: str
    start: float | None = None
    end: float | None = None
    channel: int | None = None
    duration_s: float | None = None
    sample_rate: int | None = None
    speaker: str | None = None
    label: Label | None = None
    system: str | None = None
    family: str | None = None
    codec: str | None = None
    sex: str | None = None
    age: float | None = None
    emotion: str | None = None
    intensity: float | None = None
    language: str | None = None
    transcript: str | None = None
    source_recording: str | None = None
    split_group: str | None = None
    licence: str | None = None
    split: Split | None = None


@dataclass(frozen=True)
class Place:
    """Where the files of a manifest lie, without its rows: what a worker in another process needs of it."""

    root: Path
    data_root: Path | None = None

    def resolve(self, row: Row) -> Path:
        """As `Manifest.resolve`."""
        if self.data_root is not None:
            inside(self.data_root, self.root.absolute() / row.path, where=row.path)
        return self.root / row.path


ROW_COLUMNS = [field.name for field in fields(Row)]


@dataclass(frozen=True)
class Manifest:
    """A checked table whose paths resolve against `root`; with `data_root` (or while `core.paths.confined_to` names
    one), paths that lead outside of it are refused.

    Raises `DataError` naming the row and column where the table is not a manifest.
    """

    table: pl.DataFrame
    root: Path
    data_root: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", checked(self.table))
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "data_root", data_root() if self.data_root is None else self.data_root)

    def __len__(self) -> int:
        return self.table.height

    @classmethod
    def from_table(cls, table: pl.DataFrame, root: str | Path, where: object = None) -> Manifest:
        """As the constructor; errors name `where` the table comes from."""
        return cls(checked(table, where), Path(root))

    @classmethod
    def read(cls, path: str | Path, data_root: str | Path | None = None) -> Manifest:
        """Read CSV, Parquet or JSON lines. Raises `DataError` naming file, row and column."""
        path = Path(path)
        table = checked(read_table(path), where=path)
        return cls(table, path.parent, None if data_root is None else Path(data_root))

    def write(self, path: str | Path) -> None:
        """Write whole or not at all, paths rewritten against the new folder; columns without any value are left out."""
        path = Path(path)
        table = self.rebased(path.parent).table
        empty = [name for name in COLUMNS if name != "path" and table[name].null_count() == table.height]
        write_table(table.drop(empty), path)

    def rows(self) -> Iterator[Row]:
        """The rows in order."""
        for values in self.table.select(ROW_COLUMNS).iter_rows():
            yield Row(*values)

    def row(self, index: int) -> Row:
        """The row at a 0-based index."""
        return Row(*self.table.select(ROW_COLUMNS).row(index))

    def filter(self, *which: pl.Expr) -> Manifest:
        """The rows for which all expressions hold."""
        return self.with_table(self.table.filter(*which))

    def with_table(self, table: pl.DataFrame) -> Manifest:
        """The same place, another table."""
        return Manifest(table, self.root, self.data_root)

    def resolve(self, row: Row) -> Path:
        """Where the row's file lies. Raises `AudioError` when that is outside of `data_root`, links followed."""
        return Place(self.root, self.data_root).resolve(row)

    @property
    def place(self) -> Place:
        """Where its files lie, named so that another process with another working folder finds them."""
        return Place(self.root.absolute(), None if self.data_root is None else self.data_root.absolute())

    @cached_property
    def sha256(self) -> str:
        """Hex sha256 of the table's content; the file format, the folder and empty columns don't matter."""
        table = self.table.select(
            name for name in self.table.columns if self.table[name].null_count() < self.table.height
        )
        return sha256_text(table.write_csv())

    def rebased(self, root: str | Path) -> Manifest:
        """The same files, with paths against another folder; ids stay."""
        here, there = _absolute(self.root), _absolute(root)
        if here == there:
            return Manifest(self.table, Path(root), self.data_root)
        way = _way(here, there)
        # text work on purpose: a Path for each of a million rows takes half a minute
        isabs = os.path.isabs
        paths = [p if isabs(p) else posixpath.normpath(f"{way}/{p}") for p in self.table["path"]]
        return Manifest(self.table.with_columns(path=pl.Series(paths, dtype=pl.String)), Path(root), self.data_root)

    @classmethod
    def concat(cls, manifests: Sequence[Manifest]) -> Manifest:
        """One table under the manifests' common folder. Ids that were the path follow it.

        Raises `DataError` when two rows share an id, or the data roots differ.
        """
        if not manifests:
            raise DataError("there are no manifests to join")
        roots = {manifest.data_root for manifest in manifests}
        if len(roots) > 1:
            raise DataError("the manifests have different data roots", fix="Read them with one data root.")
        common = Path(os.path.commonpath([_absolute(manifest.root) for manifest in manifests]))
        moved = [_ids_follow(manifest, manifest.rebased(common)) for manifest in manifests]
        return cls(pl.concat(moved, how="diagonal"), common, roots.pop())


def _absolute(folder: str | Path) -> Path:
    """Without `..`, and without following links (so that a linked corpus keeps its short paths)."""
    return Path(os.path.normpath(Path(folder).absolute()))


def _way(here: Path, there: Path) -> str:
    """How to come from `there` to `here`: relative, or absolute where they lie on different drives."""
    try:
        return Path(os.path.relpath(here, there)).as_posix()
    except ValueError:
        return here.as_posix()


def _ids_follow(before: Manifest, after: Manifest) -> pl.DataFrame:
    was_path = before.table["id"] == before.table["path"]
    moved = pl.when(was_path).then(pl.col("path")).otherwise(pl.col("id"))
    return after.table.with_columns(id=moved)
