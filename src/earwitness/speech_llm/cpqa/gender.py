"""Whose voice it sounds like, a woman's or a man's: `GenderLabeller`, and one by nothing but pitch.

The published pipeline has a WavLM-ECAPA model, which is not here; section 2.7 of the sheet on CPQA asks for any model
behind one interface. A label is about the sound of a voice and says nothing of what the speaker is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from earwitness.audio.pitch import FRAME_S, PITCH_RATE, pitch_track
from earwitness.audio.recording import Samples

Gender = Literal["female", "male", "unknown"]
SURE = 0.8


@dataclass(frozen=True)
class GenderGuess:
    """`gender` is `unknown` where the probability of the likelier one is under `SURE`; `confidence` is that
    probability, None where nothing could be measured."""

    gender: Gender
    confidence: float | None

    @classmethod
    def of(cls, female: float) -> GenderGuess:
        """By the probability of a woman's voice."""
        confidence = max(female, 1 - female)
        likelier: Gender = "female" if female >= 0.5 else "male"
        return cls(likelier if confidence >= SURE else "unknown", confidence)


class GenderLabeller(Protocol):
    """`id` names the model."""

    @property
    def id(self) -> str: ...

    def gender(self, samples: Samples) -> GenderGuess:
        """Of samples [N] at 16 kHz."""
        ...


@dataclass(frozen=True)
class PitchGender:
    """`pitch`: the median pitch, by a logistic in semitones around `middle_hz`.

    With a slope of 2 semitones it is unsure (under 0.8) from about 141 to 194 Hz. Children sound like women to it.
    """

    middle_hz: float = 165.0
    slope_semitones: float = 2.0
    shortest_s: float = 0.3  # voiced
    heard_s: float = 10.0  # of the middle; a longer segment tells no more

    @property
    def id(self) -> str:
        """With its settings."""
        return f"pitch, {self.middle_hz:g} Hz / {self.slope_semitones:g} semitones"

    def gender(self, samples: Samples) -> GenderGuess:
        """Of samples [N] at 16 kHz; unknown without confidence where too little is voiced."""
        spare = max(0, len(samples) - round(self.heard_s * PITCH_RATE)) // 2
        semitones = pitch_track(samples[spare : len(samples) - spare]).semitones(self.middle_hz)
        if len(semitones) * FRAME_S < self.shortest_s:
            return GenderGuess("unknown", None)
        return GenderGuess.of(1 / (1 + math.exp(-float(np.median(semitones)) / self.slope_semitones)))


class NoGender:
    """`none`: every gender is unknown."""

    id = "none"

    def gender(self, samples: Samples) -> GenderGuess:
        """Unknown."""
        return GenderGuess("unknown", None)
