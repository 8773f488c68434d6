"""Numbers that models computed of recordings, kept in the cache by the hash of the audio, whatever manifest names it.

kept = SideTable("mos", "dnsmos")
kept.of(manifest)      # {row id: number} of the rows that are known
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from earwitness.core.cache import cache_folder
from earwitness.core.writing import ResumableRows, read_rows
from earwitness.corpora.leaks import hash_of
from earwitness.corpora.manifest import Manifest, Place, Row

COLUMNS: dict[str, type] = {"audio": str, "value": float, "seconds_used": float, "seconds_total": float, "model": str}


class SideTable:
    """One number a stretch of audio, by `model`; of another version of it nothing is read."""

    def __init__(self, kind: str, name: str, model: str) -> None:
        self.path = cache_folder() / kind / f"{name}-{model}.jsonl"
        self.model = model

    @cached_property
    def known(self) -> dict[str, tuple[float, float, float]]:
        """(value, seconds used, seconds in all) by `audio_key`, also of a run that was interrupted."""
        found: dict[str, tuple[float, float, float]] = {}
        for path in (self.path, self.path.with_name(f"{self.path.name}.part.jsonl")):
            if path.is_file():
                table = read_rows(path, COLUMNS).drop("model")
                found.update({audio: (value, used, total) for audio, value, used, total in table.iter_rows()})
        return found

    def of(self, manifest: Manifest) -> dict[str, float]:
        """The value of each row that is known, by its id; every file is read for its hash."""
        keys = AudioKeys(manifest)
        return {row.id: self.known[key][0] for row in manifest.rows() if (key := keys.of(row)) in self.known}

    def rows(self) -> ResumableRows:
        """To add to it: rows of `COLUMNS`."""
        return ResumableRows(self.path, "audio", COLUMNS, resume=True)


class AudioKeys:
    """Names of stretches of audio: the hash of the file, with channel and times where it is a part. A file is read
    once."""

    def __init__(self, files: Manifest | Place) -> None:
        self._files = files
        self._hashes: dict[Path, str] = {}

    def of(self, row: Row) -> str:
        """The row's key. Raises `AudioError` for a file that cannot be read."""
        path = self._files.resolve(row)
        if path not in self._hashes:
            self._hashes[path] = hash_of(path)
        stretch = (row.channel, row.start, row.end)
        part = "" if stretch == (None, None, None) else ":" + ":".join(str(value) for value in stretch)
        return self._hashes[path] + part


def missing(rows: Iterable[Row], known: dict[str, float]) -> list[str]:
    """The ids of rows without a value."""
    return [row.id for row in rows if row.id not in known]
