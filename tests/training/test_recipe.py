"""Reading recipes: overrides, and refusals that help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from earwitness.core.errors import RecipeError, UsageError
from earwitness.training.recipe import Recipe, assign, read_recipe

TEXT = """
name: small
task: first
data: {manifests: [a.csv, b.csv]}
optimiser: {kind: adamw, lr: 1e-4}
schedule: {kind: cosine, per: epoch, t_max: 5}
loop: {epochs: 3, batch_size: 8, select: {metric: eer}}
"""


class FirstRecipe(Recipe):
    task: Literal["first"]
    width: int = 4


class SecondRecipe(Recipe):
    task: Literal["second"]


AnyRecipe = Annotated[FirstRecipe | SecondRecipe, Field(discriminator="task")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(TEXT, encoding="utf-8")
    return file


def test_a_recipe_is_read_as_the_class_of_its_task(path: Path) -> None:
    recipe: FirstRecipe = read_recipe(path, AnyRecipe)
    assert type(recipe) is FirstRecipe
    assert recipe.optimiser.lr == 1e-4  # YAML itself reads 1e-4 as text
    assert recipe.loop.epochs == 3
    assert FirstRecipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_overrides_are_yaml_values_at_dotted_places(path: Path) -> None:
    overrides = [
        "loop.epochs=7",
        "optimiser={kind: sgd, lr: 0.5}",
        "data.manifests.1=c.csv",
        "loop.clip_norm=null",
        "width=9",
    ]
    recipe: FirstRecipe = read_recipe(path, AnyRecipe, overrides)
    assert recipe.loop.epochs == 7
    assert (recipe.optimiser.kind, recipe.optimiser.lr) == ("sgd", 0.5)
    assert recipe.data.manifests == (Path("a.csv"), Path("c.csv"))
    assert (recipe.loop.clip_norm, recipe.width) == (None, 9)


def test_an_override_makes_missing_mappings_and_leaves_its_input_alone() -> None:
    before = {"a": {"b": 1}}
    assert assign(before, "x.y.z=[1, 2]") == {"a": {"b": 1}, "x": {"y": {"z": [1, 2]}}}
    assert before == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("loop.epocs=7", "did you mean 'epochs'"),
        ("optimiser.kind=adamm", "Did you mean 'adam"),
        ("schedule.kind=cosin", "Did you mean 'cosine'"),
        ("task=third", "allowed: first, second"),
        ("loop.epochs=0", "loop.epochs"),
        ("loop.epochs=many", "loop.epochs"),
        ("data.manifests.5=c.csv", "no item of a list of 2"),
        ("name.first=x", "cannot be set inside of the value 'small'"),
        ("loop={epochs: 3, batch_size: 8, early_stop: 2}", "need `select`"),
        ("loop={epochs: 3, batch_size: 8, average: {of: best, count: 3}}", "need `select`"),
    ],
)
def test_a_typo_is_answered_with_what_was_meant(path: Path, override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=r".") as caught:
        read_recipe(path, AnyRecipe, [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["loop.epochs", "=3", "loop..epochs=3", "loop.epochs=[1"])
def test_an_override_of_another_form_is_refused(path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        read_recipe(path, AnyRecipe, [text])


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text", ": :", ""])
def test_what_is_no_mapping_is_no_recipe(tmp_path: Path, text: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=r"recipe\.yaml"):
        read_recipe(file, AnyRecipe)


def test_yaml_never_makes_objects(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    file = tmp_path / "recipe.yaml"
    file.write_text(f"name: !!python/object/apply:os.system ['touch {canary}']\n", encoding="utf-8")
    with pytest.raises(RecipeError):
        read_recipe(file, AnyRecipe)
    assert not canary.exists()
