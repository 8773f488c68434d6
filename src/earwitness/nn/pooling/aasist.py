"""AASIST as a back-end on frames of a speech model (arXiv 2110.01200; on wav2vec 2.0, arXiv 2202.12233).

The frames are projected, seen as an image of feature channels over time, and turned by residual blocks into spectral
and temporal nodes, which graph attention joins to one vector. From the raw waveform: `aasist_raw.py`.

Attention between all pairs of T / 3 temporal nodes costs memory with the square of the length: score long recordings
in windows.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.core.errors import AudioError
from earwitness.nn.layers.spectro_temporal import GraphSizes, SpectroTemporalGraphs, residual_stack
from earwitness.nn.pooling.base import Pooling, PoolingConfigBase, run_unpadded
from earwitness.nn.types import Embedding, Frames

PATCH = 3  # features and frames that share their maximum


class AasistOptions(PoolingConfigBase):
    """What both forms of AASIST are asked for.

    `widths` of the residual blocks; `dims` of the first and of the heterogeneous graphs; `ratios` (nodes kept) and
    `temperatures` of spectral graph, temporal graph, heterogeneous graphs. `pre_activation`: batch-norm and SELU in
    front of each block, as the paper has it; the released code computes them and goes on without, so its weights need
    `false`. The paper's dropout of 0.5 before the classifier is the network's own `dropout`.
    """

    widths: tuple[int, ...] = Field(default=(32, 32, 64, 64, 64, 64), min_length=1)
    dims: tuple[int, int] = (64, 32)
    ratios: tuple[float, float, float] = (0.5, 0.5, 0.5)
    temperatures: tuple[float, float, float] = (2.0, 2.0, 100.0)
    pre_activation: bool = True

    @model_validator(mode="after")
    def _positive(self) -> AasistOptions:
        if min(*self.widths, *self.dims) < 1 or min(self.temperatures) <= 0:
            raise ValueError("widths, dims and temperatures are above 0")
        if not all(0 < ratio <= 1 for ratio in self.ratios):
            raise ValueError("ratios lie above 0 and up to 1")
        return self

    def graphs(self, spectral: int) -> SpectroTemporalGraphs:
        """The graphs for `spectral` spectral nodes."""
        return SpectroTemporalGraphs(self.widths[-1], spectral, GraphSizes(self.dims, self.ratios, self.temperatures))


class AasistConfig(AasistOptions):
    """`projection`: a linear layer to so many values in front, None for the frames as they are."""

    kind: Literal["aasist"] = "aasist"
    projection: int | None = Field(default=128, ge=PATCH)

    def build(self, input_dim: int) -> Aasist:
        """dim = 5 dims[1], 160 by default."""
        return Aasist(self, input_dim)


class Aasist(Pooling):
    """Frames [B, T, F] -> [B, 5 dims[1]]; at least 3 frames."""

    def __init__(self, config: AasistConfig, input_dim: int) -> None:
        super().__init__()
        width = input_dim if config.projection is None else config.projection
        self.projection = nn.Identity() if config.projection is None else nn.Linear(input_dim, width)
        self.norm = nn.BatchNorm2d(1)
        self.blocks = residual_stack(config.widths, time_pool=1, pre_activation=config.pre_activation)
        channels = config.widths[-1]
        self.block_norm = nn.BatchNorm2d(channels)
        self.attention = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1),
            nn.SELU(),
            nn.BatchNorm2d(2 * channels),
            nn.Conv2d(2 * channels, channels, 1),
        )
        self.graphs = config.graphs(width // PATCH)
        self.dim = self.graphs.dim

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, F] -> [B, dim]. Raises `AudioError` for fewer than 3 frames."""
        return run_unpadded(self._pooled, frames)

    def _pooled(self, values: Tensor) -> Tensor:
        if values.shape[1] < PATCH:
            raise AudioError(f"too short: {values.shape[1]} frame(s), the network needs at least {PATCH}")
        image = F.max_pool2d(self.projection(values).transpose(1, 2).unsqueeze(1), PATCH)  # [B, 1, F / 3, T / 3]
        x = F.selu(self.block_norm(self.blocks(F.selu(self.norm(image)))))
        attention = self.attention(x)
        spectral = (x * torch.softmax(attention, dim=-1)).sum(-1)
        temporal = (x * torch.softmax(attention, dim=-2)).sum(-2)
        return self.graphs(spectral.transpose(1, 2), temporal.transpose(1, 2))  # type: ignore[no-any-return]
