"""Pitch and voicing, 16 ms a frame: SwiftF0 (arXiv 2508.18440; MIT), a small network in the package `swift-f0`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.recording import Samples

PITCH_RATE = 16_000  # Hz
FRAME_S = 256 / PITCH_RATE
LOWEST_HZ, HIGHEST_HZ = 55.0, 800.0  # of speech: deep men to screaming children
VOICED = 0.5  # confidence from which a frame is voiced
BLOCK = 10 * PITCH_RATE  # samples a call, so that memory stays small


@dataclass(frozen=True)
class PitchTrack:
    """`hz` [T] is the pitch, NaN where a frame is not voiced; frame t begins at t * `FRAME_S` seconds."""

    hz: NDArray[np.float64]

    @property
    def voiced(self) -> NDArray[np.bool_]:
        """Which frames are voiced [T]."""
        return np.isfinite(self.hz)

    def semitones(self, reference_hz: float = 100.0) -> NDArray[np.float64]:
        """The voiced frames' pitch in semitones above `reference_hz` [V]."""
        return 12 * np.log2(self.hz[self.voiced] / reference_hz)


class PitchTracker:
    """The pitch of a recording at 16 kHz that comes in blocks of any length; the same, however it is cut."""

    def __init__(self) -> None:
        self._stream = _detector().stream(fmin=LOWEST_HZ, fmax=HIGHEST_HZ)
        self._waiting: list[Samples] = []
        self._count = 0
        self._parts: list[NDArray[np.float64]] = []

    def push(self, block: Samples) -> None:
        """The next samples, float32 [N] in [-1, 1]."""
        self._waiting.append(block)
        self._count += len(block)
        if self._count >= BLOCK:
            self._hear()

    def finish(self) -> PitchTrack:
        """The track of all that was pushed."""
        self._hear()
        self._keep(self._stream.flush())
        return PitchTrack(np.concatenate([np.empty(0), *self._parts]))

    def _hear(self) -> None:
        if self._count:
            self._keep(self._stream.push(np.concatenate(self._waiting), PITCH_RATE))
        self._waiting, self._count = [], 0

    def _keep(self, found: Any) -> None:
        self._parts.append(np.where(found.confidence >= VOICED, found.pitch_hz, np.nan))


def pitch_track(samples: Samples) -> PitchTrack:
    """The pitch of samples [N] at 16 kHz."""
    tracker = PitchTracker()
    tracker.push(samples)
    return tracker.finish()


@lru_cache(maxsize=1)
def _detector() -> Any:
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1)
