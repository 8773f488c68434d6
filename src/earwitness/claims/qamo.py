"""QAMO's claim (arXiv 2509.20679): several centroids of bona fide speech, one a level of quality, beat one.

Its published labels of quality are in effect a flag for augmentation, as nearly all of its bona fide training speech
has a MOS above the threshold. So the claim about quality needs arms that learn from the flag alone, and from chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.claims.learning import AT_ONCE, Heard, flat, learn, recipe_of, scored
from earwitness.claims.material import DetectionMaterial, Places
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.claims.recipes import base
from earwitness.claims.store import Halves
from earwitness.claims.views import View
from earwitness.corpora.quality import QualityLevels
from earwitness.deepfake.material import material_of
from earwitness.deepfake.one_class import QamoConfig
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.metrics.detection import eer
from earwitness.nn.centroids import Scoring, centroid_score
from earwitness.nn.network import Network

STATE = 2
VIEWS: tuple[View, ...] = ("clean", 1, 2)
DRAWN = (0, 0, 0, 1, 2)
"""Views are drawn so that two utterances in five are augmented, as published."""
AUGMENTED = sum(view > 0 for view in DRAWN) / len(DRAWN)
PUBLISHED, CHANCE = "qamo", "random"
SCORINGS = tuple(scoring for scoring in get_args(Scoring) if scoring != "own")


@dataclass(frozen=True)
class QamoClaim:
    """`arms`: for each arm of the plan `key.sub=value` changes of `recipe`."""

    plan: Plan
    recipe: dict[str, Any]
    arms: Mapping[str, Sequence[str]]

    read = DetectionMaterial.read

    def run(self, arm: str, seed: int, material: DetectionMaterial, folder: Path) -> ArmRun:
        """Train, choose on dev, score the test rows as they are; figures tell of the centroids and other scorings."""
        recipe = self.recipe_for(arm, seed, material)
        heard = Heard(tuple(material.kept(view).state(STATE) for view in VIEWS), DRAWN)
        network = learn(recipe, heard, material, folder).network
        test = material.sides(seed).test
        run = ArmRun(scored(network, heard.views[0], test))
        if not isinstance(recipe.loss, QamoConfig):
            return run
        low = share_low(levels_of(recipe, material))
        return ArmRun(run.scores, _figures(network, heard.views[0], test, material.labels[test] == 1, low))

    def recipe_for(self, arm: str, seed: int, material: DetectionMaterial) -> DetectionRecipe:
        """The arm's recipe. Levels by chance have the shares of the published ones. Raises `DataError` where a row has
        no MOS."""
        if arm != CHANCE:
            return recipe_of(self.recipe, self.arms[arm], seed)
        low = share_low(levels_of(self.recipe_for(PUBLISHED, seed, material), material))
        return recipe_of(self.recipe, (*self.arms[arm], f"loss.quality.shares=[{low!r}, {1 - low!r}]"), seed)


def levels_of(recipe: DetectionRecipe, material: DetectionMaterial) -> QualityLevels:
    """The levels of the bona fide rows that a recipe's seed learns from."""
    train = material.rows.with_table(material.rows.table[material.sides(recipe.seed).train])
    found = material_of(recipe, train).levels
    assert found is not None
    return found


def share_low(levels: QualityLevels) -> float:
    """The share of bona fide utterances below the highest level, augmented ones among them."""
    if levels.shares:
        return 1 - levels.shares[-1]
    low = float(np.mean([level < levels.count - 1 for level in levels.rows.values()]))
    return low + (1 - low) * AUGMENTED * levels.lowered


@torch.inference_mode()
def _figures(
    network: Network, frames: Halves, test: Places, human: NDArray[np.bool_], low: float
) -> tuple[Figure, ...]:
    """EER, in per cent, by every scoring; the cosine between centroids; how much of bona fide training was low."""
    parts = [test[start : start + AT_ONCE] for start in range(0, len(test), AT_ONCE)]
    similarities = torch.cat([network(flat(frames[part]), None, give="similarities") for part in parts]).double()
    by_scoring = {name: centroid_score(similarities, name).numpy() for name in SCORINGS}
    errors = [Figure(f"EER by {name}", 100 * eer(s[human], s[~human]).value) for name, s in by_scoring.items()]
    return (*errors, Figure("centroid cosine", network.centroids().cosine()), Figure("low in training, %", 100 * low))


_HEAD = ("network.centroids.count=2", "loss.kind=qamo")
CLAIM = QamoClaim(
    Plan(
        name="qamo",
        source="arXiv 2509.20679",
        statement="One centroid of bona fide speech a level of quality beats one centroid, and cross-entropy.",
        arms=(
            Arm("cross-entropy", "a linear layer, both classes drawn equally often"),
            Arm("oc-softmax", "one centroid"),
            Arm(PUBLISHED, "two centroids; low: MOS below 2.5, or augmented (as published)"),
            Arm("augmentation", "two centroids; low: augmented, no MOS"),
            Arm("median", "two centroids; low: MOS below the median of the training speech, or augmented"),
            Arm(CHANCE, "two centroids; low by chance, as often as published"),
            Arm("no-quality-loss", "as published, without the term that tells the levels apart (lambda 0)"),
        ),
        expected=(
            Expected(PUBLISHED, "cross-entropy", "QAMO beats cross-entropy"),
            Expected(PUBLISHED, "oc-softmax", "QAMO beats OC-Softmax"),
            Expected(PUBLISHED, "no-quality-loss", "the quality term lowers the error"),
            Expected(PUBLISHED, "augmentation", "MOS adds to what the flag of augmentation tells"),
            Expected(PUBLISHED, CHANCE, "levels that mean something beat levels by chance"),
        ),
        notes=(
            "Back-end: Nes2Net-X, mean pooling, on the second hidden state of the frozen encoder of Whisper tiny.en.",
            "MOS by DNSMOS P.808, not SCOREQ; two utterances in five are augmented by RawBoost's series 1 + 2 + 3.",
            "Cross-entropy has no class weights: both classes are drawn equally often.",
        ),
    ),
    recipe=base(
        {"encoder": {"kind": "nes2net_x"}, "pooling": {"kind": "mean"}, "centroids": {"count": 1}},
        loss={"kind": "oc_softmax"},
    ),
    arms={
        "cross-entropy": ("network.centroids=null", "loss={kind: cross_entropy}"),
        "oc-softmax": (),
        PUBLISHED: _HEAD,
        "augmentation": (*_HEAD, "loss.quality.source=augmentation"),
        "median": (*_HEAD, "loss.quality.source=quantile"),
        CHANCE: (*_HEAD, "loss.quality.source=random"),
        "no-quality-loss": (*_HEAD, "loss.weight=0"),
    },
)
