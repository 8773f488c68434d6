"""ACoRL's claim (arXiv 2404.15704, rebuilt): a second model that was kept from learning what the first one knows adds
more to their fusion than one that was merely trained again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earwitness.claims.material import ROTATIONS
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.claims.speaker_learning import LearntVoices, cosines, embedded, learn_voices, part, speaker_base
from earwitness.claims.speakers import SpeakerMaterial
from earwitness.core.config import parse_config
from earwitness.metrics.detection import eer
from earwitness.metrics.redundancy import Pairs, linear_cka, ridge_r2
from earwitness.nn.network import Network
from earwitness.nn.types import Embedding
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.training.complementary import ComplementaryConfig
from earwitness.training.complementary_task import Budget, Classes, ComplementaryTask, Member
from earwitness.training.recipe import assign
from earwitness.training.task import Task

AGAIN = 20 * ROTATIONS
"""What is added to the seed of the second model: the same sides, other weights and other draws."""
FIRST = "the first model"


@dataclass(frozen=True)
class Second:
    """The model that joins the first: none, or one opposed to it with a largest lambda (0: not opposed)."""

    opposed: float | None = 0.0
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AcorlClaim:
    """Every arm trains the first model, then its second. Trials are scored by the mean of both models' cosines, that
    is, by the cosine of both unit embeddings side by side."""

    plan: Plan
    recipe: dict[str, Any]
    seconds: Mapping[str, Second]

    read = SpeakerMaterial.read

    def run(self, arm: str, seed: int, material: SpeakerMaterial, folder: Path) -> ArmRun:
        """Train, choose on dev, and score the test trials; figures tell of the second alone and what both share."""
        second = self.seconds[arm]
        alone = self._recipe(seed, second.changes if second.opposed is None else ())
        first = learn_voices(alone, material, folder / "first")
        if second.opposed is None:
            return ArmRun(scored(first, seed, material))
        recipe = self._recipe(seed + AGAIN, second.changes)
        opposed = partial(_opposed, first.network, second.opposed, recipe)
        other = learn_voices(recipe, material, folder / "second", opposed)
        both = 0.5 * (scored(first, seed, material) + scored(other, seed, material))
        return ArmRun(both, _figures(first, other, seed, material))

    def _recipe(self, seed: int, changes: tuple[str, ...]) -> SpeakerRecipe:
        data = self.recipe
        for change in changes:
            data = assign(data, change)
        recipe: SpeakerRecipe = parse_config(SpeakerRecipe, {**data, "seed": seed})
        return recipe


def scored(learnt: LearntVoices, seed: int, material: SpeakerMaterial) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Cosines of the trials of a seed."""
    first, second = (np.searchsorted(learnt.rows, side) for side in material.trials(seed).T)
    return cosines(part(learnt.embedding, first), part(learnt.embedding, second))


def _opposed(
    member: Network, largest: float, recipe: SpeakerRecipe, task: Task, network: Network, classes: Classes
) -> Task:
    if largest == 0:
        return task
    config = ComplementaryConfig(members=(FIRST,), lambda_max=largest)
    budget = Budget(recipe.loop.epochs, recipe.optimiser.lr, recipe.seed)
    return ComplementaryTask(task, network, (Member(member, FIRST),), config, classes, budget)


def _figures(first: LearntVoices, second: LearntVoices, seed: int, material: SpeakerMaterial) -> tuple[Figure, ...]:
    """Of the second alone, and by fresh probes: how much of the first's embeddings can be read from the second's."""
    scores, same = scored(second, seed, material), material.same(material.trials(seed))
    dev = material.sides(seed).dev
    known = [embedded(one.network, material.spectra(), dev) for one in (first, second)]
    fitted = Pairs.of(_unit(known[1]), _unit(known[0]))
    held_out = Pairs.of(_unit(second.embedding), _unit(first.embedding))
    return (
        Figure("EER of the second alone, %", 100 * eer(scores[same], scores[~same]).value),
        Figure("R2 of the first from the second", ridge_r2(fitted, held_out)),
        Figure("linear CKA", linear_cka(held_out.source, held_out.target)),
    )


def _unit(embedding: Embedding) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(torch.nn.functional.normalize(embedding.mean).numpy())


_ATTENTIVE = {"kind": "attentive_statistics", "form": "ws"}
CLAIM = AcorlClaim(
    Plan(
        name="acorl",
        source="arXiv 2404.15704, a reconstruction",
        statement="Fusion gains more from a second model that may not learn what the first knows than from any second.",
        arms=(
            Arm("one", "one model"),
            Arm("one-wider", "one model with about as many weights as two"),
            Arm("independent", "two models, fused; the second differs by its seed alone"),
            Arm("alliance-0.3", "two models, fused; the second opposed to the first with lambda 0.3"),
            Arm("alliance-1", "the same, lambda 1"),
            Arm("alliance-3", "the same, lambda 3"),
        ),
        expected=(
            Expected("alliance-1", "independent", "an opposed second model adds more than an independent one"),
            Expected("alliance-0.3", "independent", "the same, lambda 0.3"),
            Expected("alliance-3", "independent", "the same, lambda 3"),
            Expected("independent", "one", "plain fusion beats one model"),
            Expected("alliance-1", "one-wider", "alliance beats one model of both sizes together"),
        ),
        notes=(
            "Network: ECAPA-TDNN of 64 channels trained from scratch on about 300 speakers; two of one architecture, "
            "where the paper fuses large ones of several.",
            "R2 and CKA are of test recordings, by probes fitted on dev recordings after training.",
            "A second model that was opposed can be worse alone: it is not to be used without the first.",
        ),
    ),
    recipe=speaker_base(_ATTENTIVE),
    seconds={
        "one": Second(None),
        "one-wider": Second(None, ("network.branches.0.encoder={kind: ecapa, form: ws, channels: 96, outputs: 288}",)),
        "independent": Second(),
        "alliance-0.3": Second(0.3),
        "alliance-1": Second(1.0),
        "alliance-3": Second(3.0),
    },
)
