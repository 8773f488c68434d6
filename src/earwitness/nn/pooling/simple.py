"""Pooling without parameters: mean, mean with standard deviation, and the last frame."""

from __future__ import annotations

from typing import Literal

import torch

from earwitness.nn.pooling.base import (
    Pooling,
    PoolingConfigBase,
    moments,
    require_frames,
    standard_deviation,
    uniform_weights,
)
from earwitness.nn.types import Embedding, Frames

VARIANCE_FLOOR = 1e-10


class MeanConfig(PoolingConfigBase):
    """Average over time."""

    kind: Literal["mean"] = "mean"

    def build(self, input_dim: int) -> Mean:
        """dim = input_dim."""
        return Mean(input_dim)


class StatisticsConfig(PoolingConfigBase):
    """Mean and standard deviation over time (x-vectors, Interspeech 2017); `ddof` 1 for that of the sample."""

    kind: Literal["statistics"] = "statistics"
    ddof: Literal[0, 1] = 0

    def build(self, input_dim: int) -> Statistics:
        """dim = 2 input_dim."""
        return Statistics(input_dim, self.ddof)


class LastConfig(PoolingConfigBase):
    """The last frame that counts: for recurrent encoders."""

    kind: Literal["last"] = "last"

    def build(self, input_dim: int) -> Last:
        """dim = input_dim."""
        return Last(input_dim)


class Mean(Pooling):
    """Frames [B, T, F] -> [B, F]."""

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.dim = input_dim

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, F] -> [B, F]."""
        require_frames(frames)
        if frames.mask is None:
            return Embedding(frames.values.mean(1))
        return Embedding((uniform_weights(frames) * frames.values.transpose(1, 2)).sum(-1))


class Statistics(Pooling):
    """Frames [B, T, F] -> [mean; standard deviation] [B, 2F]; of the population or of the sample. One frame deviates
    by about 0."""

    def __init__(self, input_dim: int, ddof: int = 0) -> None:
        super().__init__()
        self.dim = 2 * input_dim
        self._ddof = ddof

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, F] -> [B, 2F]."""
        require_frames(frames)
        weights = uniform_weights(frames)
        mean, variance = moments(frames.values.transpose(1, 2), weights)
        if self._ddof:
            share = weights.amax(-1, keepdim=True)  # 1 / T
            variance = variance / (1 - share).clamp(min=share / 2)
        return Embedding(torch.cat([mean, standard_deviation(variance, VARIANCE_FLOOR)], dim=1).squeeze(-1))


class Last(Pooling):
    """Frames [B, T, F] -> the last one that the mask counts, [B, F]."""

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.dim = input_dim

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, F] -> [B, F]."""
        require_frames(frames)
        values, mask = frames.values, frames.mask
        if mask is None:
            return Embedding(values[:, -1])
        steps = torch.arange(values.shape[1], device=values.device)
        last = torch.where(mask, steps, -1).amax(1)
        return Embedding(values[torch.arange(values.shape[0], device=values.device), last])
