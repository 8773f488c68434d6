"""Light CNN with max-feature-map activations over LFCCs: the LFCC-LCNN baseline of the ASVspoof challenges.

Layers as in arXiv 1904.05576 (LCNN for anti-spoofing), with two bidirectional LSTMs and averaging behind them as in
arXiv 2103.11326. A max-feature-map halves the channels: of two that compete, the larger value passes.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.core.errors import RecipeError
from earwitness.nn.pooling.base import Pooling, PoolingConfigBase, run_unpadded
from earwitness.nn.types import Embedding, Frames

POOLS = 4  # maxima over 2 x 2, so 16 values and 16 frames become one


class LcnnConfig(PoolingConfigBase):
    """`widths`: channels behind the four groups of layers. `lstm`: two of them, each added to its input, or none."""

    kind: Literal["lcnn"] = "lcnn"
    widths: tuple[int, int, int, int] = (32, 48, 64, 32)
    lstm: bool = True
    dropout: float = Field(default=0.7, ge=0, lt=1)

    def build(self, input_dim: int) -> Lcnn:
        """dim = widths[3] * (input_dim // 16), 96 for 60 coefficients. Raises `RecipeError` for fewer than 16
        values."""
        return Lcnn(self, input_dim)


class MaxFeatureMap(nn.Module):
    """A convolution to twice the channels, and of each pair of halves the larger: [B, C, T, F] -> [B, width, T, F]."""

    def __init__(self, input_dim: int, width: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(input_dim, 2 * width, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, F] -> [B, width, T, F]."""
        one, other = self.convolution(x).chunk(2, dim=1)
        return torch.maximum(one, other)


class HalvingPool(nn.Module):
    """The maximum of 2 x 2: frequency rounds down, as published; time rounds up, so that no frame goes unheard."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, F] -> [B, C, ceil(T / 2), floor(F / 2)]."""
        return F.max_pool2d(x[..., : x.shape[-1] // 2 * 2], 2, ceil_mode=True)


class ResidualLstm(nn.Module):
    """A bidirectional LSTM of the input's width, added to its input."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, dim // 2, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, dim] -> [B, T, dim]."""
        return x + self.lstm(x)[0]  # type: ignore[no-any-return]


class Lcnn(Pooling):
    """Frames [B, T, F] -> the mean over time of [B, T / 16, dim]."""

    def __init__(self, config: LcnnConfig, input_dim: int) -> None:
        super().__init__()
        bands = input_dim // 2**POOLS
        if not bands or min(config.widths) < 1 or (config.lstm and config.widths[3] * bands % 2):
            raise RecipeError(
                f"lcnn: frames of {input_dim} values do not fit widths {config.widths}", fix="At least 16."
            )
        one, two, three, four = config.widths
        self.layers = nn.Sequential(
            *(MaxFeatureMap(1, one, 5), HalvingPool()),
            *(MaxFeatureMap(one, one, 1), _norm(one), MaxFeatureMap(one, two, 3), HalvingPool(), _norm(two)),
            *(MaxFeatureMap(two, two, 1), _norm(two), MaxFeatureMap(two, three, 3), HalvingPool()),
            *(MaxFeatureMap(three, three, 1), _norm(three), MaxFeatureMap(three, four, 3), _norm(four)),
            *(MaxFeatureMap(four, four, 1), _norm(four), MaxFeatureMap(four, four, 3), HalvingPool()),
            nn.Dropout(config.dropout),
        )
        self.dim = four * bands
        self.over_time = nn.Sequential(*(ResidualLstm(self.dim) for _ in range(2 if config.lstm else 0)))

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, F] -> [B, dim]."""
        return run_unpadded(self._pooled, frames)

    def _pooled(self, values: Tensor) -> Tensor:
        x = self.layers(values.unsqueeze(1))
        return self.over_time(x.transpose(1, 2).flatten(2)).mean(1)  # type: ignore[no-any-return]


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, affine=False)
