"""A small 2-D convolutional encoder for sound classes: convolution, batch-norm, ReLU; frequency is averaged away.

Its frames before statistics pooling, and what the pooling gives, are the hidden states that FRAMI-style distillation
(`training.inversion`; arXiv 2303.07643) hands from a teacher to a student. The layout is ours: the paper's was not to
be had.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.nn.encoders.base import Encoder, EncoderConfigBase, channels_first
from earwitness.nn.types import Frames


class Conv2dConfig(EncoderConfigBase):
    """Width and stride (time and frequency alike) of every 3x3 layer."""

    kind: Literal["conv2d"] = "conv2d"
    widths: tuple[int, ...] = Field(default=(16, 32, 64, 96), min_length=1)
    strides: tuple[int, ...] = (1, 2, 2, 1)

    @model_validator(mode="after")
    def _one_entry_a_layer(self) -> Conv2dConfig:
        if len(self.widths) != len(self.strides):
            raise ValueError("widths and strides need one entry a layer")
        if min(*self.widths, *self.strides) < 1:
            raise ValueError("widths and strides are at least 1")
        return self

    def build(self, input_dim: int) -> Conv2d:
        """A network for frames of any number of frequency values."""
        return Conv2d(self)


class Conv2d(Encoder):
    """Frames [B, T, F] -> [B, T', widths[-1]]; each stride s divides T by s, rounded up."""

    def __init__(self, config: Conv2dConfig) -> None:
        super().__init__()
        self.dim = config.widths[-1]
        self._strides = config.strides
        layers: list[nn.Module] = []
        channels = 1
        for width, stride in zip(config.widths, config.strides, strict=True):
            convolution = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.layers = nn.Sequential(*layers)

    def forward(self, frames: Frames) -> Frames:
        """[B, T, F] -> [B, T', dim]."""
        x: Tensor = self.layers(channels_first(frames).unsqueeze(1))
        mask = frames.mask
        for stride in self._strides:
            mask = mask if mask is None else mask[:, ::stride]
        return Frames(x.mean(2).transpose(1, 2), mask)
