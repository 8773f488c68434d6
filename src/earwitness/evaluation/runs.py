"""A recipe's whole run: the domain trains and calibrates, then the model is tested once and its card written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.training import train_detector
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import train_embedder
from earwitness.training.recipe import read_recipe

AnyRecipe = Annotated[DetectionRecipe | SpeakerRecipe, Field(discriminator="task")]


def read_any_recipe(path: str | Path, overrides: Sequence[str] = ()) -> DetectionRecipe | SpeakerRecipe:
    """A recipe of any task. Raises `RecipeError` naming the field and the nearest allowed value."""
    recipe: DetectionRecipe | SpeakerRecipe = read_recipe(path, AnyRecipe, overrides)
    return recipe


def run_recipe(
    recipe: DetectionRecipe | SpeakerRecipe, folder: Path, *, resume: bool = False, allow_leak: bool = False
) -> Path:
    """Train, calibrate, test, write the card. Returns the model's folder."""
    if isinstance(recipe, DetectionRecipe):
        return train_detector(recipe, folder, resume=resume, allow_leak=allow_leak)
    return train_embedder(recipe, folder, resume=resume, allow_leak=allow_leak)
