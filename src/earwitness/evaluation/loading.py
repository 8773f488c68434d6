"""From a name or a path to a model that answers: `load("deepfake")`, `load("runs/mine/model")`."""

from __future__ import annotations

from pathlib import Path

from earwitness.core.errors import ModelError, UsageError
from earwitness.deepfake.detector import Detector
from earwitness.nn.centroids import CentroidsConfig
from earwitness.nn.network import Network
from earwitness.nn.pretrained.mos import MosEstimator, load_mos
from earwitness.paralinguistic.age import TASK as AGE
from earwitness.paralinguistic.age import AgeEstimator
from earwitness.paralinguistic.emotion import TASK as EMOTIONS
from earwitness.paralinguistic.emotion import EmotionEstimator
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.personal_vad.hearing import PersonalVerifier
from earwitness.speaker.phones import kept, phones_named
from earwitness.speaker.phonetic_traits.verifier import TASK as TRAITS
from earwitness.speaker.phonetic_traits.verifier import TraitVerifier, own_phones
from earwitness.training.model_folder import read_model_info
from earwitness.training.shipped import find_model
from earwitness.training.sound_classes import TASK as SOUNDS
from earwitness.training.sound_classes import SoundClassifier


def load(
    name: str | Path,
) -> AgeEstimator | Detector | Embedder | EmotionEstimator | PersonalVerifier | SoundClassifier:
    """A shipped model by name, or a model folder by path. Raises `ModelError` (unknown, incomplete, altered)."""
    folder = find_model(name)
    task = read_model_info(folder).task
    if task == "deepfake":
        return open_detector(folder)
    if task == "speaker":
        return Embedder.load(folder)
    if task == AGE:
        return AgeEstimator.load(folder)
    if task == SOUNDS:
        return SoundClassifier.load(folder)
    if task == "personal-vad":
        return PersonalVerifier.load(folder)
    if task == EMOTIONS:
        return EmotionEstimator.load(folder)
    raise ModelError(f"no room of this version answers '{task}'", where=folder)


def load_emotions(name: str | Path) -> EmotionEstimator:
    """An emotion model by name or path. Raises `ModelError` for a model of another task."""
    return EmotionEstimator.load(find_model(name))


def load_detector(name: str | Path) -> Detector:
    """A detector by name or path. Raises `ModelError` for a model of another task."""
    return open_detector(find_model(name))


def open_detector(folder: str | Path) -> Detector:
    """The detector of a model folder, with the predictor of quality that it scores by where it needs one.

    Raises `ModelError`, and `MissingPartError` where that predictor is not installed.
    """
    detector = Detector.load(folder)
    if isinstance(detector.network, Network) and detector.network.scores_by_own:
        detector.quality = quality_for(detector.network.centroids().config)
    return detector


def quality_for(centroids: CentroidsConfig | None) -> MosEstimator | None:
    """The predictor of quality by which centroids are chosen at test time; None where they are not chosen so."""
    return None if centroids is None or centroids.own is None else load_mos(centroids.own.estimator)


def load_voice(name: str | Path, phones: str | None = None) -> Embedder | TraitVerifier:
    """A speaker model of either kind; `phones` names where a phone-by-phone verifier takes its labels from.

    Raises `ModelError` for a model of another task, and `UsageError` for phones of one that knows none.
    """
    folder = find_model(name)
    if read_model_info(folder).task == TRAITS:
        return load_traits(folder, phones)
    if phones is not None:
        raise UsageError("belongs to models of speaker-traits", where="--phones", fix="Leave it out, or name such one.")
    return Embedder.load(folder)


def load_traits(name: str | Path, phones: str | None = None) -> TraitVerifier:
    """A phone-by-phone verifier; its phones are kept once heard. Raises `ModelError`, `MissingPartError`."""
    folder = find_model(name)
    info = read_model_info(folder)
    if info.task != TRAITS:
        raise ModelError(f"this model answers '{info.task}', not '{TRAITS}'", where=folder)
    source = own_phones(folder, info) if phones is None else phones_named(phones).build()
    return TraitVerifier.load(folder, kept(source))


def load_age(name: str | Path) -> AgeEstimator:
    """An age model by name or path. Raises `ModelError` for a model of another task."""
    return AgeEstimator.load(find_model(name))


def load_embedder(name: str | Path) -> Embedder:
    """A speaker embedder by name or path. Raises `ModelError` for a model of another task."""
    return Embedder.load(find_model(name))


def load_personal_vad(name: str | Path) -> PersonalVerifier:
    """A personal VAD by name or path. Raises `ModelError` for a model of another task."""
    return PersonalVerifier.load(find_model(name))
