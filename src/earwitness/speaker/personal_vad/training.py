"""From a recipe to the model folder of a personal VAD: voices, mixtures, training. Test data is not touched here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from earwitness.audio.speech import EnergyRule
from earwitness.core.records import RunRecord
from earwitness.corpora.batches import UtteranceDataset, UtteranceOptions
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.identities import TRAINING_SPEAKERS, speaker_keys
from earwitness.speaker.personal_vad.examples import Cast, MixtureBatches, Sizes
from earwitness.speaker.personal_vad.folder import TASK, VERIFIER, VerifierInfo, read_verifier
from earwitness.speaker.personal_vad.hearing import LONG_WINDOWS
from earwitness.speaker.personal_vad.recipe import PersonalVadRecipe
from earwitness.speaker.personal_vad.task import PersonalVadTask, PersonalVadTrainee
from earwitness.speaker.personal_vad.transform import projection
from earwitness.speaker.personal_vad.verifier import FrozenVerifier
from earwitness.speaker.training import speaker_means
from earwitness.training.data import SplitData, read_split
from earwitness.training.describing import sources_of
from earwitness.training.loop import FitResult, fit, seed_run
from earwitness.training.model_folder import ModelInfo, read_model_info, save_model
from earwitness.training.shipped import find_model
from earwitness.training.tensors import trained_state

DEV_SEED = 1  # beside the recipe's: dev mixtures are drawn apart from those that are learnt from
LIMITS = (
    "proof of identity: conditioned on a voice, it looks for that voice, which is confirmation by design",
    "saying that a speaker is not in a recording",
    "transcripts or who-spoke-when of several speakers: it marks one voice, and only where the verifier knows it",
)


def train_personal_vad(
    recipe: PersonalVadRecipe, folder: str | Path, *, resume: bool = False, allow_leak: bool = False
) -> Path:
    """Train, and write `folder/model`; beside it the manifests of the sides.

    Gives the model's folder. Raises `DataError`, `LeakError`, `ModelError`, `RecipeError` and `UsageError` as the steps
    do.
    """
    folder = Path(folder)
    of_verifier = find_model(recipe.verifier)
    verifier, known, files = read_verifier(of_verifier)
    rate = read_model_info(of_verifier).rate
    data = read_split(recipe.data, recipe.split, "speaker", allow_leak=allow_leak)
    folder.mkdir(parents=True, exist_ok=True)
    data.write(folder)
    voices = None
    if recipe.transform == "pca" or recipe.hard_negatives is not None:
        voices = speaker_means(Embedder.load(of_verifier), data.train)
    train, dev = mixture_batches(recipe, data, rate, voices)
    trainee = build_trainee(recipe, verifier, voices)
    result = fit(trainee, PersonalVadTask(recipe.losses), train, dev, recipe, folder / "fit", resume=resume)
    info = _described(recipe, data, known, result, rate)
    model = folder / "model"
    save_model(model, info, trained_state(trainee.vad), half=True, files=files)
    return model


def build_trainee(
    recipe: PersonalVadRecipe, verifier: FrozenVerifier, voices: dict[str, Vectors] | None
) -> PersonalVadTrainee:
    """G as it begins, and S. `voices`: the training speakers' unit means, for the transform. Raises `RecipeError`."""
    means = np.stack(list(voices.values())) if voices and recipe.transform == "pca" else None
    fixed = projection(verifier.dim, recipe.network.condition, recipe.seed, means)
    seed_run(recipe.seed, "init")
    return PersonalVadTrainee(recipe.network.build(verifier.features_dim, fixed), verifier, recipe.losses)


def mixture_batches(
    recipe: PersonalVadRecipe, data: SplitData, rate: int, voices: dict[str, Vectors] | None
) -> tuple[MixtureBatches, MixtureBatches]:
    """What is learnt from, and dev. Raises `DataError` where a side has too few voices."""
    hard, loop = recipe.hard_negatives, recipe.loop
    learnt, judged = (_utterances(side, rate) for side in (data.train, data.dev))
    train = MixtureBatches(
        learnt,
        Cast.of(learnt, voices if hard is not None else None),
        recipe.mixing,
        Sizes(recipe.draws, loop.batch_size),
        recipe.seed,
        hard,
        loop.workers,
    )
    of_dev = Sizes(recipe.dev_draws, loop.batch_size)
    dev = MixtureBatches(judged, Cast.of(judged), recipe.mixing, of_dev, recipe.seed + DEV_SEED)
    return train, dev


def _utterances(side: Manifest, rate: int) -> UtteranceDataset:
    return UtteranceDataset(side, UtteranceOptions(rate=rate, trim=EnergyRule(), keep_in_memory=True))


def _described(
    recipe: PersonalVadRecipe, data: SplitData, verifier: VerifierInfo, result: FitResult, rate: int
) -> ModelInfo:
    record = RunRecord.make(
        f"train {recipe.name}",
        recipe.model_dump(mode="json"),
        seed=recipe.seed,
        inputs={"train": data.train.sha256, "dev": data.dev.sha256, "test": data.test.sha256},
        weights=[verifier.reference],
        definitions={"eer": "over dev mixtures and impostors, as drawn by the recipe"},
        licences=sorted({source.licence for source in sources_of(data)}),
        notes=[*data.notes, *(f"dev {name} {value:.4f}" for name, value in result.metrics.items())],
    )
    return ModelInfo(
        name=recipe.name,
        task=TASK,
        summary=recipe.notes,
        network=recipe.network.model_dump(mode="json"),
        rate=rate,
        windows=LONG_WINDOWS,
        polarity="higher = same speaker",
        licence=recipe.licence,
        data=sources_of(data),
        limits=LIMITS,
        extra={
            VERIFIER: verifier.model_dump(mode="json"),
            TRAINING_SPEAKERS: speaker_keys(data.train.table["speaker"].drop_nulls()),
        },
        training=record.plain(),
    )
