"""The last gate before a terminal: whatever text of strangers reaches standard output or error, none of it drives it.

Names of files, cards, labels, transcripts and replies are escaped where they are written; this holds for what is
forgotten there, and for what other packages print.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_MAYBE = re.compile(r"[^\n\t -~]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_DRAWING = re.compile(r"\x1b\[[0-9;]*m|\x1b\[[0-9]*[AK]|\x1b\[\?25[lh]|\r")  # and what a progress bar needs


def defused(text: str, allowed: re.Pattern[str] | None = None) -> str:
    """The text with control characters, marks that turn the reading direction and lone surrogates as `\\uXXXX`.

    These are escapes of JSON, so that data stay the same data. `allowed` sequences pass.
    """
    if text.isascii() and not _MAYBE.search(text):
        return text
    if allowed is None:
        return _MAYBE.sub(_escaped, text)
    parts, end = [], 0
    for match in allowed.finditer(text):
        parts += [_MAYBE.sub(_escaped, text[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*parts, _MAYBE.sub(_escaped, text[end:])])


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if (
        character.isprintable() or unicodedata.category(character) == "Zs"
    ):  # letters of any script; wide and thin spaces
        return character
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


class DefusedStream:
    """A text stream that writes `defused` text; all else is the stream's own. Colours pass to a terminal or where
    they are forced, and on standard error what draws a progress bar."""

    def __init__(self, stream: TextIO, drawing: bool) -> None:
        self._stream = stream
        shown = stream.isatty() or bool(os.environ.get("FORCE_COLOR"))  # as rich decides
        self._allowed = (_DRAWING if drawing else _COLOUR) if shown else None

    def write(self, text: str) -> int:
        """As a stream does."""
        self._stream.write(defused(text, self._allowed))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """As a stream does."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextmanager
def defused_output() -> Iterator[None]:
    """While it lasts, standard output and standard error are defused."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = DefusedStream(before[0], drawing=False), DefusedStream(before[1], drawing=True)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
