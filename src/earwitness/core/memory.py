"""Freed memory goes back to the system.

The C library keeps what is freed for later, and what is kept long lies scattered between: over hours of audio the
process grows although nothing in it does. glibc can be asked to give the free pages back; elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


def give_back() -> None:
    """Hand free pages to the system, in a few milliseconds."""
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Any:
    """glibc's `malloc_trim`, or None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except OSError:
        return None
