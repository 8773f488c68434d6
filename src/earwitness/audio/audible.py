"""What is too quiet or too short to say anything about."""

from __future__ import annotations

import numpy as np

from earwitness.audio.recording import Samples

AUDIBLE_PEAK = 1e-4  # -80 dBFS: below it a window is taken for digital silence
SHORTEST_S = 0.3  # about one syllable


def is_audible(samples: Samples) -> bool:
    """Whether anything in the samples rises above digital silence."""
    return len(samples) > 0 and float(np.abs(samples).max()) > AUDIBLE_PEAK
