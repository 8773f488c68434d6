"""A recording as samples, with the memory of where they came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # mono, [-1, 1], shape [N]


@dataclass(frozen=True)
class Source:
    """Where samples came from and what was done to them.

    `channel` is the 0-based channel that was taken, or None for a downmix (or a mono file). Times are seconds in the
    file.
    """

    path: str | None = None
    sha256: str | None = None
    channel: int | None = None
    start_s: float = 0.0
    end_s: float | None = None
    native_rate: int | None = None
    native_channels: int | None = None
    container: str | None = None
    codec: str | None = None
    steps: tuple[str, ...] = ()  # e.g. ("downmix of 2 channels", "resampled 44100 -> 16000 Hz")


@dataclass(frozen=True)
class Recording:
    """Mono float32 samples in [-1, 1] at `rate` Hz."""

    samples: Samples
    rate: int
    source: Source = Source()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate


@dataclass(frozen=True)
class Segment:
    """A stretch of time, seconds."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s
