"""Which channels of a file tell different stories: a call has a voice on each side, others hold one sound twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from earwitness.audio.decoding import AudioInfo
from earwitness.audio.reading import stream

SAME_DB = -40.0  # a difference this far below the louder channel is coding noise, not another voice


def channels_to_examine(path: str | Path, info: AudioInfo) -> list[int | None]:
    """The channels to look at one by one; [None] for a mono file or one whose channels are all alike (a downmix).

    Raises `AudioError` where the file cannot be read.
    """
    if info.channels == 1:
        return [None]
    distinct = [0]
    for channel in range(1, info.channels):
        if not any(_alike(path, known, channel, info.rate) for known in distinct):
            distinct.append(channel)
    return [None] if distinct == [0] else list(distinct)


def _alike(path: str | Path, first: int, second: int, rate: int) -> bool:
    """Whether two channels hold the same sound, as far as coding left it."""
    difference = power = 0.0
    for a, b in zip(stream(path, rate, first), stream(path, rate, second), strict=True):
        difference += float(np.square(a - b, dtype=np.float64).sum())
        power += max(float(np.square(a, dtype=np.float64).sum()), float(np.square(b, dtype=np.float64).sum()))
    return difference <= power * 10 ** (SAME_DB / 10)
