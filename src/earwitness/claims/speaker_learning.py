"""Arms that are speaker recipes: an embedder trained on kept spectra, by the same loop, tasks and losses as any other.

A recipe here is a `SpeakerRecipe` whose one branch has the front-end `kept`. Crops of `CROP` frames are drawn for
training from the recording as it is or as one of the perturbed views hears it; dev and test recordings are heard whole
(their first 4 s), as they are. Each filter's mean over what is heard is taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.claims.learning import AT_ONCE
from earwitness.claims.material import Places
from earwitness.claims.plan import ArmRun, Figure, Plan
from earwitness.claims.recipes import BUDGET
from earwitness.claims.speakers import SpeakerMaterial
from earwitness.claims.store import Halves
from earwitness.claims.views import View
from earwitness.core.config import parse_config
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.batches import Vocabulary
from earwitness.corpora.samplers import BalancedSampler
from earwitness.nn.network import Network
from earwitness.nn.types import Embedding
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import margin_trainee
from earwitness.training.complementary_task import Classes
from earwitness.training.loop import fit, seed_run
from earwitness.training.recipe import assign
from earwitness.training.task import Task, TrainData

CROP = 200
"""Frames (2 s) that a training step hears of a recording."""
VIEWS: tuple[View, ...] = ("clean", 1, 2)
FILTERS = 80


def speaker_base(pooling: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A recipe on kept spectra: an ECAPA-TDNN of 64 channels, a pooling, an embedding of 96 values."""
    front = {"kind": "kept", "dim": FILTERS, "frames_per_second": 100.0}
    encoder = {"kind": "ecapa", "form": "ws", "channels": 64, "outputs": 192}
    return {
        "name": "claim",
        "task": "speaker",
        "data": {"manifests": ["kept spectra"]},
        "network": {
            "branches": [{"frontend": front, "encoder": encoder, "pooling": dict(pooling)}],
            "embedding": {"dim": 96},
        },
        "margin": {"kind": "aam", "margin": 0.2, "scale": 30.0},
        **BUDGET,
        "balance": ["speaker"],
        **fields,
    }


@dataclass(frozen=True)
class LearntVoices:
    """A trained network, and its embeddings of all rows that the seed tests."""

    network: Network
    rows: Places
    embedding: Embedding


@dataclass(frozen=True)
class SpeakerClaim:
    """`arms`: for each arm of the plan `key.sub=value` changes of `recipe`. Trials are scored by the cosine, or by what
    `scored_by` gives for an arm, from both sides' embeddings; `told` gives further figures of what was learnt."""

    plan: Plan
    recipe: dict[str, Any]
    arms: Mapping[str, Sequence[str]]
    scored_by: Mapping[str, Callable[[Embedding, Embedding], NDArray[np.float64]]] = field(default_factory=dict)
    told: Callable[[LearntVoices, SpeakerMaterial], tuple[Figure, ...]] = lambda *_: ()

    read = SpeakerMaterial.read

    def run(self, arm: str, seed: int, material: SpeakerMaterial, folder: Path) -> ArmRun:
        """Train, choose on dev, and score the test trials on the recordings as they are."""
        data = self.recipe
        for change in self.arms[arm]:
            data = assign(data, change)
        recipe: SpeakerRecipe = parse_config(SpeakerRecipe, {**data, "seed": seed})
        learnt = learn_voices(recipe, material, folder)
        score = self.scored_by.get(arm, cosines)
        first, second = (np.searchsorted(learnt.rows, side) for side in material.trials(seed).T)
        return ArmRun(score(part(learnt.embedding, first), part(learnt.embedding, second)), self.told(learnt, material))


Opposed = Callable[[Task, Network, Classes], Task]
"""A task, the network that it trains and its classes -> the task with what the network is opposed by."""


def learn_voices(
    recipe: SpeakerRecipe, material: SpeakerMaterial, folder: Path, opposed: Opposed = lambda task, *_: task
) -> LearntVoices:
    """Train on the sides of the recipe's seed; epochs are chosen on dev as the recipe says."""
    views = tuple(material.spectra(view) for view in VIEWS)
    train = SpectrumBatches.of(recipe, views, material, material.sides(recipe.seed).train)
    return learn_from(train, len(train.speakers), recipe, material, folder, opposed)


def learn_from(
    train: TrainData,
    classes: int,
    recipe: SpeakerRecipe,
    material: SpeakerMaterial,
    folder: Path,
    opposed: Opposed = lambda task, *_: task,
) -> LearntVoices:
    """The same from other batches than those of the training side, with so many classes in them."""
    sides, clean = material.sides(recipe.seed), material.spectra()
    dev = WholeSpectra(clean, material, sides.dev)
    seed_run(recipe.seed, "init")
    network = recipe.network.build()
    trainee, task = margin_trainee(recipe, network, classes, train)
    whole = opposed(task, network, Classes(classes, task.classes))
    fit(trainee, whole, train, dev, recipe, folder, resume=folder.exists())
    return LearntVoices(network.eval(), sides.test, embedded(network, clean, sides.test))


@torch.inference_mode()
def embedded(network: Network, energies: Halves, rows: Places) -> Embedding:
    """Embeddings [N, D] of rows heard whole, in double precision."""
    found = [network.embed(normal(energies[rows[k : k + AT_ONCE]]), None) for k in range(0, len(rows), AT_ONCE)]
    variances = [one.variance for one in found if one.variance is not None]
    mean = torch.cat([one.mean for one in found]).double()
    return Embedding(mean, torch.cat(variances).double() if len(variances) == len(found) else None)


def cosines(first: Embedding, second: Embedding) -> NDArray[np.float64]:
    """Of pairs of embeddings, [N]."""
    return np.asarray(torch.nn.functional.cosine_similarity(first.mean, second.mean).numpy())


def part(embedding: Embedding, places: NDArray[np.int64]) -> Embedding:
    """Some of the embeddings, in this order."""
    index = torch.from_numpy(places)
    return Embedding(embedding.mean[index], None if embedding.variance is None else embedding.variance[index])


def normal(energies: Halves) -> torch.Tensor:
    """[B, T, F] without each filter's mean -> [B, T * F] float32, as the front-end `kept` takes them."""
    values = torch.from_numpy(energies.astype(np.float32))
    return (values - values.mean(dim=1, keepdim=True)).flatten(1)


@dataclass(frozen=True)
class SpectrumBatches:
    """`TrainData` over kept spectra: views and crops are drawn by (seed, epoch, place in the epoch)."""

    views: tuple[Halves, ...]
    rows: Places
    classes: NDArray[np.int64]
    ids: tuple[str, ...]
    speakers: Vocabulary
    order: BalancedSampler

    @classmethod
    def of(
        cls, recipe: SpeakerRecipe, views: tuple[Halves, ...], material: SpeakerMaterial, rows: Places
    ) -> SpectrumBatches:
        """The rows of the training side, drawn as the recipe balances them."""
        side = material.rows.with_table(material.rows.table[rows])
        speakers = Vocabulary.of(side, "speaker")
        classes = np.array([speakers.index(name) for name in material.speakers])
        order = BalancedSampler(side, recipe.balance, recipe.loop.batch_size, recipe.seed, recipe.draws)
        return cls(views, rows, classes, tuple(material.rows.table["id"]), speakers, order)

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self.order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places of the epoch's order."""
        batches = self.order.batches(epoch)
        for place in places:
            rows = self.rows[np.array(batches[place])]
            rng = np.random.default_rng([self.order.seed, epoch, place])
            starts = rng.integers(0, self.views[0].shape[1] - CROP + 1, len(rows))
            drawn = rng.integers(0, len(self.views), len(rows))
            chosen = zip(drawn, rows, starts, strict=True)
            crops = np.stack([self.views[view][row, start : start + CROP] for view, row, start in chosen])
            yield spectrum_batch(crops, self.classes[rows], tuple(self.ids[row] for row in rows))


@dataclass(frozen=True)
class WholeSpectra:
    """All rows of one side once, in order, heard whole: dev data for `fit`."""

    energies: Halves
    material: SpeakerMaterial
    rows: Places

    def __iter__(self) -> Iterator[Batch]:
        names = Vocabulary(tuple(sorted(set(self.material.speakers[self.rows].tolist()))))
        for start in range(0, len(self.rows), AT_ONCE):
            rows = self.rows[start : start + AT_ONCE]
            classes = np.array([names.index(name) for name in self.material.speakers[rows]])
            yield spectrum_batch(self.energies[rows], classes, tuple(str(row) for row in rows))


def spectrum_batch(energies: Halves, classes: NDArray[np.int64], ids: tuple[str, ...]) -> Batch:
    """Energies [B, T, F] with the class of each speaker, as a speaker network is trained on them."""
    values = normal(energies)
    lengths = torch.full((len(values),), values.shape[1])
    return Batch(values, lengths, Targets(speaker=torch.from_numpy(classes)), ids)
