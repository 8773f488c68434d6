"""ExPO's claim (arXiv 2501.05729): an embedding made of phonetic traits decides nearly as well as one of frames, and
the trait losses make what it shows phone by phone (the evidence) tell the speakers apart.

Each network is judged twice: by its decision, the cosine of the embeddings, and by its evidence, the mean similarity of
the phones that both recordings hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.claims.material import Places
from earwitness.claims.phoned import PhonedMaterial, PhonedPairs, PhonedRows, PhonedSpectra, relabelled
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.claims.recipes import BUDGET
from earwitness.claims.spectra import FRONTEND
from earwitness.core.config import parse_config
from earwitness.nn.frontends import KeptConfig
from earwitness.speaker.phonetic_traits.comparing import (
    Similarities,
    TraitPrint,
    agreement,
    cosines,
    similarities,
)
from earwitness.speaker.phonetic_traits.network import TraitNetwork
from earwitness.speaker.phonetic_traits.recipe import SpeakerTraitsRecipe
from earwitness.speaker.phonetic_traits.scoring import print_of
from earwitness.speaker.phonetic_traits.task import TraitTask, TraitTrainee
from earwitness.training.loop import fit, seed_run
from earwitness.training.recipe import assign


@dataclass(frozen=True)
class Setting:
    """Which network an arm judges, by what, and whether it hears the labels of the test in random order."""

    network: str
    evidence: bool = False
    relabelled: bool = False


NETWORKS: Mapping[str, tuple[str, ...]] = {
    "frames": ("network.pooling=frames", "traits={same: 0, diff: 0, center: 0}"),
    "no-losses": ("traits={same: 0, diff: 0, center: 0}",),
    "no-verification": ("traits.same=0", "traits.diff=0"),
    "no-centre": ("traits.center=0",),
    "all": (),
    "random": (),
}
"""What each network sets in the recipe; `random` learns and is tested with labels in random order."""
WORDS = {
    "frames": "mean and deviation over frames (the baseline)",
    "no-losses": "over phonetic traits, no trait losses",
    "no-verification": "with the trait centre loss alone",
    "no-centre": "with the trait verification loss alone",
    "all": "with both trait losses",
    "random": "with both trait losses, labels in random order in training and test",
}
SETTINGS = {
    **{name: Setting(name) for name in NETWORKS},
    **{f"{name}-evidence": Setting(name, evidence=True) for name in NETWORKS},
    "all-evidence-relabelled": Setting("all", evidence=True, relabelled=True),
}
ARMS = (
    *(Arm(name, f"decision {words}") for name, words in WORDS.items()),
    *(Arm(f"{name}-evidence", f"evidence of `{name}`") for name in WORDS),
    Arm("all-evidence-relabelled", "evidence of `all`, labels of the test recordings in random order"),
)
PLAN = Plan(
    name="expo",
    source="arXiv 2501.05729",
    statement="Trait losses make what is shown phone by phone tell speakers apart, at a small cost to the decision.",
    arms=ARMS,
    expected=(
        Expected("all-evidence", "no-losses-evidence", "the trait losses improve the evidence"),
        Expected("all-evidence", "no-verification-evidence", "the trait verification loss improves the evidence"),
        Expected("all-evidence", "no-centre-evidence", "the trait centre loss improves the evidence"),
        Expected("all-evidence", "frames-evidence", "the evidence is better than that of the baseline's frames"),
        Expected("all-evidence", "all-evidence-relabelled", "with random labels in the test the evidence is worse"),
        Expected("all-evidence", "random-evidence", "learnt with random labels the evidence is worse"),
        Expected("frames", "all", "the decision of frames is better (traits cost something)"),
    ),
    notes=(
        "Network: ECAPA-TDNN of 64 channels trained from scratch on about 285 speakers, 16 of them with two crops of "
        "2 s in a step; not 512 channels on VoxCeleb2.",
        "Phones: heard by hama in the recordings themselves (IPA, taken for ARPAbet and silence), not by Charsiu.",
        "Weights of the trait losses: the published ones times 1536 / 192 for narrower frames, not tuned.",
        "Epochs are chosen by the decision on dev, for every arm.",
        "Trials without a shared phone tell nothing: they get the mean evidence of all others.",
        "Spearman's correlation is that of evidence and decision over the test trials.",
    ),
)


@dataclass(frozen=True)
class Judged:
    """Of a network's test trials: the decision [N], and the similarities with labels as heard and in random order."""

    decision: NDArray[np.float64]
    found: Similarities
    relabelled: Similarities


@dataclass(frozen=True)
class ExpoClaim:
    """A network is trained for the first arm of a seed that judges it, and held for the others."""

    plan: Plan
    recipe: dict[str, Any]
    _held: dict[tuple[str, int, str], Judged] = field(default_factory=dict, init=False, compare=False, repr=False)

    read = PhonedMaterial.read

    def run(self, arm: str, seed: int, material: PhonedMaterial, folder: Path) -> ArmRun:
        """Train where that was not done yet, choose on dev by the decision, and score the test trials."""
        setting = SETTINGS[arm]
        key = (setting.network, seed, material.key)
        if key not in self._held:
            self._held[key] = self._judged(setting.network, seed, material, folder)
        judged = self._held[key]
        if not setting.evidence:
            return ArmRun(judged.decision)
        found = judged.relabelled if setting.relabelled else judged.found
        evidence, known = found.evidence, found.count > 0
        figures = (
            Figure("Spearman with the decision", agreement(judged.decision, evidence)),
            Figure("shared phones a trial", float(found.count.mean())),
            Figure("trials without one", float((~known).sum())),
        )
        return ArmRun(np.where(known, evidence, evidence[known].mean()), figures)

    def _judged(self, name: str, seed: int, material: PhonedMaterial, folder: Path) -> Judged:
        data = self.recipe
        for change in NETWORKS[name]:
            data = assign(data, change)
        recipe: SpeakerTraitsRecipe = parse_config(SpeakerTraitsRecipe, {**data, "seed": seed})
        labels = material.labels()
        other = relabelled(labels, seed)
        heard = PhonedSpectra.of(material, other if name == "random" else labels)
        network = learn_traits(recipe, heard, material, folder)
        rows = material.sides(seed).test
        first, second = (np.searchsorted(rows, side) for side in material.trials(seed).T)
        prints, moved = (_prints(network, replace(heard, labels=of), rows) for of in (heard.labels, other))
        return Judged(
            cosines(prints, first, second), similarities(prints, first, second), similarities(moved, first, second)
        )


def learn_traits(
    recipe: SpeakerTraitsRecipe, heard: PhonedSpectra, material: PhonedMaterial, folder: Path
) -> TraitNetwork:
    """Train on the sides of the recipe's seed; epochs are chosen on dev as the recipe says."""
    sides = material.sides(recipe.seed)
    train = PhonedPairs.of(recipe, heard, sides.train)
    seed_run(recipe.seed, "init")
    network = recipe.network.build()
    network.frontend = KeptConfig(dim=network.frontend.dim, frames_per_second=100.0).build()  # spectra are kept
    trainee = TraitTrainee(network, recipe.margin.build(network.dim, len(train.names)))
    task = TraitTask(trainee, recipe.traits, recipe.margin_growth)
    fit(trainee, task, train, PhonedRows(heard, sides.dev), recipe, folder, resume=folder.exists())
    return network.eval()


@torch.inference_mode()
def _prints(network: TraitNetwork, heard: PhonedSpectra, rows: Places) -> list[TraitPrint]:
    """Of each row."""
    found = []
    for batch in PhonedRows(heard, rows):
        assert batch.targets.phones is not None
        said = network(batch.waveforms, batch.targets.phones)
        found += [print_of(said, place) for place in range(len(batch.ids))]
    return found


CLAIM = ExpoClaim(
    PLAN,
    {
        "name": "claim",
        "task": "speaker-traits",
        "data": {"manifests": ["kept spectra"]},
        "phones": {"kind": "hama"},
        "network": {
            "frontend": FRONTEND.model_dump(),
            "encoder": {"kind": "ecapa", "form": "ws", "channels": 64, "outputs": 192},
            "embedding": {"dim": 96},
        },
        "margin": {"kind": "aam", "margin": 0.2, "scale": 30.0},
        "traits": {"same": 0.0056, "diff": 0.00008, "center": 0.0008},
        **{key: value for key, value in BUDGET.items() if key != "balance"},
    },
)
