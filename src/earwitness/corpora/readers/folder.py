"""A folder of recordings: every audio file under it, at any depth."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.suffixes import AUDIO_SUFFIXES

CLASS_FOLDERS: Mapping[str, str] = {
    **dict.fromkeys(("bonafide", "bona-fide", "bona_fide", "real", "genuine", "human"), "bonafide"),
    **dict.fromkeys(("spoof", "spoofed", "fake", "synthetic", "deepfake"), "spoof"),
}


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
