"""The shipped emotion model as a recogniser: its windows are spans, and what it is unsure of is unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from earwitness.audio.recording import Recording, Segment
from earwitness.core.errors import AudioError
from earwitness.evaluation.detected_emotion import EmotionRecogniser
from earwitness.paralinguistic.emotion import EmotionEstimate
from earwitness.speech_llm.training.metadata import metadata_text

FOUND = EmotionEstimate(
    classes=("sad", "angry"),
    probabilities=np.array([0.5, 0.5]),
    intensity=None,
    threshold=0.6,
    spans=(Segment(0.0, 4.0), Segment(4.0, 8.0), Segment(8.0, 9.0)),
    course=np.array([[0.9, 0.1], [0.3, 0.7], [0.55, 0.45]]),
    intensities=None,
    seconds_used=9.0,
    seconds_total=9.0,
)


class Estimator:
    """Says what it was given."""

    def __init__(self, found: EmotionEstimate | None) -> None:
        self.found = found

    def estimate(self, samples: Any, rate: int) -> EmotionEstimate:
        if self.found is None:
            raise AudioError("holds no sound")
        return self.found


def line(found: EmotionEstimate | None) -> str:
    recogniser = EmotionRecogniser(Estimator(found))  # type: ignore[arg-type]
    return metadata_text(recogniser.hear(Recording(np.zeros(16_000 * 9, np.float32), 16_000)))


def test_windows_become_spans_and_doubt_is_unknown() -> None:
    assert line(FOUND) == "Detected vocal emotion: 0.0-4.0 s sad; 4.0-8.0 s angry; 8.0-9.0 s unknown."
    assert line(replace(FOUND, threshold=0.95)) == "Detected vocal emotion: 0.0-9.0 s unknown."
    assert line(None) == "Detected vocal emotion: 0.0-9.0 s unknown."
