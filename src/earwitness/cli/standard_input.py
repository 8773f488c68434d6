"""`-`: the recording comes through standard input. Its bytes lie in a temporary file while the command runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earwitness.core.errors import UsageError

DASH, NAME = "-", "standard input"


@contextmanager
def spooled() -> Iterator[Path]:
    """A file of that name with what standard input holds, in a folder that only this user can read; gone afterwards.

    Raises `UsageError` where standard input is a terminal.
    """
    import shutil
    import tempfile

    if sys.stdin.isatty():
        raise UsageError("is a terminal", where=NAME, fix="Pipe a recording into it, or name a file.")
    with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
        path = Path(folder) / NAME
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield path


def told(text: str, spool: Path | None) -> str:
    """The text with standard input called by its name."""
    return text if spool is None else text.replace(str(spool), NAME)
