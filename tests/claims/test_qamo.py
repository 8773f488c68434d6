"""QAMO's claim: every control arm learns by the labels that it is named for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earwitness.claims import qamo
from earwitness.claims.catalogue import find_claim
from earwitness.claims.learning import FrameBatches, Heard, recipe_of
from earwitness.claims.material import DetectionMaterial
from earwitness.claims.qamo import CLAIM, DRAWN, levels_of, share_low
from earwitness.corpora.side_tables import SideTable
from earwitness.deepfake import material as needed

SMALL = {
    "draws": 64,
    "loop": {"epochs": 1, "batch_size": 32, "accelerator": "cpu", "select": {"metric": "eer"}},
    "network": {
        "branches": [{"frontend": {"kind": "kept", "dim": 16}, "pooling": {"kind": "statistics"}}],
        "outputs": 2,
        "centroids": {"count": 1},
    },
}


@pytest.fixture
def rated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tenth speaker sounds bad."""
    monkeypatch.setattr(needed, "weights_of", lambda name: (name, "0"))
    monkeypatch.setattr(
        SideTable, "of", lambda self, rows: {name: 2.0 if name.startswith("s1-") else 3.0 for name in rows.table["id"]}
    )


@pytest.mark.shows("qamo:6.8")
def test_the_control_arms_learn_by_their_own_labels(material: DetectionMaterial, rated: None) -> None:
    assert find_claim("qamo") is CLAIM
    losses = {arm.name: recipe_of(CLAIM.recipe, CLAIM.arms[arm.name], 1).loss for arm in CLAIM.plan.arms}
    assert (losses["oc-softmax"].kind, losses["cross-entropy"].kind) == ("oc_softmax", "cross_entropy")
    sources = {name: loss.quality.source for name, loss in losses.items() if loss.kind == "qamo"}
    assert sources == {
        "qamo": "mos",
        "augmentation": "augmentation",
        "median": "quantile",
        "random": "random",
        "no-quality-loss": "mos",
    }
    assert (losses["qamo"].weight, losses["no-quality-loss"].weight) == (0.1, 0)
    levels = {name: levels_of(CLAIM.recipe_for(name, 1, material), material) for name in sources}
    by_mos, by_flag, by_chance = levels["qamo"], levels["augmentation"], levels["random"]
    assert by_mos.rows.keys() == by_flag.rows.keys() == by_chance.rows.keys()
    bad = {name for name, level in by_mos.rows.items() if level == 0}
    assert bad == {name for name in by_mos.rows if name.startswith("s1-")}
    assert set(by_flag.rows.values()) == {1}
    row = next(name for name in by_mos.rows if name not in bad)
    assert [found.of(row, True) for found in (by_mos, by_flag)] == [0, 0]
    assert share_low(by_chance) == pytest.approx(share_low(by_mos))
    assert share_low(by_flag) == pytest.approx(0.4)
    drawn = [by_chance.of(row, flag, epoch) == 0 for epoch in range(500) for flag in (True, False)]
    assert np.mean(drawn) == pytest.approx(share_low(by_mos), abs=0.07)


def test_batches_say_the_level_of_what_was_heard(material: DetectionMaterial, rated: None) -> None:
    recipe = recipe_of({**CLAIM.recipe, **SMALL}, CLAIM.arms["augmentation"], 1)
    heard = Heard(tuple(material.kept(view).state(2) for view in qamo.VIEWS), DRAWN)
    levels = levels_of(recipe, material)
    batches = FrameBatches.of(recipe, heard, material, material.sides(1).train, levels)
    found = list(batches.load(0, range(batches.count(0))))
    quality = np.concatenate([batch.targets.quality.numpy() for batch in found])
    label = np.concatenate([batch.targets.label.numpy() for batch in found])
    assert set(quality[label == 0]) == {-1}
    assert set(quality[label == 1]) == {0, 1}
    noisy = np.concatenate([batch.waveforms.std(1).numpy() for batch in found])[label == 1]
    clean = quality[label == 1] == 1
    assert noisy[~clean].mean() - noisy[clean].mean() == pytest.approx(1.09**0.5 - 1, abs=0.02)  # perturbed is noisier


@pytest.mark.shows("qamo:6.8")
@pytest.mark.parametrize("arm", [arm.name for arm in CLAIM.plan.arms])
def test_every_arm_runs_and_tells_what_other_scorings_give(
    arm: str, material: DetectionMaterial, rated: None, tmp_path: Path
) -> None:
    claim = replace(CLAIM, recipe={**CLAIM.recipe, **SMALL})
    run = claim.run(arm, 1, material, tmp_path / arm)
    assert run.scores.shape == material.sides(1).test.shape
    assert np.isfinite(run.scores).all()
    names = {figure.name for figure in run.figures}
    told = {"EER by softmax", "EER by mean", "EER by max", "centroid cosine", "low in training, %"}
    assert names == (told if arm not in ("cross-entropy", "oc-softmax") else set())
