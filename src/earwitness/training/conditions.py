"""The conditions under which a calibration is fitted again, when a recording counts as being in one, and what else a
detector is tested under: perturbations that have no calibration of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from earwitness.audio.facts import SignalFacts
from earwitness.audio.perturb.noise import ColouredNoiseConfig
from earwitness.audio.perturb.reverb import ReverbConfig
from earwitness.audio.perturb.simple import TelephoneBandConfig
from earwitness.audio.perturb.suite import BY_NAME, NamedPerturbation
from earwitness.audio.recording import Samples
from earwitness.training.calibration import ConditionName

TestedName = Literal["room", "low-pass-3400hz", "mp3-32k", "vorbis", "opus-12k", "gsm", "mu-law"]

CONDITIONS: tuple[ConditionName, ...] = ("short", "narrow_band", "noisy")

SHORT_S = 2.0  # seconds of speech below which a recording is short
NARROW_HZ = 4_300.0  # a telephone channel ends at 3.4 to 4 kHz
NOISY_DB = 15.0  # speech against pauses

_SHORTENED_S = 1.5
_NARROW = TelephoneBandConfig()
_NOISE = ColouredNoiseConfig(snr_db=(5.0, 15.0))

CONDITION_WORDS: Mapping[ConditionName, str] = {
    "clean": "as they are",
    "short": f"{_SHORTENED_S:g} s of the middle",
    "narrow_band": "telephone band, 300-3400 Hz",
    "noisy": "noise 5 to 15 dB below the speech",
}
TESTED: Mapping[TestedName, NamedPerturbation] = {
    "room": NamedPerturbation("room", "synthetic room, reverberation time 0.2 to 0.8 s", ReverbConfig()),
    "low-pass-3400hz": BY_NAME["low-pass-3400hz"],
    "mp3-32k": BY_NAME["mp3-32k"],
    "vorbis": BY_NAME["vorbis"],
    "opus-12k": BY_NAME["opus-12k"],
    "gsm": BY_NAME["gsm"],
    "mu-law": BY_NAME["mu-law"],
}


def put_under(condition: ConditionName | TestedName, samples: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """The samples [N] as they would be under a condition (1.5 s of their middle, 300-3400 Hz, or noise at 5-15 dB), or
    under a perturbation of `TESTED`.

    Raises `MissingPartError` for a codec that this installation lacks.
    """
    if condition == "clean":
        return samples
    if condition == "short":
        length = round(_SHORTENED_S * rate)
        start = max(0, (len(samples) - length) // 2)
        return samples[start : start + length]
    if condition == "narrow_band":
        return _NARROW.build()(samples, rate, rng)
    if condition == "noisy":
        return _NOISE.build()(samples, rate, rng)
    return TESTED[condition].config.build()(samples, rate, rng)


def conditions_of(facts: SignalFacts) -> tuple[ConditionName, ...]:
    """The conditions that a recording is in, by its measured facts."""
    return conditions_by(facts.speech_s, facts.bandwidth_hz, facts.snr_db)


def conditions_by(speech_s: float, bandwidth_hz: float | None, snr_db: float | None) -> tuple[ConditionName, ...]:
    """The same by the three facts that count; None: not measurable."""
    present: list[ConditionName] = []
    if speech_s < SHORT_S:
        present.append("short")
    if bandwidth_hz is not None and bandwidth_hz < NARROW_HZ:
        present.append("narrow_band")
    if snr_db is not None and snr_db < NOISY_DB:
        present.append("noisy")
    return tuple(present)
