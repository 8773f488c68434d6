"""An index that is opened to be asked: which genuine recordings sound most like this one?"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from earwitness.audio.reading import load
from earwitness.audio.recording import Recording
from earwitness.core.errors import AudioError
from earwitness.core.hashing import sha256_file
from earwitness.corpora.manifest import Row
from earwitness.deepfake.retrieval.database import Database
from earwitness.deepfake.retrieval.guard import Identity
from earwitness.deepfake.retrieval.hearing import Hearing
from earwitness.deepfake.retrieval.nearest import Answer, Asking, nearest_recordings
from earwitness.deepfake.retrieval.store import IndexInfo, Origin, read_info


@dataclass(frozen=True)
class Contents:
    """An index in numbers; speakers are those that are named."""

    recordings: int
    segments: int
    seconds: float
    speakers: int
    unnamed: int
    bytes: int


class Index:
    """The segments of a folder, and the encoder that heard them."""

    def __init__(self, folder: str | Path, hearing: Hearing) -> None:
        self.folder = Path(folder)
        self.hearing = hearing
        self.database = Database.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Index:
        """Raises `DataError` for what is no index, `ModelError` where the encoder has other weights by now."""
        return cls(folder, Hearing.again(read_info(folder).recipe, folder))

    def nearest(self, path: str | Path, k: int, row: Row | None = None) -> Answer:
        """The k genuine recordings nearest to a file, itself left out; `row` says what is known of it.

        Raises `AudioError` for what cannot be heard, and what `Database.retrieve` raises.
        """
        known = row or Row(id=str(path), path=str(path))
        identity = Identity(known.id, known.source_recording, sha256_file(path) if Path(path).is_file() else None)
        try:
            parts = self.hearing.file(path, known.channel, known.start or 0.0, known.end)
            asking = Asking.heard(parts, identity, known.speaker)
        except AudioError as error:
            raise AudioError(error.what, where=error.where or path, fix=error.fix) from None
        return nearest_recordings(self.database, asking, k)

    def place(self, origin: Origin) -> Path:
        """Where a segment's recording lies."""
        return Path(os.path.normpath(self.folder / origin.path))

    def clip(self, origin: Origin, most_s: float = 10.0) -> Recording:
        """What a segment sounds like, to be played. Raises `AudioError` where the file is gone or is another by now."""
        path = self.place(origin)
        if not path.is_file():
            raise AudioError("is no longer where the index says", where=path)
        if sha256_file(path) != origin.sha256:
            raise AudioError("is another file than the one that was indexed", where=path)
        end = min(origin.end_s, origin.start_s + most_s)
        return load(path, self.hearing.recipe.rate, origin.channel, origin.start_s, end)


def contents(folder: str | Path) -> tuple[IndexInfo, Contents]:
    """What an index says of itself; its encoder is not loaded. Raises `DataError`."""
    info, database = read_info(folder), Database.open(folder)
    recordings = {origin.id: origin.speaker for origin in database.origins}
    seconds = sum(origin.end_s - origin.start_s for origin in database.origins)
    named = Counter(speaker for speaker in recordings.values() if speaker)
    size = sum(file.stat().st_size for file in Path(folder).iterdir() if file.is_file())
    return info, Contents(
        recordings=len(recordings),
        segments=len(database),
        seconds=seconds,
        speakers=len(named),
        unnamed=len(recordings) - sum(named.values()),
        bytes=size,
    )
