"""Heads on frozen parts, judged on every speaker: each is left out once, and what ships has heard them all.

Rows are put into folds, whole speakers and recordings together. The frozen branches hear each row once a view
(`training.pooled`); a head is then trained for every fold on the others' vectors, and says what it makes of the fold.
Those outputs are what the model is calibrated and judged by. The head that ships learns from all rows, so it knows a
little more than the ones that were judged.

    pooled/          the vectors            fold-N/, fit/    the runs' checkpoints
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.batches import sex_class
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.samplers import BalancedSampler, BatchOrder
from earwitness.corpora.splits.grouping import connected, draw
from earwitness.nn.frontends import KeptConfig
from earwitness.nn.network import BranchConfig, NetworkConfig
from earwitness.nn.pooling import MeanConfig
from earwitness.training.loop import fit
from earwitness.training.pooled import Vectors, View, pooled_vectors
from earwitness.training.processes import require_one_process
from earwitness.training.recipe import UtteranceRecipe
from earwitness.training.task import Task

LEFT_OUT = "left-out.parquet"  # in the run: what was made of each row
TOGETHER = ("speaker", "split_group", "source_recording")
Folds = NDArray[np.int64]
M = TypeVar("M", bound=nn.Module)


class LeftOutConfig(Config):
    """`folds` of speakers; with as many folds as speakers each is left out alone. `views`: how each row is heard in
    training, `clean` first. Left-out rows are judged under every view that is a condition, from their start and cut to
    the recipe's `audio.crop_s`."""

    folds: int = Field(10, ge=2)
    views: tuple[View, ...] = ("clean",)
    seed: int = 0

    @field_validator("views")
    @classmethod
    def _clean_first(cls, views: tuple[View, ...]) -> tuple[View, ...]:
        if not views or views[0] != "clean":
            raise ValueError("the first of the views is `clean`")
        return views

    @property
    def judged(self) -> tuple[str, ...]:
        """The conditions under which left-out rows are judged, `clean` first."""
        return tuple(view for view in self.views if isinstance(view, str))

    def assign(self, rows: Manifest) -> Folds:
        """The fold of each row [R]. Groups, the largest first, go to the smallest fold; equal ones in an order drawn by
        the seed. Raises `DataError` where there are fewer groups than folds."""
        keys = [
            [f"{column}:{value}" for column, value in zip(TOGETHER, row, strict=True) if value is not None]
            for row in rows.table.select(TOGETHER).iter_rows()
        ]
        groups = [group or f"id:{name}" for group, name in zip(connected(keys), rows.table["id"], strict=True)]
        names, sizes = np.unique(groups, return_counts=True)
        if len(names) < self.folds:
            raise DataError(f"{len(names)} speakers cannot be put into {self.folds} folds", fix="Ask for fewer folds.")
        order = sorted(range(len(names)), key=lambda i: (-sizes[i], draw(self.seed, str(names[i]))))
        counts, fold_of = np.zeros(self.folds, np.int64), {}
        for place in order:
            fold = int(counts.argmin())
            fold_of[str(names[place])] = fold
            counts[fold] += sizes[place]
        return np.array([fold_of[group] for group in groups])


@dataclass(frozen=True)
class KeptRows:
    """`TrainData` over kept vectors [R, V, D]: what stands in a batch as waveforms are vectors [B, D], the view of each
    row drawn by (seed, epoch, place). Targets are age and sex; a task that wants others finds them by the ids."""

    vectors: Vectors
    ids: tuple[str, ...]
    ages: NDArray[np.float32]
    sexes: NDArray[np.int64]
    order: BatchOrder

    @classmethod
    def of(cls, rows: Manifest, vectors: Vectors, order: BatchOrder) -> KeptRows:
        """All rows, drawn as the order says."""
        ages = rows.table["age"].cast(float).fill_null(float("nan")).to_numpy().astype(np.float32)
        sexes = np.array([sex_class(word) for word in rows.table["sex"]], np.int64)
        return cls(vectors, tuple(rows.table["id"]), ages, sexes, order)

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self.order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places of the epoch's order."""
        batches = self.order.batches(epoch)
        for place in places:
            rng = np.random.default_rng([self.order.seed, epoch, place])
            rows = np.array(batches[place])
            values = self.vectors[rows, rng.integers(self.vectors.shape[1], size=len(rows))].astype(np.float32)
            targets = Targets(age=torch.from_numpy(self.ages[rows]), sex=torch.from_numpy(self.sexes[rows]))
            lengths = torch.full((len(rows),), values.shape[1])
            yield Batch(torch.from_numpy(values), lengths, targets, tuple(self.ids[row] for row in rows))


@dataclass(frozen=True)
class Pupil(Generic[M]):
    """What is trained on vectors: `build` gives a module and its task for training rows, from a network over `kept`
    vectors; `outputs` what the module makes of vectors, [B, D] -> [B, O]. `relative`: of each vector the mean of its
    speaker's in the same view is taken away first, left-out speakers' too."""

    build: Callable[[NetworkConfig, Manifest], tuple[M, Task]]
    outputs: Callable[[M, Tensor], Tensor]
    relative: bool = False


@dataclass(frozen=True)
class LeftOut(Generic[M]):
    """`module` learnt from all rows; `outputs` [C, R, O] are of each row under each of the judged conditions, by the
    module that left out its `folds` [R]."""

    module: M
    folds: Folds
    outputs: NDArray[np.float64]


def learn_left_out(
    recipe: UtteranceRecipe, config: LeftOutConfig, rows: Manifest, pupil: Pupil[M], folder: Path, *, resume: bool
) -> LeftOut[M]:
    """Hear all rows, train a head a fold and one on everything. Killed and resumed it goes on where it was.

    Raises `RecipeError` for a network whose branches learn and for several devices, `DataError` and `AudioError` as
    the steps do.
    """
    require_one_process(recipe.loop, "a recipe with left-out scores")
    folds = config.assign(rows)
    vectors = pooled_vectors(recipe.network.build(), recipe, rows, config.views, folder / "pooled")
    if pupil.relative:
        vectors = less_own(vectors, rows.table["speaker"].to_list())
    over = over_kept(recipe.network, vectors.shape[2])

    def learnt(chosen: NDArray[np.bool_], name: str) -> M:
        part = rows.with_table(rows.table.filter(chosen))
        module, task = pupil.build(over, part)
        order = BalancedSampler(part, recipe.balance, recipe.loop.batch_size, recipe.seed, recipe.draws)
        fit(module, task, KeptRows.of(part, vectors[chosen], order), None, recipe, folder / name, resume=resume)
        return module.eval()

    judged = [config.views.index(name) for name in config.judged]
    outputs: list[NDArray[np.float64] | None] = [None] * len(rows)
    for fold in range(config.folds):
        module = learnt(folds != fold, f"fold-{fold}")
        for row in np.flatnonzero(folds == fold):
            with torch.inference_mode():
                found = pupil.outputs(module, torch.from_numpy(vectors[row, judged].astype(np.float32)))
            outputs[row] = found.double().numpy()
    everything = learnt(np.ones(len(rows), bool), "fit")
    stacked = np.stack([values for values in outputs if values is not None], axis=1)
    return LeftOut(everything, folds, stacked)


def less_own(vectors: Vectors, speakers: Sequence[str]) -> Vectors:
    """Vectors [R, V, D] without the mean of their speaker's, view by view."""
    found, names = vectors.astype(np.float32), np.array(speakers)
    for name in np.unique(names):
        found[names == name] -= found[names == name].mean(axis=0)
    return found.astype(np.float16)


def over_kept(network: NetworkConfig, dim: int) -> NetworkConfig:
    """The same network over its branches' vectors [B, dim], which are handed in as if they were waveforms."""
    branch = BranchConfig(frontend=KeptConfig(dim=dim, frames_per_second=1.0), pooling=MeanConfig())
    return network.model_copy(update={"branches": [branch]})
