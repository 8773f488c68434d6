"""Corpora of spoofing detection whose lists lie in a known place beside their audio: described once, read alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.canonical import misnamed, recognise_rows
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import ListForm, read_list

PARTS: Mapping[str, str] = {"T": "train", "D": "dev", "E": "test"}  # the letter that ids carry: LA_E_1000147
PART_OF_ID = r"(?:^|_)([TDE])_[A-Z]?\d+$"


@dataclass(frozen=True)
class Protocol:
    """Where a corpus keeps its lists and its audio, and how a line reads.

    `folders` may hold the lists, the usual one first, against the corpus root; `lists` are their names. `audio` gives
    for the letter of a part the folders that may hold its audio, the usual one first; a file is
    `<folder>/<id><suffix>`.
    """

    name: str
    forms: tuple[ListForm, ...]
    folders: tuple[str, ...]
    lists: tuple[str, ...]
    audio: Mapping[str, tuple[str, ...]]
    suffix: str = ".flac"


def read_protocol(protocol: Protocol, path: Path) -> Imported:
    """A list, or all lists of the corpus below a folder, as a manifest; `split` is told by the letter in the ids.

    Notes say which published list each is, and where audio is missing. Raises `DataError`.
    """
    root, files = _find(protocol, path)
    tables, notes = [], []
    for file in files:
        table, _ = read_list(file, protocol.forms)
        if "label" in table.columns:
            said = recognise_rows(table, protocol.name, file).said
            notes += [f"{file.name}: {said}", *misnamed(table, protocol.name, file)]
        tables.append(table)
    table = pl.concat(tables, how="diagonal")
    _refuse_shared(table, files, [part.height for part in tables])
    table, missing = _placed(protocol, table, root)
    return Imported(Manifest(table, root), (*notes, *missing))


def _find(protocol: Protocol, path: Path) -> tuple[Path, list[Path]]:
    """The corpus root and its lists, for a list, the root, the folder of the lists, or the folder above the root."""
    if path.is_file():
        return _root_of(protocol, path), [path]
    for roots in ([path], sorted(path.glob("*/"))):
        found = [lists for root in roots if (lists := _lists_below(protocol, root))]
        if len(found) > 1:
            what = f"holds several: {found[0][0]} and {found[1][0]}"
            raise DataError(what, where=path, fix="Name one of them.")
        if found:
            return _root_of(protocol, found[0][0]), found[0]
    wanted = " or ".join(Path(*protocol.folders[:1], name).as_posix() for name in protocol.lists)
    raise DataError("holds no list of this corpus", where=path, fix=f"Looked for {wanted}; or name a list itself.")


def _lists_below(protocol: Protocol, root: Path) -> list[Path]:
    for folder in (*protocol.folders, ""):
        files = [root / folder / name for name in protocol.lists if (root / folder / name).is_file()]
        if files:
            return files
    return []


def _root_of(protocol: Protocol, file: Path) -> Path:
    """The folder against which the corpus lays out its audio: the list's own where it lies in no usual place."""
    folder = file.absolute().parent
    for usual in protocol.folders:
        if folder.as_posix().endswith(f"/{usual}"):
            return folder.parents[len(Path(usual).parts) - 1]
    return file.parent


def _placed(protocol: Protocol, table: pl.DataFrame, root: Path) -> tuple[pl.DataFrame, list[str]]:
    """With `path` and `split`, and notes on audio that is not there."""
    letter = table["id"].str.extract(PART_OF_ID, 1)
    chosen = {part: _folder(root, folders) for part, folders in protocol.audio.items()}
    folder = letter.replace_strict(list(chosen), list(chosen.values()), default=None, return_dtype=pl.String)
    path = pl.concat_str(pl.lit(folder + "/").fill_null(""), pl.col("id"), pl.lit(protocol.suffix))
    split = letter.replace_strict(list(PARTS), list(PARTS.values()), default=None, return_dtype=pl.String)
    placed = table.with_columns(path=path, split=split)
    notes = [
        f"no folder {name} below {root}: its paths are as the corpus lays them out, e.g. {first}"
        for name in sorted(set(folder.drop_nulls()))
        if not (root / name).is_dir()
        for first in placed.filter(folder == name)["path"].head(1)
    ]
    if unplaced := folder.null_count():
        notes.append(f"{unplaced} id(s) tell no part of the corpus: their paths are <id>{protocol.suffix}")
    return placed, notes


def _folder(root: Path, folders: tuple[str, ...]) -> str:
    return next((folder for folder in folders if (root / folder).is_dir()), folders[0])


def _refuse_shared(table: pl.DataFrame, files: list[Path], heights: list[int]) -> None:
    again = ~table["id"].is_first_distinct()
    if again.any():
        row = int(again.arg_max() or 0)
        name = table["id"][row]
        ends = pl.Series(heights).cum_sum()
        first = int((table["id"] == name).arg_max() or 0)
        one, other = (files[int((ends > place).arg_max() or 0)] for place in (first, row))
        raise DataError(f"'{name}' stands in {one.name} too", where=other, fix="Read the lists one by one.")
