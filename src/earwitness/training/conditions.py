"""The conditions under which a calibration is fitted again, and when a recording counts as being in one."""

from __future__ import annotations

import numpy as np

from earwitness.audio.facts import SignalFacts
from earwitness.audio.perturb.noise import ColouredNoiseConfig
from earwitness.audio.perturb.simple import TelephoneBandConfig
from earwitness.audio.recording import Samples
from earwitness.training.calibration import ConditionName

CONDITIONS: tuple[ConditionName, ...] = ("short", "narrow_band", "noisy")

SHORT_S = 2.0  # seconds of speech below which a recording is short
NARROW_HZ = 4_300.0  # a telephone channel ends at 3.4 to 4 kHz
NOISY_DB = 15.0  # speech against pauses

_SHORTENED_S = 1.5
_NARROW = TelephoneBandConfig()
_NOISE = ColouredNoiseConfig(snr_db=(5.0, 15.0))


def put_under(condition: ConditionName, samples: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """The samples as they would be under a condition: 1.5 s of their middle, 300-3400 Hz, or noise at 5-15 dB."""
    if condition == "short":
        length = round(_SHORTENED_S * rate)
        start = max(0, (len(samples) - length) // 2)
        return samples[start : start + length]
    if condition == "narrow_band":
        return _NARROW.build()(samples, rate, rng)
    if condition == "noisy":
        return _NOISE.build()(samples, rate, rng)
    return samples


def conditions_of(facts: SignalFacts) -> tuple[ConditionName, ...]:
    """The conditions that a recording is in, by its measured facts."""
    present: list[ConditionName] = []
    if facts.speech_s < SHORT_S:
        present.append("short")
    if facts.bandwidth_hz is not None and facts.bandwidth_hz < NARROW_HZ:
        present.append("narrow_band")
    if facts.snr_db is not None and facts.snr_db < NOISY_DB:
        present.append("noisy")
    return tuple(present)
