"""AASIST behind its own filter bank (arXiv 2110.01200): to be used with the front-end `sinc`."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.core.errors import AudioError
from earwitness.nn.layers.spectro_temporal import residual_stack
from earwitness.nn.pooling.aasist import AasistOptions
from earwitness.nn.pooling.base import Pooling, run_unpadded
from earwitness.nn.types import Embedding, Frames

TIME_POOL = 3  # frames that share their maximum behind every block


class AasistRawConfig(AasistOptions):
    """AASIST: the defaults with ratios (0.5, 0.7, 0.5). AASIST-L: widths (32, 32, 24, 24, 24, 24), dims (24, 32),
    ratios (0.4, 0.5, 0.7)."""

    kind: Literal["aasist_raw"] = "aasist_raw"
    ratios: tuple[float, float, float] = (0.5, 0.7, 0.5)

    def build(self, input_dim: int) -> AasistRaw:
        """For frames of `input_dim` filters; dim = 5 dims[1], 160 by default."""
        return AasistRaw(self, input_dim)


class AasistRaw(Pooling):
    """Frames [B, T, filters] -> [B, 5 dims[1]]; at least 3 frames a block to the power of blocks, 729 by default.

    The nodes are the largest absolute values over time and over frequency.
    """

    def __init__(self, config: AasistRawConfig, input_dim: int) -> None:
        super().__init__()
        self.shortest = TIME_POOL ** len(config.widths)
        self.norm = nn.BatchNorm2d(1)
        self.blocks = residual_stack(config.widths, time_pool=TIME_POOL, pre_activation=config.pre_activation)
        self.graphs = config.graphs(input_dim)
        self.dim = self.graphs.dim

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, filters] -> [B, dim]. Raises `AudioError` where too few frames are there."""
        return run_unpadded(self._pooled, frames)

    def _pooled(self, values: Tensor) -> Tensor:
        if values.shape[1] < self.shortest:
            what = f"too short: {values.shape[1]} frame(s), the network needs at least {self.shortest}"
            raise AudioError(what, fix="Repeat the recording: `windows: {kind: tile}`.")
        x = self.blocks(F.selu(self.norm(values.transpose(1, 2).unsqueeze(1)))).abs()
        return self.graphs(x.amax(3).transpose(1, 2), x.amax(2).transpose(1, 2))  # type: ignore[no-any-return]
