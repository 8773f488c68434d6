"""A perceptron over each frame alone: linear layers with ReLUs between and after them."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from earwitness.nn.encoders.base import Encoder, EncoderConfigBase
from earwitness.nn.types import Frames


class PerceptronConfig(EncoderConfigBase):
    """`widths` of the layers; `dropout` after each."""

    kind: Literal["perceptron"] = "perceptron"
    widths: tuple[int, ...] = Field((128,), min_length=1)
    dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, input_dim: int) -> Perceptron:
        """With random weights, for frames of `input_dim` values."""
        return Perceptron(self, input_dim)


class Perceptron(Encoder):
    """[B, T, input_dim] -> [B, T, the last width]."""

    def __init__(self, config: PerceptronConfig, input_dim: int) -> None:
        super().__init__()
        self.dim = config.widths[-1]
        widths = (input_dim, *config.widths)
        self.layers = nn.Sequential(*(layer for pair in pairwise(widths) for layer in _layer(*pair, config.dropout)))

    def forward(self, frames: Frames) -> Frames:
        """[B, T, input_dim] -> [B, T, dim]."""
        values: Tensor = self.layers(frames.values)
        return Frames(values, frames.mask)


def _layer(inputs: int, outputs: int, dropout: float) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)
