"""Lists of the arenas: the CSV of the Speech DF Arena, and `labels.parquet` of the Speech Anti-Spoofing Arena.

    file_name,label                             CSV: absolute paths, as the arena's toolkit writes them to score files
    /data/for-norm/testing/real/file1.wav,bonafide

`labels.parquet` has `utterance_id` and `label` (0 bona fide, 1 spoof); its audio lies in other Parquet files.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.csv_list import read_csv_list, write_csv_list
from earwitness.corpora.readers.lists import LABELS, translated, unknown_word
from earwitness.corpora.tables import read_table, write_table

HEADER = ("file_name", "label")
CODES = {"0": "bonafide", "1": "spoof"}
_COLUMNS = ("utterance_id", "label")


def read_df_arena(path: Path) -> Imported:
    """A `metadata.csv` with `file_name,label`, or a `labels.parquet` with `utterance_id` and `label`."""
    if path.is_dir():
        raise DataError("is a folder", where=path, fix="Name the list: a .csv, or labels.parquet.")
    if path.suffix == ".parquet":
        return _read_labels(path)
    table = read_csv_list(path, HEADER, LABELS)
    return Imported(Manifest(table.select(id="file_name", path="file_name", label="label"), path.parent))


def write_df_arena(manifest: Manifest, path: Path) -> None:
    """As CSV, or by the suffix `.parquet` as labels; ids are the names."""
    label = manifest.table["label"]
    if path.suffix != ".parquet":
        write_csv_list({"file_name": manifest.table["id"], "label": label}, LABELS, path)
        return
    code = translated(label, {ours: word for word, ours in CODES.items()}).cast(pl.Int8)
    if code.null_count():
        raise DataError("not every row has a label", where=path, fix="This list needs one in every row.")
    write_table(pl.DataFrame({"utterance_id": manifest.table["id"], "label": code}), path)


def _read_labels(path: Path) -> Imported:
    raw = read_table(path)
    if missing := [name for name in _COLUMNS if name not in raw.columns]:
        raise DataError(f"has no column `{missing[0]}`", where=path, fix=f"It has: {', '.join(raw.columns)}.")
    ids, word = raw["utterance_id"].cast(pl.String), raw["label"].cast(pl.String)
    label = translated(word, CODES)
    if label.null_count():
        row = int(label.is_null().arg_max() or 0)
        what, fix = unknown_word("label", word[row], CODES)
        raise DataError(f"row {row + 1}: {what}", where=path, fix=fix)
    table = pl.DataFrame({"id": ids, "path": ids + ".flac", "label": label})
    note = "labels.parquet names no audio: paths are taken as <utterance_id>.flac"
    return Imported(Manifest.from_table(table, path.parent, path), (note,))
