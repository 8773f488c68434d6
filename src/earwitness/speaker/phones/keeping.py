"""Phone tracks that were heard once: kept in the cache by the hash of the audio, one small file each.

A file is whole or absent, so a run that was killed goes on with the next recording, and several runs share them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from earwitness.core.cache import cache_folder
from earwitness.core.hashing import sha256_data
from earwitness.core.writing import write_atomically
from earwitness.corpora.leaks import hash_of
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.phones.source import PhoneSource, Recogniser
from earwitness.speaker.phones.track import PhoneSegment, PhoneTrack


class KeptPhones(PhoneSource):
    """A recogniser that hears each stretch of audio once."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self.maker, self.inventory = recogniser.maker, recogniser.inventory
        self.folder = cache_folder() / "phones" / sha256_data([vars(self.maker), list(self.inventory.phones)])[:16]

    def of_file(
        self, path: Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> PhoneTrack:
        """As it was heard before, else heard now."""
        stretch = (channel, start_s, end_s)
        key = hash_of(Path(path)) if stretch == (None, 0.0, None) else sha256_data([hash_of(Path(path)), *stretch])
        file = self.folder / key[:2] / f"{key[2:40]}.json"
        if (known := self._read(file)) is not None:
            return known
        track = self._recogniser.of_file(path, channel, start_s, end_s)
        segments = [[one.start_s, one.end_s, one.phone] for one in track.segments]
        write_atomically(file, json.dumps({"segments": segments, "unmapped": track.unmapped}, ensure_ascii=False))
        return track

    def _read(self, file: Path) -> PhoneTrack | None:
        """None for what is not there or is no track of this inventory; it is heard again then."""
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            segments = tuple(PhoneSegment(float(a), float(b), phone) for a, b, phone in data["segments"])
            unmapped = tuple((str(symbol), int(count)) for symbol, count in data["unmapped"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if not {one.phone for one in segments} <= {None, *self.inventory.phones}:
            return None
        return PhoneTrack(segments, self.inventory, self.maker, unmapped)


def kept(source: PhoneSource) -> PhoneSource:
    """The source, hearing nothing twice; files are read as they are."""
    return KeptPhones(source) if isinstance(source, Recogniser) else source


def tracks_of(rows: Manifest, source: PhoneSource, progress: Callable[[], object]) -> dict[str, PhoneTrack]:
    """The track of every row by its id; `progress` is told of each. Raises what the source raises."""
    found: dict[str, PhoneTrack] = {}
    for row in rows.rows():
        found[row.id] = source.of_file(rows.resolve(row), row.channel, row.start or 0.0, row.end)
        progress()
    return found
