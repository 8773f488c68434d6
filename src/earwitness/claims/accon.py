"""ACCon's claim (arXiv 2501.07045): where angles of embeddings follow distances of labels, regression is as good, needs
less data, and suffers less where labels are rare.

Every method learns in six settings: from all training speakers, from 3/4, 1/2, 1/4, 1/8 of them, and from a long-tailed
histogram of ages. The base loss is L1, the projection 64 wide, and every utterance stands in a batch in two views, for
all methods alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from earwitness.claims.age_learning import LearntAges, learn_ages
from earwitness.claims.ages import SETTINGS, SHARES, TAILED, AgeMaterial
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.core.config import parse_config
from earwitness.metrics.regions import SPEECH, TrainingLabels, region_errors
from earwitness.metrics.regression import balanced_mae, mae, pearson
from earwitness.paralinguistic.age_recipe import AgeRecipe
from earwitness.training.recipe import assign

TAU = 0.1  # of SupCon, its usual one; ACCon's formula has 1, where its gradient lives
METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "l1": ("L1 alone", ()),
    "supcon": ("L1 + SupCon", (f"regularise.contrast={{kind: supcon, tau: {TAU}}}",)),
    "accon": ("L1 + ACCon", ("regularise.contrast={kind: accon, tau: 1.0}",)),
    "lds": ("L1 weighed by LDS", ("regularise.weighting={kind: sqinv, lds: {}}",)),
    "ranksim": ("L1 + RankSim", ("regularise.contrast={kind: ranksim}",)),
}
WORDS = {
    **{name: f"{share:g} of the training speakers" for name, share in SHARES.items()},
    "all": "all training speakers",
    TAILED: "a long tail of ages",
}
SEPARATOR = "-"


@dataclass(frozen=True)
class AcconClaim:
    """An arm is a method in a setting, `METHOD-SETTING`."""

    plan: Plan
    recipe: dict[str, Any]
    methods: Mapping[str, Sequence[str]]

    read = AgeMaterial.read

    def run(self, arm: str, seed: int, material: AgeMaterial, folder: Path) -> ArmRun:
        """Train, choose on dev, and say the ages of the test rows."""
        method, setting = arm.split(SEPARATOR)
        data = self.recipe
        for change in self.methods[method]:
            data = assign(data, change)
        recipe: AgeRecipe = parse_config(AgeRecipe, {**data, "seed": seed})
        learnt = learn_ages(recipe, material, setting, folder)
        return ArmRun(learnt.answers, tuple(_figures(learnt, material, seed, setting)))


def _figures(learnt: LearntAges, material: AgeMaterial, seed: int, setting: str) -> Iterator[Figure]:
    """Errors by how many training speakers have about that age, of always saying the training median, balanced over
    years of age; and how well angles follow distances of age."""
    train, truth = material.sides(seed, setting).train, material.ages[learnt.rows]
    known = TrainingLabels.of(material.ages[train], SPEECH, material.speakers[train])
    for found in region_errors(truth, learnt.answers, known):
        if found.items:
            yield Figure(f"MAE, {found.region}", found.mae)
    yield Figure("balanced MAE", balanced_mae(truth, learnt.answers))
    yield Figure("MAE of the median", mae(truth, np.full_like(truth, np.median(material.ages[train]))))
    yield Figure("angle with age distance, r", angles_with_distances(learnt.embeddings, truth))


def angles_with_distances(embeddings: torch.Tensor, labels: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Pearson's correlation, over pairs of items, of the angle of embeddings [N, D] and the distance of labels [N]; 0
    where either is constant."""
    first, second = np.triu_indices(len(labels), k=1)
    unit = F.normalize(embeddings.double(), dim=1)
    angles = (unit @ unit.T).clamp(-1, 1).arccos().numpy()[first, second]
    found = pearson(np.abs(labels[first] - labels[second]), angles)
    return 0.0 if np.isnan(found) else found


def _expected() -> Iterator[Expected]:
    for setting in SETTINGS:
        better = f"accon{SEPARATOR}{setting}"
        yield Expected(better, f"l1{SEPARATOR}{setting}", f"ACCon beats L1 alone: {WORDS[setting]}")
        yield Expected(better, f"supcon{SEPARATOR}{setting}", f"ACCon beats SupCon: {WORDS[setting]}")
    for method, name in (("lds", "LDS"), ("ranksim", "RankSim")):
        for setting in ("all", "1of8", TAILED):
            better, worse = f"{method}{SEPARATOR}{setting}", f"l1{SEPARATOR}{setting}"
            yield Expected(better, worse, f"{name} beats L1 alone: {WORDS[setting]}")


CLAIM = AcconClaim(
    Plan(
        name="accon",
        source="arXiv 2501.07045",
        statement="A contrast whose angles follow distances of labels helps regression, most where data or labels are "
        "few.",
        arms=tuple(
            Arm(f"{method}{SEPARATOR}{setting}", f"{words}; {WORDS[setting]}")
            for setting in SETTINGS
            for method, (words, _) in METHODS.items()
        ),
        expected=tuple(_expected()),
        notes=(
            "Ages of speakers of Mandarin reading English, 6 to 43 years, not faces or sentences. Nobody is tested who "
            "was learnt from; the paper's splits are by image, with the same people on both sides.",
            "A perceptron (128 units, projection 64) on means over 2 s of the four layers of the frozen encoder of "
            "Whisper tiny.en; views are two such crops. Every arm takes as many steps.",
            "ACCon: the formula, temperature 1, M the span of the training ages. SupCon: temperature 0.1, the same "
            "bins of a year. RankSim: weight 100, as published for ages. LDS: square-root weights, released window.",
            "Regions are by training speakers in five years of age: many from 10 on, few up to 3; so who is in which "
            "differs between settings.",
            "Long tail: all training speakers of the commonest five years, half of those of the second, a quarter of "
            "the third, and so on, at least one each. Tested is on all ages as they occur.",
        ),
    ),
    recipe={
        "name": "claim",
        "task": "age",
        "data": {"manifests": ["kept features"]},
        "network": {
            "branches": [
                {
                    "frontend": {"kind": "kept", "dim": 1536},
                    "encoder": {"kind": "perceptron", "widths": [128], "dropout": 0.2},
                }
            ],
            "embedding": {"dim": 64, "batch_norm": False},
        },
        "loss": {"kind": "regression", "norm": "l1", "grid": {"low": 0, "high": 60}, "centre": 20.0, "scale": 10.0},
        "sex": None,
        "balance": ["speaker"],
        "draws": 512,
        "recalibrate": "none",
        "regularise": {"views": 2},
        "optimiser": {"kind": "adamw", "lr": 0.001, "weight_decay": 0.01},
        "schedule": {"kind": "warmup_cosine", "warmup": 0.05},
        "loop": {
            "epochs": 12,
            "batch_size": 32,
            "clip_norm": 5.0,
            "select": {"metric": "mae", "mode": "min"},
            "accelerator": "cpu",
        },
    },
    methods={name: changes for name, (_, changes) in METHODS.items()},
)
