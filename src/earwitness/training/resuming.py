"""Whose run lies in a folder: a run goes on only with the recipe that it was started with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from earwitness.core.config import Config
from earwitness.core.errors import RecipeError, UsageError
from earwitness.core.writing import write_atomically
from earwitness.training.checkpoint import CheckpointFolder

MAY_CHANGE = {"notes", "loop.workers", "loop.log_every", "loop.checkpoint_every_steps", "loop.tensorboard"}
"""Fields of a recipe that leave the weights as they are, and so may differ when a run is resumed."""


def claim_folder(files: CheckpointFolder, recipe: Config, resume: bool, first: bool) -> None:
    """Make the folder this run's, or check that it is. Only the first process writes.

    Raises `UsageError` where it holds a run and `resume` is off, `RecipeError` where that run had another recipe.
    """
    if files.last.exists() and not resume:
        raise UsageError(
            "holds a run already", where=files.folder, fix="Add --resume to go on, or choose another folder."
        )
    note = files.folder / "recipe.json"
    plan = recipe.model_dump(mode="json")
    if files.last.exists():
        _require_same_recipe(json.loads(note.read_text(encoding="utf-8")), recipe, files.folder)
    elif first:
        write_atomically(note, json.dumps(plan, indent=2, ensure_ascii=False) + "\n")
    if first:
        files.clear_torn()


def _require_same_recipe(earlier: dict[str, Any], recipe: Config, folder: Path) -> None:
    with contextlib.suppress(ValidationError):  # a field that came later has its default there
        earlier = type(recipe).model_validate(earlier).model_dump(mode="json")
    before, after = dict(_flat(earlier)), dict(_flat(recipe.model_dump(mode="json")))
    changed = [key for key in {**before, **after} if before.get(key) != after.get(key) and key not in MAY_CHANGE]
    if changed:
        key = changed[0]
        difference = f"{key} was {before.get(key)!r}, is {after.get(key)!r}"
        raise RecipeError(
            f"the run that lies here was started with another recipe: {difference}",
            where=folder,
            fix="Resume with the same recipe, or train in another folder.",
        )


def _flat(data: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Plain data as (dotted name, value) pairs."""
    if isinstance(data, dict | list) and data:
        for name, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, data
