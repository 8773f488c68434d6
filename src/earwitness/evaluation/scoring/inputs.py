"""What a person may name as INPUT: a file, a folder, a glob or a manifest; it always becomes a manifest."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError, UsageError
from earwitness.core.paths import matches
from earwitness.core.writing import TABLE_FORMATS
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import AUDIO_SUFFIXES


def read_input(given: str | Path, data_root: str | Path | None = None) -> Manifest:
    """The recordings that `given` names, as a manifest whose ids are their paths (a manifest's own ids stay).

    In a folder every file with an audio suffix counts, at any depth; a file that is named, or matched by a glob, counts
    whatever its suffix. With `data_root`, rows that lead outside of it are refused when they are read. A name that is
    no UTF-8 text stands there escaped, and is recorded as a file that is not there. Raises `UsageError` where nothing
    is named, and `DataError` for a bad manifest.
    """
    path, text = Path(given), os.fspath(given)
    if path.is_dir():
        return _of_files([file.relative_to(path) for file in _audio_in(path)], path, data_root)
    if path.suffix.lower() in TABLE_FORMATS and path.is_file():
        manifest = Manifest.read(path, data_root)
        if not len(manifest):
            raise DataError("has no rows", where=path, fix="A manifest has a header and one row a recording.")
        return manifest
    if os.path.lexists(path):
        return _of_files([Path(path.name)], path.parent, data_root)
    if glob.has_magic(text):
        return _of_files(_matches(text), Path(), data_root, where=text)
    raise UsageError("there is no such file, folder or manifest", where=text, fix="Check the path.")


def _matches(pattern: str) -> list[Path]:
    """What a glob names, with `**` for any depth; the audio files of the folders among it."""
    return [file for match in matches(pattern) for file in (_audio_in(match) if match.is_dir() else [match])]


def _audio_in(folder: Path) -> Iterator[Path]:
    """The files with an audio suffix, in a fixed order."""
    for parent, subfolders, names in os.walk(folder):
        subfolders.sort()
        yield from (Path(parent) / name for name in sorted(names) if Path(name).suffix.lower() in AUDIO_SUFFIXES)


def _of_files(files: list[Path], root: Path, data_root: str | Path | None, where: object = None) -> Manifest:
    names = list(dict.fromkeys(_text(file.as_posix()) for file in files))
    if not names:
        fix = f"Known suffixes: {' '.join(sorted(AUDIO_SUFFIXES))}."
        raise UsageError("holds no recording", where=where or root, fix=fix)
    return Manifest(pl.DataFrame({"path": names}), root, None if data_root is None else Path(data_root))


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
