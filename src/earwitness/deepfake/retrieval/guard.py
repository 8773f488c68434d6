"""The leak guard: a recording is never its own neighbour.

Without it a genuine training file finds itself in the database, with a difference of zero, and the classifier learns
whether it has seen a file. What counts as the same recording: the same id or source recording, the same file, or a
segment with the same samples. A copy in another coding is found by its source recording only: name it in the manifest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.deepfake.retrieval.store import Origin

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Identity:
    """Who asks. None and empty: not known, and then not guarded by."""

    id: str | None = None
    source: str | None = None
    sha256: str | None = None
    sounds: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Excluded:
    """Segments that were no candidates, and why: each is counted once, under the first reason that fits."""

    rows: Rows
    same_id: int = 0
    same_source: int = 0
    same_audio: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        reasons = (("id", self.same_id), ("source recording", self.same_source), ("audio", self.same_audio))
        said = ", ".join(f"{count} by the same {name}" for name, count in reasons if count)
        return f"{len(self)} segment(s) excluded as the recording itself" + (f" ({said})" if said else "")


NOTHING = Excluded(np.empty(0, np.int64))


class Guard:
    """Finds the segments of a database that are the asking recording itself."""

    def __init__(self, origins: Sequence[Origin]) -> None:
        self._by_id = _places((origin.id, place) for place, origin in enumerate(origins))
        self._by_name = _places(
            (name, place) for place, origin in enumerate(origins) for name in {origin.id, origin.source} if name
        )
        self._by_file = _places((origin.sha256, place) for place, origin in enumerate(origins))
        self._by_sound = _places((origin.sound, place) for place, origin in enumerate(origins))
        self._origins = origins

    def excluded(self, identity: Identity) -> Excluded:
        """All segments of every recording that is the asking one."""
        by_id = set(self._by_id.get(identity.id or "", ()))
        names = {name for name in (identity.id, identity.source) if name}
        by_source = {place for name in names for place in self._by_name.get(name, ())} - by_id
        by_audio = set(self._by_file.get(identity.sha256 or "", ()))
        for sound in identity.sounds:
            for place in self._by_sound.get(sound, ()):
                by_audio.update(self._by_id[self._origins[place].id])
        by_audio -= by_id | by_source
        rows = np.array(sorted(by_id | by_source | by_audio), np.int64)
        return Excluded(rows, len(by_id), len(by_source), len(by_audio))


def _places(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for name, place in pairs:
        found[name].append(place)
    return dict(found)
