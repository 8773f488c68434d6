"""From the frames of a phone recogniser to segments: networks trained by CTC, and classifiers of frames.

A CTC network emits a phone in about one frame, near its onset, and blanks until the next one. Where the phone ends is
not said: here it lasts until the next emission, at most 0.2 s; what follows is silence. (Ours, a rough time.)
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from earwitness.speaker.phones.source import Mark

LONGEST_S = 0.2

T = TypeVar("T")


def emissions(frames: Sequence[str], frame_s: float, blank: str, nameless: Container[str] = ()) -> Iterator[Mark]:
    """Segments of the most likely symbols of CTC frames; those in `nameless` (word boundaries) end a phone, unnamed.

    >>> list(emissions(["-", "a", "-", "b", "b"], 0.1, "-"))
    [(0.1, 0.3, 'a'), (0.3, 0.5, 'b')]
    """
    runs = [(start, symbol) for start, symbol in _starts(frames) if symbol != blank]
    ends = [*(start for start, _ in runs), len(frames)][1:]
    for (start, symbol), end in zip(runs, ends, strict=True):
        start_s, end_s = round(start * frame_s, 6), round(end * frame_s, 6)
        yield start_s, min(end_s, round(start_s + LONGEST_S, 6)), None if symbol in nameless else symbol


def stretches(frames: Sequence[str], frame_s: float) -> Iterator[Mark]:
    """Segments of a classifier that names every frame: runs of the same symbol."""
    runs = list(_starts(frames))
    ends = [*(start for start, _ in runs), len(frames)][1:]
    for (start, symbol), end in zip(runs, ends, strict=True):
        yield round(start * frame_s, 6), round(end * frame_s, 6), symbol


def _starts(frames: Sequence[T]) -> Iterator[tuple[int, T]]:
    """Where each run of equal frames starts."""
    place = 0
    for value, run in groupby(frames):
        yield place, value
        place += len(list(run))
