"""Which models answer, and what stands in where one cannot be loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from earwitness.core.errors import MissingPartError
from earwitness.deepfake.detector import Detector
from earwitness.evaluation.loading import load_detector, load_embedder
from earwitness.examine.credit import credit_of
from earwitness.examine.finding import ModelCredit
from earwitness.examine.personal_voice import PersonalVoice
from earwitness.examine.questions import Question
from earwitness.examine.shared_sounds import SharedSounds
from earwitness.speaker.embedder import Embedder

FURTHER: Mapping[str, Callable[[str], Question]] = {"traits": SharedSounds.by, "personal-vad": PersonalVoice.by}
"""Questions that are asked only where a model for them is named: by its task, from its name or path."""
TASKS = ("deepfake", "speaker", *FURTHER)


@dataclass(frozen=True)
class Answering:
    """The models of an examination, with their credits, and notes on what stands in for what; `further` are questions
    for which a model was named."""

    detector: Detector
    detector_credit: ModelCredit
    embedder: Embedder
    embedder_credit: ModelCredit
    notes: tuple[str, ...] = ()
    further: tuple[Question, ...] = ()


def load_models(chosen: Mapping[str, str]) -> Answering:
    """The chosen models (`{"deepfake": name or path, "speaker": ...}`), the shipped ones for what is not named.

    Where the shared encoder is not installed, `deepfake-small` answers instead of `deepfake` and a note says so. Raises
    `ModelError`, and `MissingPartError` for a model that was chosen by name.
    """
    notes: tuple[str, ...] = ()
    name = chosen.get("deepfake", "deepfake")
    try:
        detector = load_detector(name)
    except MissingPartError as error:
        if "deepfake" in chosen:
            raise
        name = "deepfake-small"
        detector = load_detector(name)
        notes = (f"The small model answers, because the full one could not be loaded: {error}",)
    voice = chosen.get("speaker", "speaker")
    embedder = load_embedder(voice)
    further = tuple(begin(chosen[task]) for task, begin in FURTHER.items() if task in chosen)
    return Answering(
        detector, credit_of(name, detector.info), embedder, credit_of(voice, embedder.info), notes, further
    )
