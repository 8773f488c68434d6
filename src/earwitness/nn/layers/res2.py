"""The building blocks that ECAPA-TDNN (arXiv 2005.07143) and Nes2Net (arXiv 2504.05657) share.

All work on [B, C, T].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.core.errors import AudioError, RecipeError

Activation = type[nn.ReLU] | type[nn.SELU]


def group_width(channels: int, groups: int) -> int:
    """Channels of one of `groups` equal groups. Raises `RecipeError` where the channels cannot be split so."""
    if groups < 2 or channels % groups:
        raise RecipeError(
            f"{channels} channels cannot be split into {groups} equal groups",
            fix="Choose at least 2 groups, a divisor of the channels.",
        )
    return channels // groups


class Tdnn(nn.Module):
    """Convolution over time with bias, activation, batch-norm, in this order; the number of frames stays.

    `padding_mode` 'zeros' or 'reflect' says what stands beyond the edges.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        kernel: int = 1,
        dilation: int = 1,
        *,
        activation: Activation = nn.ReLU,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(input_dim, output_dim, kernel, dilation=dilation)
        self.activation = activation()
        self.norm = nn.BatchNorm1d(output_dim)
        self._pad = dilation * (kernel - 1) // 2
        self._reflect = padding_mode == "reflect"
        if not self._reflect:
            self.convolution.padding = (self._pad,)

    def forward(self, x: Tensor) -> Tensor:
        """[B, input_dim, T] -> [B, output_dim, T]. Raises `AudioError` where too few frames are there to reflect."""
        if self._reflect and self._pad:
            if x.shape[-1] <= self._pad:
                raise AudioError(f"too short: {x.shape[-1]} frame(s), the network needs at least {self._pad + 1}")
            x = F.pad(x, (self._pad, self._pad), mode="reflect")
        return self.norm(self.activation(self.convolution(x)))  # type: ignore[no-any-return]


class SqueezeExcitation(nn.Module):
    """Scales every channel by a gate computed from the means over time: sigmoid(W2 ReLU(W1 mean))."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        if hidden < 1:
            raise RecipeError(
                f"squeeze-excitation of {channels} channels has no hidden unit", fix="Lower the SE ratio."
            )
        self.squeeze = nn.Conv1d(channels, hidden, 1)
        self.excite = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean(-1, keepdim=True)))))


class Res2(nn.Module):
    """Res2Net mixing: channel groups pass one after the other through a TDNN, each with the previous output added.

    One group passes untouched: the last ('last'), or the first ('first', as speechbrain does). Same number of
    parameters, another function: weights of one do not fit the other.
    """

    def __init__(
        self,
        channels: int,
        groups: int,
        dilation: int,
        *,
        activation: Activation = nn.ReLU,
        padding_mode: str = "zeros",
        untouched: str = "last",
    ) -> None:
        super().__init__()
        self._groups = groups
        self._untouched = untouched
        width = group_width(channels, groups)
        self.steps = nn.ModuleList(
            Tdnn(width, width, 3, dilation, activation=activation, padding_mode=padding_mode) for _ in range(groups - 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        groups = list(x.chunk(self._groups, dim=1))
        idle = groups.pop(0 if self._untouched == "first" else -1)
        outputs: list[Tensor] = []
        for step, group in zip(self.steps, groups, strict=True):
            outputs.append(step(group + outputs[-1] if outputs else group))
        return torch.cat([idle, *outputs] if self._untouched == "first" else [*outputs, idle], dim=1)


class SERes2Block(nn.Module):
    """1x1 TDNN, mixing across channel groups, 1x1 TDNN, squeeze-excitation, plus the input."""

    def __init__(self, channels: int, mixing: nn.Module, se_hidden: int, *, activation: Activation = nn.ReLU) -> None:
        super().__init__()
        self.enter = Tdnn(channels, channels, activation=activation)
        self.mixing = mixing
        self.leave = Tdnn(channels, channels, activation=activation)
        self.excitation = SqueezeExcitation(channels, se_hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        return x + self.excitation(self.leave(self.mixing(self.enter(x))))  # type: ignore[no-any-return]
