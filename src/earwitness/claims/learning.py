"""Arms that are recipes: a detector's back-end trained on kept frames, by the same loop, tasks and losses as any other.

A recipe here is a `DetectionRecipe` whose one branch has the front-end `kept`; `loop.batch_size` counts utterances.
Crops of `CROP` frames are drawn for training; dev and test recordings are heard whole (their first 4 s).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earwitness.claims.material import DetectionMaterial, Places
from earwitness.claims.store import Halves
from earwitness.claims.views import View
from earwitness.core.config import parse_config
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.quality import QualityLevels
from earwitness.corpora.samplers import BalancedSampler
from earwitness.deepfake.material import material_of
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.scores import bona_fide_score
from earwitness.deepfake.task import task_of
from earwitness.nn.network import Network
from earwitness.training.loop import FitResult, fit, seed_run
from earwitness.training.recipe import assign

CROP = 100
"""Frames (2 s) that a training step hears of a recording."""
AT_ONCE = 32


@dataclass(frozen=True)
class Heard:
    """What a recipe learns from: one array of frames [R, T, D] a view, the first of them clean.

    Each time an utterance comes one of `drawn` is taken (views by place). With two `paths` it comes as it is, then as
    one of `drawn`, cut at the same place.
    """

    views: tuple[Halves, ...]
    drawn: tuple[int, ...] = (0,)
    paths: int = 1

    @classmethod
    def of(cls, material: DetectionMaterial, state: int, views: Sequence[View], paths: int = 1) -> Heard:
        """One hidden state; all views are drawn alike, or, with two paths, all but the first."""
        arrays = tuple(material.kept(view).state(state) for view in views)
        return cls(arrays, tuple(range(paths - 1, len(arrays))), paths)


def recipe_of(base: dict[str, Any], changes: Sequence[str], seed: int) -> DetectionRecipe:
    """A base recipe with `key.sub=value` changes, as on the command line. Raises `RecipeError`."""
    data = base
    for change in changes:
        data = assign(data, change)
    recipe: DetectionRecipe = parse_config(DetectionRecipe, {**data, "seed": seed})
    return recipe


@dataclass(frozen=True)
class Learnt:
    """A trained network, and the run that trained it."""

    network: Network
    result: FitResult


def learn(recipe: DetectionRecipe, heard: Heard, material: DetectionMaterial, folder: Path) -> Learnt:
    """Train on the sides of the recipe's seed; epochs are chosen on dev as the recipe says."""
    sides = material.sides(recipe.seed)
    seed_run(recipe.seed, "init")
    network = recipe.network.build()
    needed = material_of(recipe, material.rows.with_table(material.rows.table[sides.train]))
    train = FrameBatches.of(recipe, heard, material, sides.train, needed.levels)
    dev = WholeFrames(heard.views[0], material.labels, sides.dev)
    result = fit(network, task_of(recipe, needed), train, dev, recipe, folder, resume=folder.exists())
    return Learnt(network.eval(), result)


@torch.inference_mode()
def scored(network: Network, frames: Halves, places: Places) -> NDArray[np.float64]:
    """Scores of rows heard whole, [N]."""
    found = [bona_fide_score(network(flat(frames[part]), None)) for part in _parts(places)]
    return np.asarray(torch.cat(found).double().cpu().numpy())


def flat(frames: NDArray[np.float16]) -> Tensor:
    """[B, T, D] -> [B, T * D] float32, as the front-end `kept` takes them."""
    return torch.from_numpy(frames.astype(np.float32)).flatten(1)


@dataclass(frozen=True)
class FrameBatches:
    """`TrainData` over kept frames: places and crops are drawn by (seed, epoch, place in the epoch)."""

    heard: Heard
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    rows: Places
    order: BalancedSampler
    levels: QualityLevels | None = None

    @classmethod
    def of(
        cls,
        recipe: DetectionRecipe,
        heard: Heard,
        material: DetectionMaterial,
        rows: Places,
        levels: QualityLevels | None = None,
    ) -> FrameBatches:
        """The rows of the training side, drawn as the recipe balances them; `levels` of quality, for QAMO."""
        part = material.rows.with_table(material.rows.table[rows])
        order = BalancedSampler(part, recipe.balance, recipe.loop.batch_size, recipe.seed, recipe.draws)
        return cls(heard, material.labels, tuple(material.rows.table["id"]), rows, order, levels)

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self.order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places of the epoch's order."""
        batches = self.order.batches(epoch)
        for place in places:
            rng = np.random.default_rng([self.order.seed, epoch, place])
            yield self._batch(self.rows[np.array(batches[place])], rng, epoch)

    def _batch(self, rows: Places, rng: np.random.Generator, epoch: int) -> Batch:
        whole = self.heard.views[0].shape[1]
        starts = rng.integers(0, whole - CROP + 1, len(rows))
        drawn = rng.choice(self.heard.drawn, len(rows))
        paths = [np.zeros(len(rows), np.int64), drawn] if self.heard.paths == 2 else [drawn]
        frames = np.stack(
            [
                self.heard.views[view][row, start : start + CROP]
                for views in paths
                for view, row, start in zip(views, rows, starts, strict=True)
            ]
        )
        ids = tuple(self.ids[row] for row in rows)
        targets = Targets(torch.from_numpy(np.tile(self.labels[rows], len(paths))))
        if self.levels is not None:  # with two paths the task lowers the second itself
            changed = drawn > 0 if len(paths) == 1 else np.zeros(len(rows), bool)
            found = [self.levels.of(name, bool(one), epoch) for name, one in zip(ids, changed, strict=True)]
            targets = replace(targets, quality=torch.tensor(found * len(paths)))
        return _batch(frames, targets, ids * len(paths), len(paths))


@dataclass(frozen=True)
class WholeFrames:
    """All rows of one side once, in order, heard whole: dev data for `fit`."""

    frames: Halves
    labels: NDArray[np.int64]
    rows: Places

    def __iter__(self) -> Iterator[Batch]:
        for part in _parts(self.rows):
            targets = Targets(torch.from_numpy(self.labels[part]))
            yield _batch(self.frames[part], targets, tuple(str(row) for row in part), 1)


def _batch(frames: NDArray[np.float16], targets: Targets, ids: tuple[str, ...], paths: int) -> Batch:
    values = flat(frames)
    return Batch(values, torch.full((len(values),), values.shape[1]), targets, ids, paths=paths)


def _parts(places: Places) -> list[Places]:
    return [places[start : start + AT_ONCE] for start in range(0, len(places), AT_ONCE)]
