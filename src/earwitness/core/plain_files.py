"""Files that are read whole: plain ones, and gzipped ones up to a limit.

A named pipe may never have a writer, and a device never an end: to open one would be to wait, or to fill the memory. A
kilobyte of gzip can hold a megabyte, and a megabyte a gigabyte.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import zlib
from pathlib import Path

from earwitness.core.errors import DataError

MOST_UNZIPPED = 1 << 30  # bytes; a plain file may be longer
_BLOCK = 1 << 20
_OPEN_ALREADY = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")  # what a shell hands over as `<(command)`


def require_plain(path: str | Path) -> None:
    """Raises `OSError` for a named pipe, a socket or a device, and for what is not there.

    A pipe that this process was handed open (`<(command)` of a shell) has a writer, and passes.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116 - Path.stat would not take every name that the system knows
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode) and not os.fspath(path).startswith(_OPEN_ALREADY):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", os.fspath(path))


def read_plain(path: str | Path) -> bytes:
    """All bytes of a file. Raises `OSError` as `require_plain` and reading do."""
    require_plain(path)
    return Path(path).read_bytes()


def unzipped(data: bytes, where: object) -> bytes:
    """What gzip has packed. Raises `DataError` where it is damaged, or holds more than `MOST_UNZIPPED` bytes."""
    blocks: list[bytes] = []
    left = MOST_UNZIPPED
    try:
        with gzip.open(io.BytesIO(data)) as file:
            while block := file.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    what = f"holds more than {MOST_UNZIPPED / (1 << 20):.0f} MB when it is unzipped"
                    raise DataError(what, where=where, fix="If that is right, unzip it first.")
                blocks.append(block)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError("is a damaged gzip file", where=where, fix="Fetch it again.") from None
    return b"".join(blocks)
