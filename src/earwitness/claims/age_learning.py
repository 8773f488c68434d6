"""Arms that are age recipes: a small perceptron on kept utterance features, trained by the same loop, tasks and losses
as any other age model.

A recipe here is an `AgeRecipe` whose one branch has the front-end `kept`. An utterance is the mean over a crop of its
kept frames, of several hidden states side by side, in units of the training side's deviation; a training batch holds
each utterance as often as the recipe has `views`, another crop each. Dev and test recordings are heard whole (their
first 4 s).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from earwitness.claims.ages import AgeMaterial
from earwitness.claims.material import Places
from earwitness.claims.store import Halves
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.samplers import BalancedSampler
from earwitness.metrics.scores import Floats
from earwitness.paralinguistic.age_recipe import AgeRecipe
from earwitness.paralinguistic.age_task import AgeTrainee
from earwitness.paralinguistic.age_training import build_trainee
from earwitness.paralinguistic.regularised import Regression, regularised
from earwitness.training.loop import fit

CROP = 10
"""Kept frames (2 s) that a training step hears of an utterance."""
STATES = (1, 2, 3, 4)
"""Hidden states that are heard; the one before the first layer is left out."""
AT_ONCE = 128
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Utterances:
    """`frames` [R, T, F] of all rows of a material, with the mean and deviation [F] of the training side's."""

    frames: Halves
    mean: Values
    deviation: Values

    @classmethod
    def of(cls, kept: Halves, train: Places) -> Utterances:
        """From kept frames [R, S, T, D]; states stand side by side, F = S D."""
        states = kept[:, STATES] if kept.shape[1] > max(STATES) else kept
        frames = np.moveaxis(states, 1, 2).reshape(len(states), states.shape[2], -1)
        means = frames[train].mean(axis=1, dtype=np.float32)
        return cls(frames, means.mean(axis=0), means.std(axis=0) + np.float32(1e-3))

    def whole(self, rows: Places) -> torch.Tensor:
        """[n, F]."""
        return self._normal(self.frames[rows].mean(axis=1, dtype=np.float32))

    def crops(self, rows: Places, rng: np.random.Generator) -> torch.Tensor:
        """[n, F], each of another crop."""
        length = min(CROP, self.frames.shape[1])
        starts = rng.integers(0, self.frames.shape[1] - length + 1, len(rows))
        cut = np.stack([self.frames[row, start : start + length] for row, start in zip(rows, starts, strict=True)])
        return self._normal(cut.mean(axis=1, dtype=np.float32))

    def _normal(self, means: Values) -> torch.Tensor:
        return torch.from_numpy((means - self.mean) / self.deviation)


@dataclass(frozen=True)
class LearntAges:
    """A trained network; the ages [N] that it says of the rows that the seed tests, their embeddings [N, D], and what
    it hears of all rows."""

    trainee: AgeTrainee
    rows: Places
    answers: NDArray[np.float64]
    embeddings: torch.Tensor
    heard: Utterances

    @torch.inference_mode()
    def log_distribution(self, rows: Places) -> torch.Tensor:
        """What is said of any rows [n], heard whole: log-probabilities over the grid, [n, K]."""
        return self.trainee.criterion.log_distribution(self.trainee(self.heard.whole(rows)).outputs)


def learn_ages(
    recipe: AgeRecipe, material: AgeMaterial, setting: str, folder: Path, labels: Floats | None = None
) -> LearntAges:
    """Train on the sides of the recipe's seed; epochs are chosen on dev as the recipe says.

    `labels` [R], in the place of the material's ages, are what training rows are called; dev keeps its true ages.
    """
    sides = material.sides(recipe.seed, setting)
    labels = material.ages if labels is None else labels
    side = material.rows.table[sides.train].with_columns(age=pl.Series(labels[sides.train]))
    heard = Utterances.of(material.features(), sides.train)
    train = AgeBatches.of(recipe, heard, material, sides.train, labels)
    trainee, task = build_trainee(recipe, material.rows.with_table(side))
    parts = Regression(trainee.network, trainee.criterion, task.ages)
    learning = regularised(recipe.regularise, task, parts, labels[sides.train].tolist(), train)
    fit(trainee, learning, train, WholeAges(heard, material.ages, sides.dev), recipe, folder, resume=folder.exists())
    with torch.inference_mode():
        found = trainee.eval()(heard.whole(sides.test))
        answers = trainee.criterion.mean(found.outputs).double().numpy()
    return LearntAges(trainee, sides.test, np.asarray(answers), found.embedding, heard)


@dataclass(frozen=True)
class AgeBatches:
    """`TrainData` over kept features: crops are drawn by (seed, epoch, place in the epoch). `ages` [R] of all rows."""

    heard: Utterances
    ages: Floats
    rows: Places
    order: BalancedSampler
    views: int

    @classmethod
    def of(
        cls,
        recipe: AgeRecipe,
        heard: Utterances,
        material: AgeMaterial,
        rows: Places,
        labels: Floats | None = None,
    ) -> AgeBatches:
        """The rows of the training side, drawn as the recipe balances them; `labels` [R] instead of their ages."""
        side = material.rows.with_table(material.rows.table[rows])
        order = BalancedSampler(side, recipe.balance, recipe.loop.batch_size, recipe.seed, recipe.draws)
        ages = material.ages if labels is None else labels
        return cls(heard, ages, rows, order, recipe.regularise.views)

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self.order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places of the epoch's order."""
        batches = self.order.batches(epoch)
        for place in places:
            rows = np.tile(self.rows[np.array(batches[place])], self.views)
            rng = np.random.default_rng([self.order.seed, epoch, place])
            yield age_batch(self.heard.crops(rows, rng), self.ages[rows], rows)


@dataclass(frozen=True)
class WholeAges:
    """All rows of one side once, in order, heard whole: dev data for `fit`."""

    heard: Utterances
    ages: Floats
    rows: Places

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.rows), AT_ONCE):
            part = self.rows[start : start + AT_ONCE]
            yield age_batch(self.heard.whole(part), self.ages[part], part)


def age_batch(values: torch.Tensor, ages: Floats, rows: Places) -> Batch:
    """Features [n, F] of rows with their ages [n], each one frame."""
    targets = Targets(age=torch.from_numpy(ages).float())
    return Batch(values, torch.full((len(values),), values.shape[1]), targets, tuple(str(row) for row in rows))
