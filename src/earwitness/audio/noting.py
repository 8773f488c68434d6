"""What files say amiss of themselves while they are read, told to whoever listens further up.

A model hears a file through several hands, none of which should have to pass on that its end is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LISTENING: ContextVar[list[str] | None] = ContextVar("notes of the files that are read", default=None)


@contextmanager
def notes_taken() -> Iterator[list[str]]:
    """A list that fills with the decoders' notes of whatever this thread reads inside, each once, in order."""
    notes: list[str] = []
    before = _LISTENING.set(notes)
    try:
        yield notes
    finally:
        _LISTENING.reset(before)


def take_notes(notes: Iterable[str]) -> None:
    """Tell the innermost listener, if there is one."""
    listening = _LISTENING.get()
    if listening is not None:
        listening += [note for note in notes if note not in listening]
