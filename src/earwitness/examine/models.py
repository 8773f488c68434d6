"""Which models answer, and what stands in where one cannot be loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from earwitness.core.errors import MissingPartError
from earwitness.deepfake.detector import Detector
from earwitness.evaluation.loading import load_detector, load_embedder
from earwitness.examine.credit import credit_of
from earwitness.examine.delivery import Delivery
from earwitness.examine.finding import ModelCredit
from earwitness.examine.personal_voice import PersonalVoice
from earwitness.examine.questions import Question
from earwitness.examine.shared_sounds import SharedSounds
from earwitness.examine.sounding_age import SoundingAge
from earwitness.examine.sounding_emotion import SoundingEmotion
from earwitness.speaker.embedder import Embedder
from earwitness.training.shipped import shipped_models

FURTHER: Mapping[str, Callable[[str], Question]] = {"traits": SharedSounds.by, "personal-vad": PersonalVoice.by}
"""Questions that are asked only where a model for them is named: by its task, from its name or path."""
MANNER: Mapping[str, Callable[[str], SoundingAge | SoundingEmotion]] = {
    "age": SoundingAge.by,
    "emotion": SoundingEmotion.by,
}
"""How it was said: asked by the shipped models, or by others that are named."""
TASKS = ("deepfake", "speaker", *FURTHER, *MANNER)


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


def load_models(chosen: Mapping[str, str], *, manner: bool = True) -> Answering:
    """The chosen models (`{"deepfake": name or path, "speaker": ...}`), the shipped ones for what is not named.

    Without `manner` nothing is asked about how it was said, but by a model that is chosen for it.

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
    named = tuple(begin(chosen[task]) for task, begin in FURTHER.items() if task in chosen)
    of_manner = list(_manner(chosen, manner))
    left_out = tuple(given for given in of_manner if isinstance(given, str))
    further = (*named, *(given for given in of_manner if not isinstance(given, str)))
    credit, voice_credit = credit_of(name, detector.info), credit_of(voice, embedder.info)
    return Answering(detector, credit, embedder, voice_credit, (*notes, *left_out), further)


def _manner(chosen: Mapping[str, str], manner: bool) -> Iterator[Question | str]:
    """How it is spoken, and how old and in which emotion it sounds; a note on each question that is not asked.

    A shipped model that was not shown to be better than a constant is left out, and so is one whose encoder is not
    installed; a chosen one is not.
    """
    if manner:
        yield Delivery.of_installed()
    for task, begin in MANNER.items():
        if task in chosen:
            yield begin(chosen[task])
        elif manner and task in shipped_models():
            yield _by_shipped(task, begin)


def _by_shipped(task: str, begin: Callable[[str], SoundingAge | SoundingEmotion]) -> Question | str:
    """The question, or why it is not asked."""
    try:
        question = begin(task)
    except MissingPartError as error:
        return f"The model '{task}' is not asked, because it could not be loaded: {error}"
    if question.estimator.info.extra.get("inconclusive"):
        return f"The model '{task}' is not asked: its tests do not show that it is better than a constant answer."
    return question
