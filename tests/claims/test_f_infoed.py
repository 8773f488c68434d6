"""The arms of f-InfoED's claim do what their names say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earwitness.claims.f_infoed import CLAIM
from earwitness.claims.learning import recipe_of
from earwitness.claims.material import DetectionMaterial
from earwitness.claims.recipes import RecipeClaim


def test_arms_differ_from_the_method_in_one_thing() -> None:
    method = recipe_of(CLAIM.recipe, CLAIM.arms["entropy"], 1)
    encoder = method.network.branches[0].encoder
    assert (encoder.reads, encoder.entropy, encoder.entropy_grad) == ("entropy", "per_dim", True)  # type: ignore[union-attr]
    assert (method.loss.beta, method.loss.lambda_rec) == (1e-3, 1.0)  # type: ignore[union-attr]
    recipes = [recipe_of(CLAIM.recipe, changes, 1) for changes in CLAIM.arms.values()]
    assert len({recipe.model_dump_json() for recipe in recipes}) == len(recipes) == len(CLAIM.plan.arms)
    assert [arm.name for arm in CLAIM.plan.arms] == list(CLAIM.arms)


@pytest.mark.parametrize("arm", ["entropy", "scalar-detached"])
def test_an_arm_runs_and_tells_of_its_latent(arm: str, material: DetectionMaterial, tmp_path: Path) -> None:
    branch = CLAIM.recipe["network"]["branches"][0]
    small = {"kind": "latent_entropy", "latent": 4, "hidden": 8, "outputs": 8}
    network = {
        **CLAIM.recipe["network"],
        "branches": [{**branch, "frontend": {"kind": "kept", "dim": 16}, "encoder": small}],
    }
    recipe = {**CLAIM.recipe, "network": network, "draws": 64, "loop": {**CLAIM.recipe["loop"], "epochs": 1}}
    claim = RecipeClaim(CLAIM.plan, recipe, CLAIM.arms, told=CLAIM.told)
    run = claim.run(arm, 1, material, tmp_path / arm)
    assert run.scores.shape == material.sides(1).test.shape
    assert np.isfinite(run.scores).all()
    names = [figure.name for figure in run.figures]
    assert names == [f"{part} {side}" for part in ("H/D", "KL", "error") for side in ("bona fide", "spoof")]
    assert all(np.isfinite(figure.value) for figure in run.figures)
