"""The models that ship with the package, found by name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

import earwitness.models
from earwitness.core.config import nearest
from earwitness.core.errors import ModelError
from earwitness.training.model_folder import DESCRIPTION, WEIGHTS, ModelInfo, verify_model

FIGURES = {"EER": "EER {:.1f} %", "MAE, years": "MAE {:.1f} years", "UA": "mean recall {:.1f} %"}
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")  # state of batch-norm, no parameters


@dataclass(frozen=True)
class Summary:
    """A model in one line. `figure` is the first of its card that says how often or how far it is wrong (`FIGURES`),
    on `figure_data`; empty where it has none.

    `parameters` counts what its folder holds, without the weights of a shared pretrained encoder.
    """

    name: str
    task: str
    version: str
    parameters: int
    summary: str
    figure: str
    figure_data: str
    folder: str


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


def summaries() -> list[Summary]:
    """A line for every shipped model. Raises `ModelError` for one that was altered."""
    return [summarise(folder) for folder in shipped_models().values()]


def summarise(folder: str | Path) -> Summary:
    """A model folder in one line. Raises `ModelError` where it is altered or incomplete."""
    info = verify_model(folder)
    first, data = _first_figure(info)
    parameters = _count(Path(folder) / WEIGHTS)
    return Summary(info.name, info.task, info.version, parameters, info.summary, first, data, str(folder))


def _first_figure(info: ModelInfo) -> tuple[str, str]:
    rows = info.extra.get("results")
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict) or not isinstance(row.get("value"), int | float):
            continue
        metric = str(row.get("metric"))
        for known, written in FIGURES.items():
            if metric.startswith(known):
                return written.format(row["value"]), str(row.get("data"))
    return "", ""


def _count(weights: Path) -> int:
    """Numbers in a weights file, from its header alone."""
    with safe_open(weights, framework="np") as file:
        names = [key for key in list(file.keys()) if not key.endswith(_BUFFERS)]
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)
