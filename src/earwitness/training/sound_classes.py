"""Classes of sound: digits, sirens, dogs. A recipe, its training, and the model that names what it hears.

    recipe = read_recipe("recipes/published/sound-class-fsdd.yaml", SoundClassRecipe)
    model = train_sound_classes(recipe, "runs/digits")
    SoundClassifier.load(model).classify(samples, rate)

Such a model is the teacher that data-free distillation is told by (`training.inversion`), and its student.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.audio.reading import unhashed
from earwitness.audio.windows import Tile, WindowPolicy, cut
from earwitness.core.errors import DataError, ModelError
from earwitness.corpora.batch import Batch
from earwitness.corpora.batches import UtteranceDataset, Vocabulary
from earwitness.corpora.leaks import audio_hashes, require_no_leaks
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.sounds import SOUND
from earwitness.corpora.samplers import BalancedSampler
from earwitness.corpora.splits import ByColumn, split
from earwitness.corpora.splits.given_folds import GivenFolds
from earwitness.nn.frontends import LogMelConfig
from earwitness.nn.network import Network, NetworkConfig
from earwitness.training.data import (
    EpochBatches,
    FixedBatches,
    SplitData,
    read_rows,
    sides_from,
    utterance_options,
    whole_utterances,
)
from earwitness.training.describing import describe
from earwitness.training.inversion.space import INPUT_RANGE, RangeConfig
from earwitness.training.loop import fit, seed_run
from earwitness.training.model_folder import ModelInfo, load_network, read_model_info, save_model
from earwitness.training.recipe import UtteranceRecipe
from earwitness.training.task import Losses, Metrics

TASK = "sound-class"
CLASSES = "classes"  # in the `extra` of model.json

SoundSplit = Annotated[GivenFolds | ByColumn, Field(discriminator="kind")]


class SoundClassRecipe(UtteranceRecipe):
    """`column` names the class of each row. With `standardise` log-mel features are brought to zero mean and unit
    deviation by the training side's own, which then stand in the model's front-end.

    The network needs no `outputs`: there are as many as the training side has classes.
    """

    task: Literal["sound-class"]
    column: str = "sound"
    split: SoundSplit
    standardise: bool = True
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    balance: tuple[str, ...] = ("sound",)
    windows: WindowPolicy = Tile(length_s=1.0)

    @model_validator(mode="after")
    def _log_mel_to_standardise(self) -> SoundClassRecipe:
        frontends = [branch.frontend for branch in self.network.branches]
        if self.standardise and not all(isinstance(frontend, LogMelConfig) for frontend in frontends):
            raise ValueError("`standardise` needs log_mel front-ends; set it to false for others")
        return self


class SoundClassTask:
    """Cross-entropy of the class; accuracy on dev."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self._criterion = nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """One term, `classes`. Raises `DataError` for a row without a class."""
        assert batch.targets.sound is not None
        if bool((batch.targets.sound < 0).any()):
            raise DataError("a sound classifier is trained on rows with a class only", fix="Fill the class's column.")
        return Losses({"classes": self._criterion(model(batch.waveforms, batch.lengths), batch.targets.sound)})

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """Share of dev crops that are named rightly."""
        right: list[Tensor] = []
        for batch in batches:
            right.append((model(batch.waveforms, batch.lengths).argmax(1) == batch.targets.sound).float())
        return Metrics({"accuracy": float(torch.cat(right).mean())})


def train_sound_classes(
    recipe: SoundClassRecipe, folder: str | Path, *, resume: bool = False, allow_leak: bool = False
) -> Path:
    """Train as the recipe says and write `folder/model`; beside it the tables of the sides. Dev may be empty.

    Gives the model's folder. Raises `DataError`, `LeakError`, `RecipeError` and `UsageError`.
    """
    folder = Path(folder)
    data = read_sides(recipe, allow_leak)
    folder.mkdir(parents=True, exist_ok=True)
    data.write(folder)
    names = Vocabulary.of(data.train, SOUND)
    _require_known(data, names)
    config = network_of(recipe, data.train, len(names))
    seed_run(recipe.seed, "init")
    network = config.build()
    train, dev = batches(recipe, data.train, names), None
    if len(data.dev):
        options = replace(utterance_options(recipe), crop_from="start", perturbation=None)
        heard = UtteranceDataset(data.dev, options, sounds=classes_of(data.dev, names))
        dev = FixedBatches([heard], recipe.loop.batch_size, recipe.loop.workers)
    result = fit(network, SoundClassTask(recipe.label_smoothing), train, dev, recipe, folder / "fit", resume=resume)
    trained = recipe.model_copy(update={"network": config})
    info = describe(trained, data, result.metrics, "none")
    extra = {CLASSES: list(names.names), **({INPUT_RANGE: RangeConfig().model_dump()} if recipe.standardise else {})}
    save_model(folder / "model", info.model_copy(update={"extra": extra}), network.trainable_state())
    return folder / "model"


def read_sides(recipe: SoundClassRecipe, allow_leak: bool = False) -> SplitData:
    """Rows on their sides, guarded by speaker, source recording and audio. The class is put into the column `sound`.

    Raises `DataError` for a column that is not there, `LeakError` for a leak.
    """
    manifest, notes = read_rows(recipe.data)
    manifest = with_class(manifest, recipe.column)
    if recipe.data.split_file is None:
        manifest = split(manifest, recipe.split)
    else:
        manifest = sides_from(manifest, recipe.data.split_file)
    leaks = require_no_leaks(manifest, "manner", (), audio_hashes(manifest), allow_leak)
    notes += [f"leak allowed by name: {leak}" for leak in leaks]
    train, dev, test = (manifest.filter(pl.col("split") == name) for name in ("train", "dev", "test"))
    if not len(train):
        raise DataError("no row stands on the side 'train'", fix="Check the recipe's split and its data.")
    return SplitData(train, dev, test, tuple(notes))


def with_class(manifest: Manifest, column: str) -> Manifest:
    """The manifest with its class in the column `sound`. Raises `DataError` where `column` is not there."""
    if column not in manifest.table.columns:
        raise DataError(f"there is no column `{column}` to take classes from", fix="Name another `column`.")
    return manifest.with_table(manifest.table.with_columns(pl.col(column).cast(pl.String).alias(SOUND)))


def classes_of(manifest: Manifest, names: Vocabulary) -> Mapping[str, int]:
    """The class of each row by its id; -1 for one that has none, or one that is not known."""
    pairs = manifest.table.select("id", SOUND).iter_rows()
    return {name: names.index(value) for name, value in pairs}


def batches(recipe: SoundClassRecipe, side: Manifest, names: Vocabulary) -> EpochBatches:
    """The training side by the recipe's crops, perturbations and balance."""
    heard = UtteranceDataset(side, utterance_options(recipe), sounds=classes_of(side, names))
    order = BalancedSampler(side, recipe.balance, recipe.loop.batch_size, recipe.seed, recipe.draws)
    return EpochBatches(heard, order, recipe.loop.workers)


def network_of(recipe: SoundClassRecipe, train: Manifest, classes: int) -> NetworkConfig:
    """The recipe's network with as many outputs as there are classes, and the standards of its front-ends."""
    branches = list(recipe.network.branches)
    if recipe.standardise:
        standards = _standards(recipe, train)
        branches = [
            branch.model_copy(update={"frontend": branch.frontend.model_copy(update={"standard": standard})})
            for branch, standard in zip(branches, standards, strict=True)
        ]
    return recipe.network.model_copy(update={"branches": branches, "outputs": classes})


@torch.no_grad()
def _standards(recipe: SoundClassRecipe, train: Manifest) -> list[tuple[float, float]]:
    """Mean and deviation of each front-end's features over the training side, whole and unperturbed."""
    frontends = [branch.frontend.build() for branch in recipe.network.branches]
    sums = np.zeros((len(frontends), 3))
    for item in whole_utterances(recipe, train):
        for place, frontend in enumerate(frontends):
            if len(item.samples) >= frontend.shortest:
                values = frontend(item.samples[None]).values.double()
                sums[place] += values.numel(), float(values.sum()), float(values.square().sum())
    if not sums[:, 0].all():
        raise DataError("no training recording is long enough for a frame", fix="Give longer recordings.")
    means = sums[:, 1] / sums[:, 0]
    deviations = np.sqrt(np.maximum(sums[:, 2] / sums[:, 0] - means**2, 1e-12))
    return [(float(mean), float(deviation)) for mean, deviation in zip(means, deviations, strict=True)]


def _require_known(data: SplitData, names: Vocabulary) -> None:
    """No class of dev or test that training never saw, and no row without one."""
    for side, rows in (("train", data.train), ("dev", data.dev), ("test", data.test)):
        for name, place in classes_of(rows, names).items():
            if place < 0:
                raise DataError(f"row '{name}' on the side '{side}' has a class that training does not know, or none")


@dataclass(frozen=True)
class Named:
    """What a classifier hears: `probabilities` [K] of its `classes`, and the most probable one."""

    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]

    @property
    def name(self) -> str:
        """The most probable class."""
        return self.classes[int(self.probabilities.argmax())]


class SoundClassifier:
    """A sound network with its classes and window policy: a recording goes in, a class comes out."""

    def __init__(self, network: Network, info: ModelInfo) -> None:
        self.network, self.info = network.eval(), info
        self.classes = tuple(str(name) for name in _listed(info))

    @classmethod
    def load(cls, folder: str | Path) -> SoundClassifier:
        """From a model folder. Raises `ModelError` where it is altered, incomplete or of another task."""
        info = read_model_info(folder)
        if info.task != TASK:
            raise ModelError(f"this model answers '{info.task}', not '{TASK}'", where=folder)
        return cls(load_network(folder, info), info)

    @torch.inference_mode()
    def classify(self, samples: ArrayLike, rate: int) -> Named:
        """Mean over windows of the class probabilities. Raises `AudioError` for what is too short for a frame."""
        heard = unhashed(np.asarray(samples), rate, self.info.rate)
        windows = cut(heard.samples, heard.rate, self.info.windows)
        probabilities = [
            self.network(torch.from_numpy(np.ascontiguousarray(window.samples))[None]).softmax(1)[0]
            for window in windows
        ]
        return Named(self.classes, np.asarray(torch.stack(probabilities).mean(0).double().numpy()))


def _listed(info: ModelInfo) -> list[object]:
    names = info.extra.get(CLASSES)
    if not isinstance(names, list):
        raise ModelError("does not name its classes", where=info.name, fix="Train it again.")
    return list(names)
