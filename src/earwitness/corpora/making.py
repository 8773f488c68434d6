"""What makes new recordings out of old ones shares: reading at the file's own rate, writing, workers, and what may fail
for one recording without ending the run."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from earwitness.audio.reading import load, probe
from earwitness.audio.recording import Samples
from earwitness.core.errors import AudioError, DataError, EarwitnessError
from earwitness.core.writing import atomic_file
from earwitness.corpora.manifest import Manifest, Row

T = TypeVar("T")

LONGEST_S = 120.0  # a vocoder holds a recording's frames in memory, about a megabyte a second
FAILURES = (EarwitnessError, ValueError, ArithmeticError, IndexError, OSError)  # of one recording
SYNTHETIC_MARK = "synthetic=true"  # the comment of files that must not pass as real begins so
_SILENT = 1e-4


@dataclass(frozen=True)
class Original:
    """The recording of a row. `path` is where it lies, or, as text, why that cannot be told."""

    path: Path | str
    start_s: float = 0.0
    end_s: float | None = None
    channel: int | None = None

    @classmethod
    def of(cls, manifest: Manifest, row: Row) -> Original:
        """A path outside of the data root is told when the recording is loaded."""
        try:
            path: Path | str = manifest.resolve(row)
        except AudioError as error:
            path = error.what
        return cls(path, row.start or 0.0, row.end, row.channel)

    def load(self) -> tuple[Samples, int]:
        """Samples at the file's own rate. Raises `AudioError` for what cannot be read, is silent or too long."""
        if isinstance(self.path, str):
            raise AudioError(self.path)
        info = probe(self.path)
        end_s = info.duration_s if self.end_s is None else self.end_s
        if end_s is not None and end_s - self.start_s > LONGEST_S:
            raise AudioError(f"lasts longer than {LONGEST_S:.0f} s", fix="Cut it by rows with `start` and `end`.")
        samples = load(self.path, info.rate, self.channel, self.start_s, self.end_s).samples
        if float(np.abs(samples).max()) < _SILENT:
            raise AudioError("is silent: there is nothing to work on")
        return samples, info.rate


def write_flac(path: Path, samples: Samples, rate: int, synthetic_by: str | None = None) -> None:
    """16 bits, whole or not at all; with a comment in the file where it is synthetic. Raises `UsageError` where it
    cannot be written."""
    import soundfile

    with atomic_file(path) as file, soundfile.SoundFile(file, "w", rate, 1, "PCM_16", format="FLAC") as sound:
        if synthetic_by is not None:
            sound.comment = f"{SYNTHETIC_MARK}, made by {synthetic_by}"
        sound.write(samples)


def is_marked_synthetic(path: Path) -> bool:
    """Whether a file says in its own tags that it is synthetic, as `write_flac` makes it say; False where it cannot be
    read."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as sound:
            return str(sound.comment).startswith(SYNTHETIC_MARK)
    except (OSError, RuntimeError):
        return False


def in_words(error: Exception, what: str) -> str:
    """One line about one of `FAILURES`, without the place, which its row names."""
    if isinstance(error, EarwitnessError):
        return str(type(error)(error.what, fix=error.fix))
    return f"{what} ({type(error).__name__}: {error})"


def worked(
    tasks: Sequence[T], work: Callable[[T], dict[str, Any]], workers: int, where: object
) -> Iterator[dict[str, Any]]:
    """The row that `work` makes of each task, in order; with several processes a few tasks ahead.

    Raises `DataError` naming `where` when a process dies.
    """
    if workers <= 1:
        yield from map(work, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _end_with_parent) as pool:
        waiting: deque[Any] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(work, task))
                if len(waiting) > 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            fix = "Go on with --resume and --workers 1 to see at which recording."
            raise DataError("a worker process ended before its time", where=where, fix=fix) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """In a worker: don't outlive a parent that was killed."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
