"""Jitter, shimmer and harmonics-to-noise ratio as Praat measures them, where its package is installed (GPL: an extra).

The settings are those of Praat's own voice report. They are fit for sustained vowels on a good microphone; in running
speech, through a telephone or in noise they say as much about the recording as about the voice.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from earwitness.audio.pitch import HIGHEST_HZ, LOWEST_HZ
from earwitness.audio.recording import Samples
from earwitness.core.errors import MissingPartError

PERIODS = (0.0001, 0.02, 1.3)  # shortest and longest period in seconds, largest ratio of neighbours
LARGEST_AMPLITUDE_RATIO = 1.6


@dataclass(frozen=True)
class VoiceQuality:
    """Of all periods that Praat finds; None where it finds too few."""

    jitter: float | None  # mean difference of neighbouring periods over the mean period
    shimmer: float | None  # the same of their amplitudes
    harmonicity_db: float | None  # harmonics-to-noise ratio, mean over voiced frames


def available() -> bool:
    """Whether the package `praat-parselmouth` is installed."""
    return find_spec("parselmouth") is not None


def voice_quality(samples: Samples, rate: int) -> VoiceQuality:
    """Of samples [N] in [-1, 1]. Raises `MissingPartError` where the package is not installed."""
    if not available():
        raise MissingPartError(
            "jitter, shimmer and harmonics-to-noise ratio need Praat's package",
            fix="Install it: pip install 'earwitness[praat]' (it is under the GPL).",
        )
    import parselmouth
    from parselmouth.praat import call

    sound = parselmouth.Sound(samples.astype(np.float64), sampling_frequency=rate)
    if sound.duration < 0.1:  # shorter than Praat's own frames
        return VoiceQuality(None, None, None)
    points = call(sound, "To PointProcess (periodic, cc)", LOWEST_HZ, HIGHEST_HZ)
    found = (
        call(points, "Get jitter (local)", 0, 0, *PERIODS),
        call([sound, points], "Get shimmer (local)", 0, 0, *PERIODS, LARGEST_AMPLITUDE_RATIO),
        call(sound.to_harmonicity_cc(minimum_pitch=LOWEST_HZ), "Get mean", 0, 0),
    )
    return VoiceQuality(*(float(value) if np.isfinite(value) else None for value in found))
