"""In-the-Wild: `meta.csv` with `file,speaker,label`, the audio beside it. Its bona fide label has a hyphen.

    0.wav,Alec Guinness,spoof
    4.wav,Christopher Hitchens,bona-fide

(Müller et al., arXiv 2203.16263)
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.canonical import recognise_rows
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.csv_list import read_csv_list, write_csv_list

NAME = "in-the-wild"
HEADER = ("file", "speaker", "label")
WORDS = {"bona-fide": "bonafide", "spoof": "spoof"}


def read_in_the_wild(path: Path) -> Imported:
    """`meta.csv` of In-the-Wild, or its folder; all rows are test rows, the id is the file name."""
    places = [path] if path.is_file() else [path / "meta.csv", path / "release_in_the_wild" / "meta.csv"]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise DataError("holds no meta.csv", where=path, fix="Name the folder release_in_the_wild or its meta.csv.")
    table = read_csv_list(file, HEADER, WORDS)
    table = table.select(id="file", path="file", speaker="speaker", label="label", split=pl.lit("test"))
    return Imported(Manifest(table, file.parent), (f"{file.name}: {recognise_rows(table, NAME).said}",))


def write_in_the_wild(manifest: Manifest, path: Path) -> None:
    """The same columns again."""
    table = manifest.table
    write_csv_list({"file": table["id"], "speaker": table["speaker"], "label": table["label"]}, WORDS, path)
