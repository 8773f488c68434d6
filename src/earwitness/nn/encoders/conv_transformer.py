"""A small encoder for CPUs: strided convolutions thin out the frames, Transformer or Conformer blocks see all of them.

The size of the small emotion encoder (`conv_transformer` with its defaults on 80 log-mel energies: two convolutions of
stride 2, four blocks, 144 channels) is ours.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.nn.encoders.base import Encoder, EncoderConfigBase, as_frames, channels_first
from earwitness.nn.layers.conformer import ConformerBlock, TransformerBlock, sinusoids
from earwitness.nn.types import Frames


class ConvTransformerConfig(EncoderConfigBase):
    """Each convolution has `kernel` frames and one of the `strides`, and is followed by a layer norm and Swish.

    `block` transformer is pre-norm; conformer has a batch-norm over the frames of one length, so it trains best on
    crops of one length.
    """

    kind: Literal["conv_transformer"] = "conv_transformer"
    dim: int = Field(144, ge=1)
    strides: tuple[int, ...] = (2, 2)
    kernel: int = Field(3, ge=1)
    block: Literal["transformer", "conformer"] = "transformer"
    blocks: int = Field(4, ge=0)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)

    def build(self, input_dim: int) -> ConvTransformer:
        """Raises `RecipeError` where `dim` is no multiple of `heads`."""
        return ConvTransformer(self, input_dim)


class ConvTransformer(Encoder):
    """Frames [B, T, F] -> [B, T', dim]; each stride s divides T by s, rounded up. Fixed sine positions, of any
    length."""

    def __init__(self, config: ConvTransformerConfig, input_dim: int) -> None:
        super().__init__()
        self.dim = config.dim
        self._strides = config.strides
        widths = [input_dim, *[config.dim] * len(config.strides)]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, b, config.kernel, stride, padding=config.kernel // 2)
            for a, b, stride in zip(widths, widths[1:], config.strides, strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(config.dim) for _ in config.strides)
        self.enter = nn.Identity() if config.strides else nn.Linear(input_dim, config.dim)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, frames: Frames) -> Frames:
        """[B, T, F] -> [B, T', dim]."""
        x, mask = channels_first(frames), frames.mask
        for convolution, norm, stride in zip(self.convolutions, self.norms, self._strides, strict=True):
            count = -(-x.shape[2] // stride)
            x = F.silu(norm(convolution(x)[:, :, :count].transpose(1, 2))).transpose(1, 2)
            mask = mask if mask is None else mask[:, ::stride]
        values: Tensor = self.enter(x.transpose(1, 2))
        places = sinusoids(values.shape[1], self.dim).to(values)
        values = self.dropout(values * math.sqrt(self.dim) + places)
        for block in self.blocks:
            values = block(values)
        return as_frames(self.norm(values).transpose(1, 2), mask)


def _block(config: ConvTransformerConfig) -> nn.Module:
    if config.block == "conformer":
        return ConformerBlock(config.dim, config.heads, kernel=15, dropout=config.dropout)
    return TransformerBlock(config.dim, config.heads, 4 * config.dim, dropout=config.dropout)
