"""Recordings for the tests of clients."""

from __future__ import annotations

import numpy as np

from earwitness.audio.recording import Recording


def sixteen_bit(seconds: float, seed: int = 1) -> Recording:
    """Noise as it comes from a 16-bit file of 16 kHz, both ends of the scale in it."""
    values = np.random.default_rng(seed).integers(-32768, 32768, round(seconds * 16_000), dtype=np.int16)
    values[:2] = (-32768, 32767)
    return Recording((values / 32768).astype(np.float32), 16_000)
