"""Arrays with one row a recording, kept in a folder: what is computed once is not computed again.

Rows are marked as done once their arrays are on disk, so that an interrupted computation goes on.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from earwitness.core.errors import DataError, UsageError
from earwitness.core.writing import write_atomically

T = TypeVar("T")
Halves = NDArray[np.float16]
KEEP_EVERY = 20  # parts
ANEW = "Remove the folder; it is computed anew."
Compute = Callable[[Sequence[Sequence[int]]], Iterator[tuple[Halves, ...]]]
"""From lists of rows to the values of each list, one array [n, ...] an array of the store."""


class Store:
    """A folder with memory-mapped float16 arrays [R, ...], named with the shape of a row, and which rows are done.

    Raises `DataError` where something else lies there.
    """

    def __init__(self, folder: Path, rows: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._done_path = folder, folder / "done.npy"
        new = not self._done_path.is_file()
        self.arrays = tuple(_opened(folder / f"{name}.npy", (rows, *shape), new) for name, shape in shapes.items())
        self.done = np.zeros(rows, bool) if new else _done(self._done_path, rows)
        if new:
            self._keep_done()

    def fill(self, compute: Compute, at_once: int, what: str) -> None:
        """Compute the rows that are not done, `at_once` a part; `what` is said beside the progress bar."""
        missing = np.flatnonzero(~self.done)
        if not len(missing):
            return
        parts = [missing[start : start + at_once].tolist() for start in range(0, len(missing), at_once)]
        for number, (places, values) in enumerate(zip(parts, shown(compute(parts), len(parts), what), strict=True), 1):
            for array, value in zip(self.arrays, values, strict=True):
                array[places] = value
            self.done[places] = True
            if number % KEEP_EVERY == 0:
                self._keep_done()
        self._keep_done()

    def _keep_done(self) -> None:
        """Only what is on disk counts as done."""
        for array in self.arrays:
            array.flush()
        written = io.BytesIO()
        np.save(written, self.done, allow_pickle=False)
        write_atomically(self._done_path, written.getvalue())


def _opened(path: Path, shape: tuple[int, ...], new: bool) -> np.memmap[Any, np.dtype[np.float16]]:
    """Mapped into memory. Raises `DataError` where another array lies there, `UsageError` where none can be made."""
    array: np.memmap[Any, np.dtype[np.float16]]
    try:
        array = np.lib.format.open_memmap(path, "w+" if new else "r+", np.float16, shape if new else None)
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise UsageError(what, where=path, fix="Free space, or choose another place.") from None
    except (ValueError, SyntaxError) as error:  # another kind of file, or an array of objects, which would be a pickle
        raise DataError(f"is no array of numbers ({_line(error)})", where=path, fix=ANEW) from None
    if array.shape != shape or array.dtype != np.float16:
        raise DataError(f"holds {array.dtype} {array.shape}, not float16 {shape}", where=path, fix=ANEW)
    return array


def _done(path: Path, rows: int) -> NDArray[np.bool_]:
    """Which rows are done. Raises `DataError` where it does not say so."""
    try:
        done = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"is no array of numbers ({_line(error)})", where=path, fix=ANEW) from None
    if not isinstance(done, np.ndarray) or done.shape != (rows,) or done.dtype != np.bool_:
        raise DataError(f"does not say which of {rows} rows are done", where=path, fix=ANEW)
    return done


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def shown(found: Iterable[T], count: int, what: str) -> Iterable[T]:
    """The same, with a progress bar on a terminal; `what` is said beside it."""
    console = Console(stderr=True)
    return track(found, what, count, console=console, disable=not console.is_terminal)
