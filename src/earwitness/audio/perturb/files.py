"""Noise and impulse-response files: which a folder holds, and their samples, kept in memory up to a budget."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from earwitness.audio.recording import Samples
from earwitness.core.errors import AudioError, DataError

_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".aiff", ".aif"})
_BUDGET_BYTES = 128 * 2**20  # a process: 35 minutes at 16 kHz, or some thousand impulse responses


def list_audio(folder: Path) -> tuple[Path, ...]:
    """Every audio file under a folder, sorted. Raises `DataError` where there is none."""
    if not folder.is_dir():
        raise DataError("there is no such folder", where=folder, fix="Check `folder` in the recipe.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not found:
        raise DataError(
            "the folder holds no audio files", where=folder, fix=f"Put {', '.join(sorted(_SUFFIXES))} there."
        )
    return tuple(found)


@dataclass
class _Store:
    """The most recently used files, dropped in the order of their last use when the budget is spent.

    Needs no lock: two threads that want the same file at once read it twice, and nothing worse.
    """

    kept: OrderedDict[tuple[Path, int], Samples] = field(default_factory=OrderedDict)

    def get(self, path: Path, rate: int) -> Samples:
        known = self.kept.pop((path, rate), None)
        samples = _read(path, rate) if known is None else known
        self.kept[path, rate] = samples  # the last one now
        if known is None:
            self._drop_oldest()
        return samples

    def _drop_oldest(self) -> None:
        size = sum(samples.nbytes for samples in list(self.kept.values()))
        while size > _BUDGET_BYTES and len(self.kept) > 1:
            size -= self.kept.popitem(last=False)[1].nbytes


_STORE = _Store()  # one a process: every worker has its own


def load_audio(path: Path, rate: int) -> Samples:
    """The file as read-only mono float32 at `rate`. Raises `AudioError` where it cannot be read or is silent."""
    return _STORE.get(path, rate)


def _read(path: Path, rate: int) -> Samples:
    from earwitness.audio.reading import load  # decoders are loaded only where files are used

    samples = load(path, rate).samples
    if not samples.any():
        raise AudioError("the file is silent, so no level can be set", where=path, fix="Remove it from the folder.")
    samples.setflags(write=False)
    return samples
