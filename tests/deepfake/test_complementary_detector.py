"""A detector's recipe beside a member."""

from __future__ import annotations

from pathlib import Path

import pytest

from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.training import train_detector
from earwitness.training.complementary import ALONE
from earwitness.training.model_folder import verify_model


@pytest.mark.parametrize("condition", ["none", "class"])
def test_a_detector_learns_beside_a_member_on_two_paths(
    run: Path, recipe: DetectionRecipe, tmp_path: Path, condition: str
) -> None:
    """Two forward passes a batch: the member hears both."""
    plan = {
        **recipe.model_dump(mode="json"),
        "paths": "dual",
        "forward": "separate",
        "complementary": {"members": [str(run / "model")], "condition": condition},
    }
    info = verify_model(train_detector(DetectionRecipe.model_validate(plan), tmp_path / "run"))
    assert info.limits[0] == ALONE


def test_a_committee_is_refused(recipe: DetectionRecipe) -> None:
    plan = {
        **recipe.model_dump(mode="json"),
        "split": {"kind": "folds", "families": [["f0"], ["f1"], ["f2"]]},
        "views": ["clean"],
        "complementary": {"members": ["deepfake-small"]},
    }
    network = {"branches": plan["network"]["branches"], "outputs": 2, "votes": {"copies": 3}}
    with pytest.raises(ValueError, match="committee cannot be `complementary`"):
        DetectionRecipe.model_validate({**plan, "network": network})
