"""Recognisers that need no network: loudness is the emotion, so that a recording can be made to say anything."""

from __future__ import annotations

import numpy as np

from earwitness.speech_llm.cpqa.classes import CLASSES
from earwitness.speech_llm.cpqa.gender import GenderGuess
from earwitness.speech_llm.cpqa.recognisers import Floats, Waveforms

LOUD = 0.2


class Loudness:
    """Loud is angry, else happy; counts the windows that it hears."""

    def __init__(self, id: str = "loudness", sure: float = 0.8) -> None:
        self.id = id
        self.sure = sure
        self.heard = 0

    def probabilities(self, windows: Waveforms) -> Floats:
        self.heard += len(windows)
        found = np.full((len(windows), len(CLASSES)), (1 - self.sure) / (len(CLASSES) - 1))
        loud = np.sqrt((windows**2).mean(axis=1)) > LOUD
        found[np.arange(len(windows)), np.where(loud, CLASSES.index("angry"), CLASSES.index("happy"))] = self.sure
        return found


class Agreeing:
    """Valence of 0.2 for what is called angry and 0.7 for what is called happy, but 0.7 for the very loud."""

    id = "agreeing"

    def dimensions(self, windows: Waveforms, probabilities: Floats) -> Floats:
        angry = probabilities.argmax(axis=1) == CLASSES.index("angry")
        found = np.full((len(windows), 3), np.nan)
        found[:, 0] = np.where(angry, 0.2, 0.7)
        found[np.abs(windows).max(axis=1) > 0.85, 0] = 0.7
        return found


class Woman:
    id = "woman"

    def gender(self, samples: np.ndarray) -> GenderGuess:
        return GenderGuess.of(0.9)


def sound(*parts: tuple[float, float]) -> np.ndarray:
    """Tones of (seconds, level); level 0 is a pause."""
    time = [np.arange(round(seconds * 16_000)) / 16_000 for seconds, _ in parts]
    return np.concatenate(
        [level * np.sin(2 * np.pi * 220 * t) for t, (_, level) in zip(time, parts, strict=True)]
    ).astype(np.float32)
