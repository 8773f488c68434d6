"""The recordings of items, from one folder and nowhere else, as models hear them: 16 kHz, mono."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from earwitness.audio.reading import load
from earwitness.audio.recording import Recording
from earwitness.core.errors import AudioError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.core.paths import inside
from earwitness.speech_llm.items import Item

KEPT_S, MOST_KEPT = 1200.0, 256  # decoded sound in memory: the questions about one clip come one after another


@dataclass(frozen=True)
class Stretch:
    """[start, end) seconds of a file under the data root; `end` None: to its end."""

    audio: str
    start: float
    end: float | None

    @classmethod
    def of(cls, item: Item) -> Stretch:
        """What an item is about."""
        return cls(item.audio, item.start, item.end)


class Recordings:
    """Files under `root`. Safe to use from several threads. Raises `UsageError` where there is no such folder."""

    def __init__(self, root: str | Path) -> None:
        if not Path(root).is_dir():
            raise UsageError("there is no such folder", where=root, fix="Give --data-root the folder of the audio.")
        self.root = Path(root).resolve()
        self._hashes: dict[str, str] = {}
        self._kept: OrderedDict[Stretch, Future[Recording]] = OrderedDict()
        self._kept_s = 0.0
        self._lock = threading.Lock()
        self._decoding = threading.Lock()  # one at a time: many at once spend their time waiting for the interpreter

    def path(self, name: str) -> Path:
        """The file of that name. Raises `AudioError` where the name, or a link, leads out of the root."""
        path = inside(self.root, name)
        if not path.is_file():
            raise AudioError("there is no such file under the data root", where=name, fix="Check --data-root.")
        return path

    def sha256(self, name: str) -> str:
        """Of the file's bytes, once a file. Raises `AudioError`."""
        if name not in self._hashes:
            path = self.path(name)
            try:
                self._hashes[name] = sha256_file(path)
            except OSError as error:
                raise AudioError(f"cannot be read ({error.strerror})", where=name) from None
        return self._hashes[name]

    def load(self, stretch: Stretch) -> Recording:
        """The stretch, decoded once for all that ask at the same time. Raises `AudioError`."""
        with self._lock:
            known = self._kept.get(stretch)
            if known is None:
                mine = self._kept[stretch] = Future[Recording]()
            else:
                self._kept.move_to_end(stretch)
        if known is not None:
            return known.result()
        try:
            with self._decoding:
                recording = load(self.path(stretch.audio), start_s=stretch.start, end_s=stretch.end)
        except BaseException as error:
            mine.set_exception(error)
            with self._lock:
                del self._kept[stretch]
            raise
        mine.set_result(recording)
        self._make_room(recording.duration_s)
        return recording

    def _make_room(self, more_s: float) -> None:
        """Let the oldest go until what is kept is within its bounds; what is still being decoded stays."""
        with self._lock:
            self._kept_s += more_s
            while self._kept and (self._kept_s > KEPT_S or len(self._kept) > MOST_KEPT):
                oldest = next((one for one, found in self._kept.items() if _decoded(found)), None)
                if oldest is None:
                    return
                self._kept_s -= self._kept.pop(oldest).result().duration_s


def _decoded(found: Future[Recording]) -> bool:
    return found.done() and found.exception() is None


def silent(recording: Recording) -> Recording:
    """Digital silence of the same length."""
    return replace(recording, samples=np.zeros_like(recording.samples))
