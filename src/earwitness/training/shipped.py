"""The models that ship with the package, found by name."""

from __future__ import annotations

from pathlib import Path

import earwitness.models
from earwitness.core.config import nearest
from earwitness.core.errors import ModelError

DESCRIPTION = "model.json"


def shipped_models() -> dict[str, Path]:
    """Folder by name, of every model that ships with this version."""
    home = Path(earwitness.models.__path__[0])
    return {folder.name: folder for folder in sorted(home.iterdir()) if (folder / DESCRIPTION).is_file()}


def find_model(name: str | Path) -> Path:
    """The folder of a shipped model's name, or the folder itself. Raises `ModelError` naming what there is."""
    shipped = shipped_models()
    if str(name) in shipped:
        return shipped[str(name)]
    folder = Path(name)
    if (folder / DESCRIPTION).is_file():
        return folder
    if folder.is_dir():
        raise ModelError(f"is no model folder: it has no {DESCRIPTION}", where=folder)
    guess = nearest(str(name), shipped)
    hint = f"Did you mean '{guess}'? " if guess else ""
    raise ModelError(
        "there is no such model",
        where=name,
        fix=f"{hint}Shipped: {', '.join(shipped) or 'none'}; or give a model folder.",
    )
