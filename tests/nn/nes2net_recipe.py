"""The deterministic input and weights of the equivalence recipe (nes2net sheet, section 6.1), and back-ends to fill."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from earwitness.nn.back_end import BackEnd
from earwitness.nn.encoders import Nes2NetConfig
from earwitness.nn.encoders.nes2net_keys import back_end_to_official, back_end_to_ours
from earwitness.nn.pooling import AstpConfig, MeanConfig

MODULUS = 65521


def back_end(kind: str, *, logits: int = 1, pool: str = "mean", dim: int = 1024, **options: object) -> BackEnd:
    """A back-end in eval mode with random weights."""
    encoder = Nes2NetConfig.model_validate({"kind": kind, **options}).build(dim)
    pooling = (AstpConfig() if pool == "ASTP" else MeanConfig()).build(encoder.dim)
    return BackEnd(encoder, pooling, nn.Linear(pooling.dim, logits)).eval()


def recipe_input(items: int = 2, channels: int = 1024, frames: int = 50) -> Tensor:
    """x[b, c, t], float64."""
    b = torch.arange(1, items + 1).view(-1, 1, 1)
    c = torch.arange(1, channels + 1).view(1, -1, 1)
    t = torch.arange(1, frames + 1).view(1, 1, -1)
    return 2 * ((7919 * b + 104729 * c + 31 * t * t + 17 * c * t) % MODULUS).double() / MODULUS - 1


def _values(index: int, count: int) -> Tensor:
    j = torch.arange(1, count + 1)
    return 2 * ((7919 * (index + 1) + 104729 * j + 31 * j * j) % MODULUS).double() / MODULUS - 1


def _filled(name: str, shape: torch.Size, v: Tensor) -> Tensor:
    if "weighted_sum" in name:
        return 1 / shape[-1] + 0.3 * v
    if name.endswith("running_var"):
        return 1 + 0.5 * v.abs()
    if name.endswith(("running_mean", ".bias")):
        return 0.1 * v
    if len(shape) == 1:
        return 1 + 0.2 * v
    return v * math.sqrt(3 / math.prod(shape[1:]))


def official_state(network: BackEnd) -> dict[str, Tensor]:
    """A filled official state-dict (float64, no prefix) that fits `network`; counters of batch-norm stay 0."""
    state = back_end_to_official(network.double().state_dict())
    names = sorted((name for name in state if not name.endswith("num_batches_tracked")), key=str.encode)
    for index, name in enumerate(names):
        shape = state[name].shape
        state[name] = _filled(name, shape, _values(index, state[name].numel())).reshape(shape)
    return state


def fill(network: BackEnd) -> int:
    """Fill the network by the recipe, in float64; returns the number of filled keys."""
    state = official_state(network)
    network.load_state_dict(back_end_to_ours(state, network.state_dict()))
    return sum(not name.endswith("num_batches_tracked") for name in state)
