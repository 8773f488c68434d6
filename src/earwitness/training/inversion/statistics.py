"""What a trained network still knows of its data: the mean and variance of every channel, and how far a batch is off.

The batch-norm loss of DeepInversion (arXiv 1912.08795), as in CMI (arXiv 2105.08584): for every layer l with stored
mean m and variance v, and mean mu and biased variance s2 of that layer's input over a batch,

    L_bn = sum_l ( ||v_l - s2_l|| + ||m_l - mu_l|| )        Euclidean norms, not squared

A network without batch-norm stores nothing; the owner of its data can record the same for it (`record_statistics`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from earwitness.core.errors import DataError, ModelError
from earwitness.training.tensors import read_tensors, write_tensors

RECORDED = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.LayerNorm)  # layers whose inputs an owner records


@dataclass(frozen=True)
class Known:
    """Mean and variance [C] of a layer's input over the training data; `axis` is that of its channels."""

    mean: Tensor
    variance: Tensor
    axis: int = 1


def stored_statistics(network: nn.Module, where: object = None) -> dict[str, Known]:
    """By layer, in the order of the network, what its batch-norms keep.

    Raises `ModelError` for a network without any: nothing else takes the place of statistics.
    """
    found = {
        name: Known(layer.running_mean, layer.running_var)
        for name, layer in network.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None
    }
    if not found:
        raise ModelError(
            "has no batch-norm with stored statistics, so it cannot be inverted by them",
            where=where,
            fix="Ask the owner of its data to record statistics, and name their file as `statistics` in the recipe.",
        )
    return found


@torch.no_grad()
def record_statistics(network: nn.Module, batches: Iterable[Tensor]) -> dict[str, Known]:
    """By layer, mean and variance of its inputs over batches of real features: what the owner of the data gives.

    Of convolutions, linear layers and layer-norms. Raises `DataError` without a batch.
    """
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, RECORDED)}
    sums: dict[str, list[Tensor]] = {}

    def add(name: str, axis: int, value: Tensor) -> None:
        flat = value.double().movedim(axis, 0).flatten(1)
        parts = [torch.tensor(float(flat.shape[1])), flat.sum(1), flat.square().sum(1)]
        sums[name] = [a + b for a, b in zip(sums[name], parts, strict=True)] if name in sums else parts

    handles = [
        layer.register_forward_pre_hook(lambda _, given, name=name, axis=_axis(layer): add(name, axis, given[0]))
        for name, layer in layers.items()
    ]
    try:
        for batch in batches:
            network(batch)
    finally:
        for handle in handles:
            handle.remove()
    if not sums:
        raise DataError("no batch came, so there are no statistics", fix="Give recordings of the training data.")
    found = {}
    for name, (count, total, squares) in sums.items():
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        found[name] = Known(mean.float(), variance.float(), _axis(layers[name]))
    return found


def _axis(layer: nn.Module) -> int:
    return 1 if isinstance(layer, nn.Conv1d | nn.Conv2d) else -1


def write_statistics(path: Path, known: Mapping[str, Known]) -> None:
    """As a safetensors file, to be handed on beside the model."""
    tensors = {f"{name}/mean": layer.mean for name, layer in known.items()}
    tensors |= {f"{name}/variance": layer.variance for name, layer in known.items()}
    write_tensors(path, tensors, {"axis": {name: layer.axis for name, layer in known.items()}})


def read_statistics(path: Path, network: nn.Module) -> dict[str, Known]:
    """What `write_statistics` wrote. Raises `ModelError` for another file, or layers that the network does not have."""
    tensors, note = read_tensors(path)
    axes = note.get("axis") if isinstance(note, dict) else None
    layers = dict(network.named_modules())
    if not isinstance(axes, dict) or {f"{name}/{kind}" for name in axes for kind in ("mean", "variance")} != set(
        tensors
    ):
        raise ModelError("holds no recorded statistics", where=path, fix="Write it with `write_statistics`.")
    if strange := [name for name in axes if name not in layers]:
        raise ModelError(f"the teacher has no layer '{strange[0]}'", where=path, fix="Record them of this very model.")
    return {name: Known(tensors[f"{name}/mean"], tensors[f"{name}/variance"], axis) for name, axis in axes.items()}


class Hooks:
    """Hooks on the layers with known statistics, while the block lasts; they hold what the LAST forward pass gave.

    `first` scales the first layer's share of the loss.
    """

    def __init__(self, network: nn.Module, known: Mapping[str, Known], first: float = 1.0) -> None:
        self._network, self._known, self._first = network, known, first
        self._inputs: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Hooks:
        layers = dict(self._network.named_modules())
        self._handles = [
            layers[name].register_forward_pre_hook(lambda _, given, name=name: self._inputs.update({name: given[0]}))
            for name in self._known
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._inputs.clear()

    def loss(self) -> Tensor:
        """L_bn of the last pass, a scalar with gradient."""
        total = torch.zeros((), device=next(iter(self._inputs.values())).device)
        for place, (name, known) in enumerate(self._known.items()):
            flat = self._inputs[name].movedim(known.axis, 0).flatten(1)
            mean, variance = flat.mean(1), flat.var(1, unbiased=False)
            off = torch.linalg.vector_norm(known.variance.to(flat) - variance)
            off = off + torch.linalg.vector_norm(known.mean.to(flat) - mean)
            total = total + (self._first if place == 0 else 1.0) * off
        return total

    def features(self) -> Tensor:
        """[B, D]: means over time and frequency of every layer's input in the last pass, side by side."""
        inputs = [self._inputs[name].movedim(known.axis, 1) for name, known in self._known.items()]
        batch = max(len(value) for value in inputs)
        inputs = [value if len(value) == batch else _one_by_one(value, batch) for value in inputs]
        return torch.cat([value.flatten(2).mean(2) if value.ndim > 2 else value for value in inputs], dim=1)


def _one_by_one(value: Tensor, batch: int) -> Tensor:
    """[1, C, B T] -> [B, C, T]: some encoders put the utterances of a batch behind each other before a layer."""
    return value.reshape(value.shape[1], batch, -1).transpose(0, 1)
