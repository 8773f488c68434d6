"""Whether an Ogg file is whole: FFmpeg leaves out a damaged page and says nothing.

Ogg numbers its pages and gives each a checksum (RFC 3533, section 6), so a loss can be known, in one pass over the
bytes. What stands before the first page or after the last one is no part of it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

_MARK = b"OggS"
_HEADER = 27  # bytes before the table of segments
_ENDS = 4  # flag of a stream's last page
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass
class OggPages:
    """`damaged`: how many times bytes between two pages are no page, or a page's number does not follow the last one.
    `ended`: the last page says that it is the last."""

    damaged: int = 0
    ended: bool = False
    _loss: bool = False  # something is amiss since the last whole page
    _numbers: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # by stream: next number, position in samples

    def take(self, page: bytes) -> None:
        """A whole page."""
        stream, number = page[14:18], int.from_bytes(page[18:22], "little")
        position = int.from_bytes(page[6:14], "little")
        expected, before = self._numbers.get(stream, (number, 0))
        # a broadcast is joined after its headers, which stand at 0
        jumped = number != expected and before != 0
        if self._numbers and (self._loss or jumped):
            self.damaged += 1
        self._loss, self.ended = False, bool(page[5] & _ENDS)
        self._numbers[stream] = (number + 1) % (1 << 32), position

    def lose(self) -> None:
        """Bytes that are no page."""
        self._loss = True


def ogg_pages(path: str | Path) -> OggPages:
    """Walk over all pages of a file."""
    pages = OggPages()
    with Path(path).open("rb") as file:
        at = 0
        while True:
            file.seek(at)
            if page := _page(file):
                pages.take(page)
                at += len(page)
            elif (found := _next_mark(file, at + 1)) is not None:
                pages.lose()
                at = found
            else:
                return pages


def _page(file: BinaryIO) -> bytes | None:
    """The page that begins here; None where none does, or its checksum is another."""
    head = file.read(_HEADER)
    if len(head) < _HEADER or not head.startswith(_MARK):
        return None
    sizes = file.read(head[26])
    body = file.read(sum(sizes))
    if len(sizes) < head[26] or len(body) < sum(sizes):
        return None
    blank = head[:22] + bytes(4) + head[26:] + sizes + body
    return head + sizes + body if _checksum(blank) == head[22:26] else None


def _checksum(data: bytes) -> bytes:
    """As it stands in a page: CRC-32 of 0x04C11DB7 from the highest bit on, where zlib begins with the lowest."""
    mirrored = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2).to_bytes(4, "little")


def _next_mark(file: BinaryIO, at: int) -> int | None:
    """Where the next page may begin."""
    tail = b""
    while True:
        file.seek(at)
        block = tail + file.read(1 << 16)
        if (found := block.find(_MARK)) >= 0:
            return at - len(tail) + found
        if len(block) == len(tail):
            return None
        at += len(block) - len(tail)
        tail = block[-3:]
