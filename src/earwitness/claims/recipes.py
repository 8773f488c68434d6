"""A claim whose arms are recipes: one base, and for each arm what it sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earwitness.claims.learning import Heard, Learnt, learn, recipe_of, scored
from earwitness.claims.material import DetectionMaterial
from earwitness.claims.plan import ArmRun, Figure, Plan
from earwitness.claims.views import View

BUDGET: dict[str, Any] = {
    "balance": ["label", "stratum"],
    "draws": 1600,
    "optimiser": {"kind": "adamw", "lr": 0.001, "weight_decay": 0.01},
    "schedule": {"kind": "warmup_cosine", "warmup": 0.05},
    "loop": {"epochs": 4, "batch_size": 32, "clip_norm": 5.0, "select": {"metric": "eer"}},
}
"""What every arm of every claim may spend, where its plan does not say otherwise: 200 steps of 32 utterances."""


def base(network: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A recipe on kept frames: one branch, whose encoder and pooling `network` names, and two outputs."""
    front = {"kind": "kept", "dim": 384}
    branch = {"frontend": front, **{key: network[key] for key in ("encoder", "pooling") if key in network}}
    rest = {key: value for key, value in network.items() if key not in ("encoder", "pooling")}
    return {
        "name": "claim",
        "task": "deepfake",
        "data": {"manifests": ["kept frames"]},
        "network": {"branches": [branch], "outputs": 2, **rest},
        **BUDGET,
        **fields,
    }


def no_figures(learnt: Learnt) -> tuple[Figure, ...]:
    """An arm that tells nothing but its scores."""
    return ()


@dataclass(frozen=True)
class RecipeClaim:
    """`arms`: for each arm of the plan `key.sub=value` changes of `recipe`. Frames are those of one hidden `state`;
    `views` are what is drawn from while learning, `paths` how many stand in a batch (`Heard`), or `heard_by` says
    both for an arm that differs. `told` gives further figures of what was learnt."""

    plan: Plan
    recipe: dict[str, Any]
    arms: Mapping[str, Sequence[str]]
    state: int = 2
    views: tuple[View, ...] = ("clean",)
    paths: int = 1
    heard_by: Mapping[str, tuple[tuple[View, ...], int]] = field(default_factory=dict)
    told: Callable[[Learnt], tuple[Figure, ...]] = no_figures

    read = DetectionMaterial.read

    def run(self, arm: str, seed: int, material: DetectionMaterial, folder: Path) -> ArmRun:
        """Train, choose on dev, and score the test rows as they are."""
        recipe = recipe_of(self.recipe, self.arms[arm], seed)
        views, paths = self.heard_by.get(arm, (self.views, self.paths))
        learnt = learn(recipe, Heard.of(material, self.state, views, paths), material, folder)
        clean = material.kept("clean").state(self.state)
        return ArmRun(scored(learnt.network, clean, material.sides(seed).test), self.told(learnt))
