"""A speaker recipe beside a member: from recipe to model folder, its record and its warning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from earwitness.core.errors import ModelError, RecipeError
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import train_embedder
from earwitness.training.complementary import ALONE, ComplementaryConfig
from earwitness.training.complementary_task import load_members
from earwitness.training.model_folder import load_weights, read_model_info, revise_model, verify_model
from tiny_models import make_detector, make_embedder


def beside(recipe: SpeakerRecipe, *members: Path, **config: object) -> SpeakerRecipe:
    plan = {**recipe.model_dump(mode="json"), "complementary": {"members": [str(m) for m in members], **config}}
    return SpeakerRecipe.model_validate(plan)


def test_an_embedder_learns_beside_members_and_says_so(run: Path, recipe: SpeakerRecipe, tmp_path: Path) -> None:
    detector = make_detector(tmp_path / "detector")  # a member may be of another task
    files = {path: path.read_bytes() for member in (run / "model", detector) for path in member.iterdir()}
    model = train_embedder(beside(recipe, run / "model", detector, condition="class"), tmp_path / "run")
    info = verify_model(model)
    assert info.limits[0] == ALONE
    inputs = info.training["inputs"]
    assert inputs[f"member {detector}"] == read_model_info(detector).sha256  # type: ignore[index, call-overload]
    assert {path: path.read_bytes() for path in files} == files
    plain, opposed = load_weights(run / "model"), load_weights(model)
    assert plain.keys() == opposed.keys()  # nothing of the adversary is in the model
    assert any(not torch.equal(plain[name], opposed[name]) for name in plain)


def test_lambda_0_gives_the_plain_model(run: Path, recipe: SpeakerRecipe, tmp_path: Path) -> None:
    member = make_embedder(tmp_path / "member")
    model = train_embedder(beside(recipe, member, lambda_max=0), tmp_path / "run")
    plain, opposed = load_weights(run / "model"), load_weights(model)
    assert all(np.array_equal(plain[name].numpy(), opposed[name].numpy()) for name in plain)


def test_members_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    member = make_embedder(tmp_path / "member")
    revise_model(member, read_model_info(member).model_copy(update={"rate": 8000}))
    with pytest.raises(RecipeError, match="hears 8000 Hz, this recipe 16000 Hz"):
        load_members(ComplementaryConfig(members=(str(member),)), 16_000)
    with pytest.raises(ModelError, match="no such model"):
        load_members(ComplementaryConfig(members=("nothing",)), 16_000)
