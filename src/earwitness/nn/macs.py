"""What a network costs: multiply-accumulates of its convolutions and linear layers, and nothing else.

Normalisation, activations, products between activations (attention) and recurrent layers are not counted; other
counters count some of them, so figures are comparable only with those of the same counter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)


@torch.no_grad()
def count_macs(network: nn.Module, *inputs: object) -> int:
    """Multiply-accumulates of `network(*inputs)` in convolution and linear layers, over all items of the batch."""
    total = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, Tensor)
        total += output.numel() * math.prod(weight.shape[1:])

    hooks = [layer.register_forward_hook(add) for layer in network.modules() if isinstance(layer, LAYERS)]
    try:
        network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return total
