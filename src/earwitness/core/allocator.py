"""glibc's allocator, told to keep what a network frees.

By default it gives large blocks back to the system at once, and every tensor of the next pass costs a page fault for
each 4 kB: of AASIST (arXiv 2110.01200) that was half of the processor time.
"""

from __future__ import annotations

import sys
from contextlib import suppress

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8  # of malloc.h
_KEPT = 1 << 30  # bytes


def keep_freed_memory() -> None:
    """For this process, on Linux with glibc; elsewhere nothing happens. Threads share one arena, as those of their own
    would give their blocks back all the same."""
    if sys.platform != "linux":
        return
    import ctypes

    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_TOP_PAD, 64 << 20)
        mallopt(_ARENA_MAX, 1)


def give_back_freed_memory() -> None:
    """What is free goes back to the system, where `keep_freed_memory` works.

    What one network leaves does not fit the next: the peak of several in turn would be nearly the sum of theirs.
    """
    if sys.platform != "linux":
        return
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
