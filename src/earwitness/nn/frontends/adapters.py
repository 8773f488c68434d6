"""AdaLAM: trainable bottleneck adapters in a frozen encoder (arXiv 2504.10819; adapters of arXiv 1902.00751).

A reconstruction: which backbone, adapter and place the paper takes could not be found. Here every layer of the encoder
has one, on what its feed-forward sub-layer gives, before that is added to the sub-layer's input:

    a(u) = u + W_up GELU(W_down LN(u) + b_down) + b_up,    W_down [r, F], W_up [F, r]

W_up and b_up start at zero, so an encoder with new adapters gives what it gives without.

A frozen encoder is shared by all heads of a process. An adapted one has modules of its own over the same weights (the
very tensors), so that no other head meets its adapters, and nothing is stored twice.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.core.config import Config


class AdaptersConfig(Config):
    """`hidden` is the width r of the bottleneck."""

    hidden: int = Field(64, ge=1)

    def build(self, layers: int, width: int) -> nn.ModuleList:
        """One adapter a layer, for values of `width`."""
        return nn.ModuleList(Adapter(width, self.hidden) for _ in range(layers))


class Adapter(nn.Module):
    """[..., F] -> [..., F]; 2 F r + r + 3 F parameters."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, u: Tensor) -> Tensor:
        """The input and what the bottleneck adds to it."""
        added: Tensor = self.up(F.gelu(self.down(self.norm(u))))
        return u + added


def over_same_weights(module: nn.Module) -> Any:
    """A copy of the modules alone: its parameters and buffers are those of `module`, not copies of them."""
    kept = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, kept)  # a memo: what stands in it is not copied


def attach(adapters: nn.ModuleList, sublayers: Sequence[nn.Module]) -> None:
    """Let each adapter change what its feed-forward sub-layer gives. For sub-layers that nobody shares."""
    for adapter, sublayer in zip(adapters, sublayers, strict=True):
        sublayer.register_forward_hook(_Adapting(adapter))


class _Adapting:
    """A forward hook: holds the adapter without becoming its parent."""

    def __init__(self, adapter: nn.Module) -> None:
        self.adapter = adapter

    def __call__(self, module: nn.Module, given: object, output: Tensor) -> Any:
        return self.adapter(output)
