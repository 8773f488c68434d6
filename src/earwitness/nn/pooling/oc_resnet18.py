"""The network of OC-Softmax (arXiv 2010.13995): a pre-activation ResNet-18 over LFCCs and attentive statistics.

A reconstruction: 16 channels behind the first convolution and the attention's form (one weight a frame, tanh of a
linear map) are the paper's released code as far as we know it; its deviation is computed here around the weighted mean.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.core.errors import RecipeError
from earwitness.nn.pooling.base import (
    Pooling,
    PoolingConfigBase,
    moments,
    run_unpadded,
    standard_deviation,
)
from earwitness.nn.types import Embedding, Frames

VARIANCE_FLOOR = 1e-10


class OcResNet18Config(PoolingConfigBase):
    """`widths` of the four stages, two blocks each; `collapsed`: channels once frequency is gone; `dim` of the
    result."""

    kind: Literal["oc_resnet18"] = "oc_resnet18"
    stem: int = Field(default=16, ge=1)
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    collapsed: int = Field(default=256, ge=1)
    dim: int = Field(default=256, ge=1)

    @model_validator(mode="after")
    def _positive(self) -> OcResNet18Config:
        if min(self.widths) < 1:
            raise ValueError("widths are at least 1")
        return self

    def build(self, input_dim: int) -> OcResNet18:
        """For frames of at least 7 values (published: 60). Raises `RecipeError` for fewer."""
        return OcResNet18(self, input_dim)


class PreActivationBlock(nn.Module):
    """Twice batch-norm, ReLU and a 3x3 convolution, plus the input (through a 1x1 convolution where the shape
    changes)."""

    def __init__(self, input_dim: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(input_dim)
        self.conv1 = nn.Conv2d(input_dim, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        changes = stride > 1 or input_dim != width
        self.shortcut = nn.Conv2d(input_dim, width, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, F, T] -> [B, width, F', T']."""
        entered = torch.relu(self.norm1(x))
        path = self.conv2(torch.relu(self.norm2(self.conv1(entered))))
        return path + (x if self.shortcut is None else self.shortcut(entered))  # type: ignore[no-any-return]


class OcResNet18(Pooling):
    """Frames [B, T, F] -> [B, dim]. Time is divided by 8 (rounded up) before the attention."""

    def __init__(self, config: OcResNet18Config, input_dim: int) -> None:
        super().__init__()
        if input_dim < 7:
            raise RecipeError(f"frames of {input_dim} values are too small for this network", fix="At least 7.")
        self.dim = config.dim
        self.stem = nn.Sequential(
            nn.Conv2d(1, config.stem, (9, 3), (3, 1), padding=1, bias=False), nn.BatchNorm2d(config.stem), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        channels, height = config.stem, (input_dim - 7) // 3 + 1
        for width, stride in zip(config.widths, (1, 2, 2, 2), strict=True):
            blocks += [PreActivationBlock(channels, width, stride), PreActivationBlock(width, width, 1)]
            channels, height = width, -(-height // stride)
        self.blocks = nn.Sequential(*blocks)
        self.collapse = nn.Sequential(
            nn.Conv2d(channels, config.collapsed, (height, 3), padding=(0, 1), bias=False),
            nn.BatchNorm2d(config.collapsed),
            nn.ReLU(),
        )
        self.attention = nn.Linear(config.collapsed, 1, bias=False)
        self.embedding = nn.Linear(2 * config.collapsed, config.dim)

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, F] -> [B, dim]."""
        return run_unpadded(self._pooled, frames)

    def _pooled(self, values: Tensor) -> Tensor:
        x = self.collapse(self.blocks(self.stem(values.transpose(1, 2).unsqueeze(1)))).squeeze(2)  # [B, C, T / 8]
        weights = torch.softmax(torch.tanh(self.attention(x.transpose(1, 2))), dim=1).transpose(1, 2)
        mean, variance = moments(x, weights)
        statistics = torch.cat([mean, standard_deviation(variance, VARIANCE_FLOOR)], dim=1).squeeze(-1)
        return self.embedding(statistics)  # type: ignore[no-any-return]
