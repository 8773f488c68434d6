"""DPDA's claim: arms of one budget on one list of seeds, printed with mean and spread, and conflicts beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earwitness.claims.catalogue import find_claim
from earwitness.claims.dpda import CLAIM, SINGLE
from earwitness.claims.learning import FrameBatches, Heard, recipe_of
from earwitness.claims.ledger import details, read_result
from earwitness.claims.material import DetectionMaterial
from earwitness.claims.running import run_claim

SMALL = {
    **CLAIM.recipe,
    "loop": {"epochs": 1, "batch_size": 8, "accelerator": "cpu", "select": {"metric": "eer"}},
    "draws": 24,
    "network": {
        "branches": [{"frontend": {"kind": "kept", "dim": 16}, "pooling": {"kind": "statistics"}}],
        "outputs": 2,
    },
}
CUT = {name: [change for change in changes if "alignment" in change] for name, changes in CLAIM.arms.items()}
SEEDS = (1, 2, 3)


@pytest.mark.shows("dpda:6.9")
def test_all_arms_run_on_one_list_of_seeds_and_print_mean_and_spread(
    material: DetectionMaterial, tmp_path: Path
) -> None:
    claim = replace(CLAIM, recipe=SMALL, arms=CUT)
    result = run_claim(claim, SEEDS, material, tmp_path)
    assert result.seeds == SEEDS
    named = [arm.name for arm in result.judgement.arms]
    assert named == [SINGLE, "dpda", "pcgrad", "gradvac", "cagrad"]
    result.write(tmp_path / "dpda.json")
    lines = details(read_result(tmp_path / "dpda.json")).splitlines()
    for arm in result.judgement.arms:
        row = next(line for line in lines if line.startswith(f"| `{arm.name}` |"))
        assert len(arm.seeds) == len(SEEDS)
        assert arm.error == pytest.approx(np.mean(arm.seeds))
        assert f"| {arm.error:.1f} [{arm.low:.1f}, {arm.high:.1f}] |" in row
        assert f"{min(arm.seeds):.1f} to {max(arm.seeds):.1f}" in row
        told = {figure.name: figure.value for figure in arm.figures}
        assert ("conflict rate" in told) is (arm.name != SINGLE)
    assert any("conflict rate" in line for line in lines)


def test_every_arm_has_the_same_steps_and_items(material: DetectionMaterial) -> None:
    assert find_claim("dpda") is CLAIM
    heard = {}
    for arm in CLAIM.plan.arms:
        recipe = recipe_of(CLAIM.recipe, CLAIM.arms[arm.name], 1)
        views, paths = CLAIM.heard_by.get(arm.name, (CLAIM.views, CLAIM.paths))
        own = Heard.of(material, CLAIM.state, views, paths)
        train = FrameBatches.of(recipe, own, material, material.sides(1).train)
        batch = next(iter(train.load(0, [0])))
        heard[arm.name] = (train.count(0), len(batch.ids), recipe.loop.epochs, recipe.optimiser)
        assert batch.paths == paths
        assert (recipe.alignment is None) is (arm.name == SINGLE)
    assert len(set(map(str, heard.values()))) == 1
