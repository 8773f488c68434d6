"""Tensors on disk: safetensors files with a JSON note in their header, written whole or not at all. Nothing is
unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from earwitness.core.errors import ModelError
from earwitness.core.writing import write_atomically
from earwitness.nn.layers.frozen import frozen_keys

State = Mapping[str, Tensor]


def stands_under(name: str, prefix: str) -> bool:
    """Whether a dotted name is the prefix or continues it: `branches.10` does not stand under `branches.1`."""
    prefix = prefix.rstrip(".")
    return name == prefix or name.startswith(f"{prefix}.")


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies, on the CPU, of what training changes: all parameters and buffers but those of frozen pretrained parts."""
    frozen = frozen_keys(model)
    state = {name: value for name, value in model.state_dict().items() if name not in frozen}
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in state.items()
    }


def load_trained_state(model: nn.Module, state: State, where: object = None) -> None:
    """Put back what `trained_state` gave. Raises `ModelError` where names or shapes don't agree in both directions."""
    own = model.state_dict()
    expected = {name: own[name] for name in own.keys() - frozen_keys(model)}
    missing, unexpected = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unexpected:
        parts = [
            f"{len(names)} {kind} (first: {names[0]})"
            for kind, names in (("missing", missing), ("unexpected", unexpected))
            if names
        ]
        raise ModelError(f"the weights do not fit the network: {', '.join(parts)}", where=where)
    for name, value in expected.items():
        if value.shape != state[name].shape:
            raise ModelError(
                f"'{name}' has shape {list(state[name].shape)}, the network {list(value.shape)}", where=where
            )
    model.load_state_dict(dict(state), strict=False)


def tensor_bytes(tensors: State, note: Any = None) -> bytes:
    """A safetensors file with `note` (plain data) in its header, as bytes."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    content: bytes = safetensors.torch.save(plain, {"note": json.dumps(note)})
    return content


def write_tensors(path: Path, tensors: State, note: Any = None) -> None:
    """The same as a file: tensors and note are replaced in one rename."""
    write_atomically(path, tensor_bytes(tensors, note))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """What `write_tensors` wrote (any safetensors file; its note may be None). Raises `ModelError`; never executes
    anything.
    """
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            note = (file.metadata() or {}).get("note", "null")
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(note)  # noqa: SIM118
    except FileNotFoundError:
        raise ModelError("there is no such file", where=path) from None
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"is not a safetensors file ({reason})", where=path, fix="Pickled weights are never loaded."
        ) from None


def as_half(state: State) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Floats as float16, and the types that were changed by name. A tensor whose values float16 cannot hold stays."""
    halved = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    kept = {name: state[name] if _overflows(state[name], half) else half for name, half in halved.items()}
    types = {name: _type_name(state[name]) for name, value in kept.items() if value.dtype != state[name].dtype}
    return kept, types


def restored(state: State, note: Any) -> dict[str, Tensor]:
    """Tensors of a file in the types that `as_half` noted; those that it did not change stay as they are."""
    types = note if isinstance(note, dict) else {}
    return {name: value.to(_FLOATS.get(str(types.get(name)), value.dtype)) for name, value in state.items()}


_FLOATS = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}


def _type_name(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _overflows(value: Tensor, half: Tensor) -> bool:
    return bool((half.isfinite() != value.isfinite()).any())
