"""The published recipes of the comparison back-ends: what they set is what their sources state."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from earwitness.deepfake.importing.nes2net import RECIPES
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.training.recipe import read_recipe

PUBLISHED = Path(__file__).resolve().parents[2] / "recipes" / "published"


def recipe(name: str) -> DetectionRecipe:
    found: DetectionRecipe = read_recipe(PUBLISHED / f"{name}.yaml", DetectionRecipe)
    return found


@pytest.mark.shows("nes2net:2.6")
@pytest.mark.parametrize("name", ["nes2net-ctrsvdd", "nes2net-asvspoof2019", "nes2net-asvspoof5"])
def test_training_and_import_agree(name: str) -> None:
    trained, imported = recipe(name), RECIPES[name]
    (branch,) = trained.network.branches
    assert branch.frontend.normalisation == imported.normalisation  # type: ignore[union-attr]
    assert branch.frontend.frozen is False  # type: ignore[union-attr]
    assert branch.encoder.dilation == imported.dilation  # type: ignore[union-attr]
    assert trained.windows == imported.windows


def test_ctrsvdd_has_one_logit_and_swings() -> None:
    found = recipe("nes2net-ctrsvdd")
    assert (found.network.outputs, found.loss.kind) == (1, "binary_focal")
    assert (found.optimiser.lr, found.schedule.kind, found.loop.batch_size) == (1e-6, "cosine", 34)
    assert found.audio.crop_s is not None
    assert round(found.audio.crop_s * 16_000) == 64_000


@pytest.mark.parametrize("name", ["nes2net-asvspoof2019", "nes2net-asvspoof5", "aasist-raw"])
def test_asvspoof_recipes_weigh_the_classes(name: str) -> None:
    found = recipe(name)
    assert found.loss.class_weights == (0.1, 0.9)  # type: ignore[union-attr]
    assert found.audio.crop_s is not None
    assert round(found.audio.crop_s * 16_000) == 64_600


def test_spectral_recipes_build_and_hear() -> None:
    assert sum(p.numel() for p in recipe("aasist-raw").network.build().parameters()) == 297_866
    with torch.no_grad():
        assert recipe("lfcc-lcnn").network.build().eval()(torch.randn(2, 16_000)).shape == (2, 2)
