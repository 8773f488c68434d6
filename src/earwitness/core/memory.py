"""A process over hours of audio stays as large as over minutes.

A network's forward pass takes and frees arrays of some megabytes to hundreds. glibc takes the large ones from the
system and gives them back, but raises the size that it calls large whenever one is freed, up to 32 MB. From then on
they lie in its heap between small things that stay, the heap goes to pieces, and over hours the process grows by
hundreds of megabytes although nothing in it does.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's `mallopt`
LARGE = 16 << 20  # bytes; lower keeps a process smaller, and slower for the pages that it asks for anew
KEPT = 64 << 20  # bytes at the heap's end, kept for what comes next


def keep_bounded() -> None:
    """For this whole process: arrays from `LARGE` bytes on always go back to the system. Only glibc needs it."""
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_MMAP_THRESHOLD, LARGE)
    mallopt(_TRIM_THRESHOLD, KEPT)
