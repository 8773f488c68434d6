"""Recognisers of emotion for the condensation of speech (`speech_llm.cpqa`), by name or path.

The package's own emotion model is one of them: it knows six acted categories of one corpus, and no valence. The valence
that is offered beside it is made of its own classes (`ValenceFromClasses`), which says nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from earwitness.core.errors import UsageError
from earwitness.evaluation.loading import load_emotions
from earwitness.paralinguistic.emotion import EmotionEstimator, softmax
from earwitness.paralinguistic.emotion_losses import CATEGORY
from earwitness.paralinguistic.labels import CATEGORIES
from earwitness.speech_llm.cpqa.checkpoints import CONFIG, AudioClassifier, DimensionalRegressor, OnnxClassifier
from earwitness.speech_llm.cpqa.classes import CLASSES, columns_of
from earwitness.speech_llm.cpqa.gender import GenderLabeller, NoGender, PitchGender
from earwitness.speech_llm.cpqa.hearing import Recognisers
from earwitness.speech_llm.cpqa.recognisers import (
    CategoricalRecogniser,
    DimensionalRecogniser,
    Floats,
    ValenceFromClasses,
    Waveforms,
)
from earwitness.training.model_folder import DESCRIPTION

DEFAULT = "emotion-fast"
"""Of the shipped emotion models the one for much audio."""
FROM_CLASSES = "classes"
GENDERS = ("pitch", "none")


class OwnRecogniser:
    """A model of `earwitness.paralinguistic.emotion`, heard window by window: calibrated probabilities of the classes
    that it learnt, the others 0."""

    def __init__(self, estimator: EmotionEstimator) -> None:
        self._estimator = estimator
        self.id = estimator.info.reference
        known = estimator.emotion.classes
        self._known = np.flatnonzero(known)
        self._columns = list(columns_of([CATEGORIES[place] for place in self._known], self.id))

    def probabilities(self, windows: Waveforms) -> Floats:
        """[B, N] at 16 kHz -> [B, 9]."""
        with torch.inference_mode():
            logits = self._estimator.network(torch.from_numpy(np.ascontiguousarray(windows)))[CATEGORY]
        over = logits.double().numpy()[:, self._known] / self._estimator.emotion.temperature
        found = np.zeros((len(windows), len(CLASSES)))
        found[:, self._columns] = softmax(over)
        return found


def open_recogniser(name: str) -> CategoricalRecogniser:
    """A categorical recogniser: a shipped emotion model by name, its folder, a folder of transformers, or an ONNX file.

    Raises `ModelError`, and `MissingPartError` where a package is not installed.
    """
    place = Path(name)
    if place.suffix.lower() == ".onnx":
        return OnnxClassifier(place)
    if (place / CONFIG).is_file() and not (place / DESCRIPTION).is_file():
        return AudioClassifier(place)
    return OwnRecogniser(load_emotions(name))


def open_valence(name: str) -> DimensionalRecogniser:
    """A dimensional recogniser: `classes`, or a folder in audEERING's layout. Raises `ModelError`."""
    return ValenceFromClasses() if name == FROM_CLASSES else DimensionalRegressor(name)


def open_gender(name: str) -> GenderLabeller:
    """`pitch` or `none`. Raises `UsageError`."""
    if name not in GENDERS:
        raise UsageError(f"there is no gender labeller '{name}'", where="--gender", fix=f"Use {' or '.join(GENDERS)}.")
    return PitchGender() if name == "pitch" else NoGender()


def open_recognisers(
    names: Sequence[str] = (DEFAULT,), valence: str = FROM_CLASSES, gender: str = GENDERS[0]
) -> Recognisers:
    """All who listen. Raises `UsageError` where two have one name, and what the parts raise."""
    categorical = tuple(open_recogniser(name) for name in names)
    ids = [one.id for one in categorical]
    if twice := next((name for name in ids if ids.count(name) > 1), None):
        raise UsageError(f"'{twice}' is named twice", where="--recogniser", fix="Name each once.")
    return Recognisers(categorical, open_valence(valence), open_gender(gender))
