"""Rows that come few at a time, gathered in one array.

A list of small arrays would do, but for where they lie: each in the middle of the memory that the work before it has
given back, which no array of that size fits into any more. Over hours of audio the holes add up to hundreds of
megabytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST = 1024  # rows that there is room for at first; it doubles


class GrowingRows:
    """Arrays [n, ...] of one type and one shape of a row, one after the other."""

    def __init__(self) -> None:
        self._rows: NDArray[Any] | None = None
        self._count = 0

    def add(self, rows: NDArray[Any]) -> None:
        """Copy them to the end."""
        wanted = self._count + len(rows)
        if self._rows is None:
            self._rows = np.empty((max(FIRST, wanted), *rows.shape[1:]), rows.dtype)
        elif wanted > len(self._rows):
            larger = np.empty((max(wanted, 2 * len(self._rows)), *rows.shape[1:]), rows.dtype)
            larger[: self._count] = self._rows[: self._count]
            self._rows = larger
        self._rows[self._count : wanted] = rows
        self._count = wanted

    def all(self) -> NDArray[Any]:
        """All of them [N, ...], at least one."""
        assert self._rows is not None
        return self._rows[: self._count].copy()
