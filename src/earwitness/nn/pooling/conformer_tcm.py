"""Conformer-TCM (arXiv 2406.17376): Conformer blocks with head tokens; the class token is the utterance's vector."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.core.errors import AudioError
from earwitness.nn.layers.conformer import sinusoids
from earwitness.nn.layers.head_tokens import HeadTokenConformerBlock
from earwitness.nn.pooling.base import Pooling, PoolingConfigBase, run_unpadded
from earwitness.nn.types import Embedding, Frames


class ConformerTcmConfig(PoolingConfigBase):
    """`dim` channels, `heads` a block, `blocks`, and the `kernel` (odd, in frames) of the convolutions.

    `positions`: how many frames the fixed position table holds (200 s at 50 frames a second); longer ones are refused.
    """

    kind: Literal["conformer_tcm"] = "conformer_tcm"
    dim: int = Field(default=144, ge=2)
    heads: int = Field(default=4, ge=1)
    blocks: int = Field(default=4, ge=1)
    kernel: Literal[3, 7, 15, 31] = 31
    positions: int = Field(default=10_000, ge=1)

    def build(self, input_dim: int) -> ConformerTcm:
        """Raises `RecipeError` where `dim` is no multiple of `heads`."""
        return ConformerTcm(self, input_dim)


class ConformerTcm(Pooling):
    """Frames [B, T, F] -> the class token behind the last block [B, dim]; T up to `positions`.

    The position table is a parameter that does not learn, as in the published counts.
    """

    def __init__(self, config: ConformerTcmConfig, input_dim: int) -> None:
        super().__init__()
        self.dim = config.dim
        self.projection = nn.Linear(input_dim, config.dim)
        self.norm = nn.BatchNorm2d(1)
        self.position = nn.Parameter(sinusoids(config.positions, config.dim), requires_grad=False)
        self.class_token = nn.Parameter(torch.rand(1, 1, config.dim))
        self.blocks = nn.Sequential(
            *(HeadTokenConformerBlock(config.dim, config.heads, config.kernel) for _ in range(config.blocks))
        )

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, F] -> [B, dim]. Raises `AudioError` for more frames than the position table holds."""
        return run_unpadded(self._pooled, frames)

    def _pooled(self, values: Tensor) -> Tensor:
        count, most = values.shape[1], self.position.shape[1]
        if count > most:
            raise AudioError(
                f"too long: {count} frames, the network knows {most} positions", fix="Use shorter windows."
            )
        x = F.selu(self.norm(self.projection(values).unsqueeze(1))).squeeze(1) + self.position[:, :count]
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.blocks(x)[:, 0]  # type: ignore[no-any-return]
