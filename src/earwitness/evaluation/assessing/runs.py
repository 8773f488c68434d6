"""A recipe's whole run: the domain trains and calibrates, then the model is tested once and its card written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from earwitness.core.errors import ModelError
from earwitness.deepfake.committee import ROWS
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.retrieval.training import RetrievalRecipe, train_retrieval
from earwitness.deepfake.training import train_detector
from earwitness.evaluation.assessing.age import assess_age
from earwitness.evaluation.assessing.committee import assess_committee
from earwitness.evaluation.assessing.detector import assess_detector
from earwitness.evaluation.assessing.distilled import run_inversion
from earwitness.evaluation.assessing.embedder import assess_embedder
from earwitness.evaluation.assessing.emotion import assess_emotion
from earwitness.evaluation.assessing.outcome import Outcome, write_card
from earwitness.evaluation.assessing.personal_vad import assess_personal_vad
from earwitness.evaluation.assessing.sounds import assess_sounds
from earwitness.evaluation.assessing.taught import assess_taught
from earwitness.evaluation.assessing.traits import assess_traits
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.loading import quality_for
from earwitness.paralinguistic.age_recipe import AgeRecipe
from earwitness.paralinguistic.age_training import train_age
from earwitness.paralinguistic.emotion_recipe import EmotionRecipe
from earwitness.paralinguistic.emotion_training import train_emotion
from earwitness.speaker.personal_vad.recipe import PersonalVadRecipe
from earwitness.speaker.personal_vad.training import train_personal_vad
from earwitness.speaker.phonetic_traits.recipe import SpeakerTraitsRecipe
from earwitness.speaker.phonetic_traits.training import train_traits
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import train_embedder
from earwitness.speech_llm.training.recipe import SpeechLlmRecipe
from earwitness.speech_llm.training.teaching import teach
from earwitness.speech_llm.training.text_decoder import TextDecoderRecipe, pretrain_decoder
from earwitness.training.inversion import InversionRecipe
from earwitness.training.inversion.rounds import DIVERSITY
from earwitness.training.model_folder import ModelInfo, verify_model
from earwitness.training.recipe import read_recipe
from earwitness.training.sound_classes import SoundClassRecipe, train_sound_classes

Trained = (
    AgeRecipe
    | DetectionRecipe
    | EmotionRecipe
    | InversionRecipe
    | PersonalVadRecipe
    | RetrievalRecipe
    | SoundClassRecipe
    | SpeakerRecipe
    | SpeakerTraitsRecipe
    | SpeechLlmRecipe
    | TextDecoderRecipe
)
AnyRecipe = Annotated[Trained, Field(discriminator="task")]
UNTESTED = "It was distilled without data and not tested: calibrate and test it on recordings of your own."


def read_any_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Trained:
    """A recipe of any task. Raises `RecipeError` naming the field and the nearest allowed value."""
    recipe: Trained = read_recipe(path, AnyRecipe, overrides)
    return recipe


def run_recipe(recipe: Trained, folder: Path, *, resume: bool = False, allow_leak: bool = False) -> Path:
    """Train, calibrate, test, write the card. Returns the model's folder. Raises as the steps do."""
    match recipe:
        case DetectionRecipe():
            quality = quality_for(recipe.network.centroids)
            model = train_detector(recipe, folder, resume=resume, allow_leak=allow_leak, quality=quality)
        case RetrievalRecipe():
            model = train_retrieval(recipe, folder, resume=resume, allow_leak=allow_leak)
        case SpeakerRecipe():
            model = train_embedder(recipe, folder, resume=resume, allow_leak=allow_leak)
        case SpeakerTraitsRecipe():
            model = train_traits(recipe, folder, resume=resume, allow_leak=allow_leak)
        case AgeRecipe():
            model = train_age(recipe, folder, resume=resume, allow_leak=allow_leak)
        case PersonalVadRecipe():
            model = train_personal_vad(recipe, folder, resume=resume, allow_leak=allow_leak)
        case SoundClassRecipe():
            model = train_sound_classes(recipe, folder, resume=resume, allow_leak=allow_leak)
        case EmotionRecipe():
            model = train_emotion(recipe, folder, resume=resume, allow_leak=allow_leak)
        case SpeechLlmRecipe():
            model = teach(recipe, folder, resume=resume, allow_leak=allow_leak)
        case TextDecoderRecipe():
            return pretrain_decoder(recipe, folder, resume=resume)  # a language model in transformers' form: no card
        case InversionRecipe():
            model = run_inversion(recipe, folder, resume=resume)
    assess_run(folder)
    return model


def assess_run(folder: str | Path, options: JudgeOptions | None = None) -> ModelInfo:
    """Test the model of a run on what its recipe held out, and write its card. Raises `ModelError` and `DataError`."""
    folder = Path(folder)
    model = folder / "model"
    return write_card(model, _assessed(model, folder, options))


def _assessed(model: Path, folder: Path, options: JudgeOptions | None) -> Outcome:
    task = verify_model(model).task
    if (folder / "fit" / DIVERSITY).is_file() and task != "sound-class":
        return Outcome(inconclusive=(UNTESTED,))
    match task:
        case "deepfake":
            assess = assess_committee if (folder / ROWS).is_file() else assess_detector
            return assess(model, folder, options)
        case "speaker":
            return assess_embedder(model, folder, options)
        case "speaker-traits":
            return assess_traits(model, folder, options)
        case "personal-vad":
            return assess_personal_vad(model, folder, options)
        case "age":
            return assess_age(model, folder, options)
        case "emotion":
            return assess_emotion(model, folder, options)
        case "speech-llm":
            return assess_taught(model, folder, options)
        case "sound-class":
            return assess_sounds(model, folder)
        case other:
            raise ModelError(f"no room of this version tests '{other}'", where=model)
