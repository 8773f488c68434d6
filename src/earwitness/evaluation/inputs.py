"""What a person may name as INPUT: a file, a folder, a glob or a manifest; it always becomes a manifest."""

from __future__ import annotations

import glob
from pathlib import Path

import polars as pl

from earwitness.core.errors import UsageError
from earwitness.corpora.manifest import Manifest

AUDIO_SUFFIXES = frozenset(
    [
        ".wav",
        ".flac",
        ".mp3",
        ".ogg",
        ".oga",
        ".opus",
        ".m4a",
        ".aac",
        ".mp4",
        ".mov",
        ".mkv",
        ".webm",
        ".amr",
        ".3gp",
        ".wma",
        ".aif",
        ".aiff",
        ".au",
        ".sph",
        ".caf",
        ".w64",
        ".rf64",
    ]
)
MANIFEST_SUFFIXES = frozenset((".csv", ".parquet", ".jsonl"))


def read_input(given: str) -> Manifest:
    """The recordings that `given` names, as a manifest. Raises `UsageError` where it names none.

    In a folder every file with an audio suffix counts, at any depth; a single file is taken whatever its suffix.
    """
    path = Path(given)
    if path.is_dir():
        return _of_files(_audio_in(path), path, given)
    if path.suffix.lower() in MANIFEST_SUFFIXES and path.is_file():
        return Manifest.read(path)
    if path.exists():
        return _of_files([path.name], path.parent, given)
    if glob.has_magic(given):
        return _of_files(sorted(glob.glob(given, recursive=True)), Path(), given)
    raise UsageError("there is no such file, folder or manifest", where=given, fix="Check the path.")


def _audio_in(folder: Path) -> list[str]:
    found = (file for file in folder.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and not file.is_dir())
    return sorted(str(file.relative_to(folder)) for file in found)


def _of_files(names: list[str], root: Path, given: str) -> Manifest:
    if not names:
        raise UsageError(
            "holds no audio files", where=given, fix=f"Known suffixes: {' '.join(sorted(AUDIO_SUFFIXES))}."
        )
    return Manifest.from_table(pl.DataFrame({"path": names}), root)
