"""Weights that others published in torch's own file format, read as named tensors and nothing else.

torch's weights-only reader knows tensors and containers; any other object in the pickle is refused before it is made.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from earwitness.core.errors import ModelError

WRAPPERS = ("model", "state_dict", "model_state_dict")  # a training script's own entry around the weights


def read_plain_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.pth`, `.pt` or `.bin` file on the CPU, by name; one level of `WRAPPERS` is looked through.

    Raises `ModelError` where the file is not there, is damaged, or holds more than named tensors.
    """
    path = Path(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError("there is no such file", where=path, fix="Check the path.") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        what = f"is not a file of plain weights ({reason})"
        raise ModelError(
            what, where=path, fix="Nothing else is read from a pickle: save its state-dict alone."
        ) from None
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
            break
    named = isinstance(found, dict) and all(isinstance(name, str) for name in found)
    if not named or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise ModelError("holds more than named tensors, or none", where=path, fix="Save its state-dict alone.")
    return dict(found)
