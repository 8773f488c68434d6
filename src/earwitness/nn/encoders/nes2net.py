"""Nes2Net and Nes2Net-X, arXiv 2504.05657: nested Res2Net over the frames of a large speech model, no reduction layer.

The outer network splits the channels into groups, passes all but the last through an inner SE-Res2 block with a running
sum, and normalises their concatenation. Nes2Net-X replaces the running sum inside a block by a growing stack of
columns, each convolved again at every step, and a learned weighted sum over them; Nes2Net-X-SeLU does so with SELU for
ReLU. Pooling and classifier stand outside (`nn.pooling`, `nn.back_end.BackEnd`).

The dilation leaves no trace in the weights: whoever keeps weights must keep the configuration with them.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from earwitness.nn.encoders.base import Encoder, EncoderConfigBase, as_frames, channels_first
from earwitness.nn.layers.res2 import Activation, Res2, SERes2Block, Tdnn, group_width
from earwitness.nn.types import Frames

Variant = Literal["nes2net", "nes2net_x", "nes2net_x_selu"]


class Nes2NetConfig(EncoderConfigBase):
    """`nes_ratio`: groups of the outer and of the inner network. `se_ratio`: channels over squeeze-excitation units.

    Published: (8, 8), 1, and dilation 1 (CtrSVDD, ASVspoof 5) or 2 (ASVspoof 2019/2021, In-the-Wild).
    """

    kind: Variant = "nes2net_x"
    nes_ratio: tuple[int, int] = (8, 8)
    se_ratio: int = Field(default=1, ge=1)
    dilation: int = Field(default=1, ge=1)

    def build(self, input_dim: int) -> Nes2Net:
        """Raises `RecipeError` where `input_dim` cannot be split by `nes_ratio`."""
        return Nes2Net(self, input_dim)


class WeightedRes2(nn.Module):
    """The inner network of Nes2Net-X (section 2.3): convolve the stack of all groups so far, give a weighted sum of it.

    The stack starts with the last group, which also passes through untouched. Its columns lie along the batch axis
    here, which gives the same sums and batch statistics as the published 2-D convolution with kernel (3, 1), faster.
    """

    def __init__(self, channels: int, groups: int, dilation: int, *, activation: Activation = nn.ReLU) -> None:
        super().__init__()
        self._groups = groups
        width = group_width(channels, groups)
        self.steps = nn.ModuleList(Tdnn(width, width, 3, dilation, activation=activation) for _ in range(groups - 1))
        self.weights = nn.ParameterList(nn.Parameter(torch.full((i + 2,), 1 / (i + 2))) for i in range(groups - 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        *groups, last = x.chunk(self._groups, dim=1)
        stack = last
        outputs: list[Tensor] = []
        for step, weight, group in zip(self.steps, self.weights, groups, strict=True):
            stack = step(torch.cat([stack, group]))  # [(i + 2) B, w, T]
            outputs.append(torch.einsum("n,nbwt->bwt", weight, stack.unflatten(0, (len(weight), -1))))
        return torch.cat([*outputs, last], dim=1)


class Nes2Net(Encoder):
    """All three variants; frames [B, T, F] -> [B, T, F]."""

    def __init__(self, config: Nes2NetConfig, input_dim: int) -> None:
        super().__init__()
        self.dim = input_dim
        self._groups, inner = config.nes_ratio
        width = group_width(input_dim, self._groups)
        selu = config.kind == "nes2net_x_selu"
        activation: Activation = nn.SELU if selu else nn.ReLU
        mixing = Res2 if config.kind == "nes2net" else WeightedRes2
        hidden = max(2, width // config.se_ratio) if selu else width // config.se_ratio  # as the official code has it
        self.blocks = nn.ModuleList(
            SERes2Block(
                width, mixing(width, inner, config.dilation, activation=activation), hidden, activation=activation
            )
            for _ in range(self._groups - 1)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(self._groups - 1))
        self.norm = nn.BatchNorm1d(input_dim)
        self.activation = activation()

    def nested(self, x: Tensor) -> Tensor:
        """The nested network before the final batch-norm, [B, F, T] -> [B, F, T]; the last group is untouched."""
        *groups, last = x.chunk(self._groups, dim=1)
        outputs: list[Tensor] = []
        for block, norm, group in zip(self.blocks, self.norms, groups, strict=True):
            outputs.append(norm(self.activation(block(group + outputs[-1] if outputs else group))))
        return torch.cat([*outputs, last], dim=1)

    def forward(self, frames: Frames) -> Frames:
        """[B, T, F] -> [B, T, F]."""
        return as_frames(self.activation(self.norm(self.nested(channels_first(frames)))), frames.mask)
