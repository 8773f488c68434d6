"""RawNetLite (Di Pierno and others, VERIMEDIA at IJCNN 2025): convolutions at the full rate of samples, and a GRU.

To be used with the front-end `waveform`, one sample a frame. Written from the description that comes with the weights;
the activation behind each sum of a block is their public code's.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.nn.pooling.base import Pooling, PoolingConfigBase, run_unpadded
from earwitness.nn.pretrained.key_map import KeyMap
from earwitness.nn.types import Embedding, Frames


class RawNetLiteConfig(PoolingConfigBase):
    """`width` of the convolutions, `steps` that time is averaged to, `hidden` units of the GRU in each direction.

    An utterance is divided by its peak, and one of fewer than `length` frames ends in silence up to that, as published
    (None: it stays short).
    """

    kind: Literal["rawnet_lite"] = "rawnet_lite"
    width: int = Field(default=64, ge=1)
    steps: int = Field(default=64, ge=1)
    hidden: int = Field(default=128, ge=1)
    dim: int = Field(default=64, ge=1)
    length: int | None = Field(default=48_000, ge=1)

    def build(self, input_dim: int) -> RawNetLite:
        """dim = `dim`."""
        return RawNetLite(self, input_dim)


class SampleBlock(nn.Module):
    """Twice a convolution of 3 samples with batch-norm, plus the input: [B, C, T] -> [B, C, T]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv1d(width, width, 3, padding=1), nn.BatchNorm1d(width)
        self.conv2, self.norm2 = nn.Conv1d(width, width, 3, padding=1), nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        inner = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(inner)) + x)


class RawNetLite(Pooling):
    """Frames [B, T, F] -> [B, dim]: of the GRU both directions at the last step, through a linear layer."""

    def __init__(self, config: RawNetLiteConfig, input_dim: int) -> None:
        super().__init__()
        self.dim = config.dim
        self._length, self._steps = config.length, config.steps
        self.conv, self.norm = nn.Conv1d(input_dim, config.width, 3, padding=1), nn.BatchNorm1d(config.width)
        self.blocks = nn.Sequential(*(SampleBlock(config.width) for _ in range(3)))
        self.gru = nn.GRU(config.width, config.hidden, batch_first=True, bidirectional=True)
        self.embedding = nn.Linear(2 * config.hidden, config.dim)

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, F] -> [B, dim]."""
        return run_unpadded(self._pooled, frames)

    def _pooled(self, values: Tensor) -> Tensor:
        x = (values / values.abs().amax((1, 2), keepdim=True).clamp_min(1e-9)).transpose(1, 2)
        if self._length is not None and x.shape[2] < self._length:
            x = F.pad(x, (0, self._length - x.shape[2]))
        x = self.blocks(torch.relu(self.norm(self.conv(x))))
        steps, _ = self.gru(F.adaptive_avg_pool1d(x, self._steps).transpose(1, 2))
        return self.embedding(steps[:, -1])  # type: ignore[no-any-return]


_BRANCH = r"branches\.0\.pooling\."
RAWNET_LITE_KEYS = KeyMap(
    (
        (_BRANCH + r"conv\.(\w+)", r"conv_pre.\1"),
        (_BRANCH + r"norm\.(\w+)", r"bn_pre.\1"),
        *(
            (rf"{_BRANCH}blocks\.{place}\.{ours}(\d)\.(\w+)", rf"resblock{place + 1}.{official}\1.\2")
            for place in range(3)
            for ours, official in (("conv", "conv"), ("norm", "bn"))
        ),
        (_BRANCH + r"gru\.(\w+)", r"gru.\1"),
        (_BRANCH + r"embedding\.(\w+)", r"fc1.\1"),
        (r"classifier\.(\w+)", r"fc2.\1"),
    )
)
"""Official names of a network of this one branch with a classifier of one logit."""
