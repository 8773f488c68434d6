"""Corpora become manifests. One table names the readers; a new corpus is one file and one line there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from earwitness.core.config import nearest
from earwitness.core.errors import DataError, UsageError
from earwitness.corpora.formats import FORMATS
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.adff import read_adff
from earwitness.corpora.readers.base import Imported, Reader
from earwitness.corpora.readers.detection import DETECTION_READERS, write_protocol
from earwitness.corpora.readers.earwitness_data import read_earwitness_data
from earwitness.corpora.readers.folder import read_folder
from earwitness.corpora.readers.paralinguistic import PARALINGUISTIC_READERS
from earwitness.corpora.readers.sounds import SOUND_READERS
from earwitness.corpora.suffixes import AUDIO_SUFFIXES

__all__ = ["AUDIO_SUFFIXES", "READERS", "Imported", "Reader", "read_corpus", "read_manifest", "write_protocol"]


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


READERS: Mapping[str, Reader] = {
    "folder": read_folder,
    "manifest": read_manifest,
    "earwitness-data": read_earwitness_data,
    "adff": read_adff,
    **{name: known.read for name, known in FORMATS.items()},
    **DETECTION_READERS,
    **SOUND_READERS,
    **PARALINGUISTIC_READERS,
}
