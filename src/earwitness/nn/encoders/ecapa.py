"""ECAPA-TDNN, arXiv 2005.07143, up to the aggregated frames; in the two public forms whose weights do not interchange.

`ws` (as in WeSpeaker, arXiv 2210.17016): zero padding, the last Res2 group passes untouched, no batch-norm after
aggregation. `sb` (as in SpeechBrain, arXiv 2106.04624): reflected edges, the first Res2 group passes untouched,
batch-norm after aggregation. Attentive statistics with the same form (`nn.pooling.attentive`) and batch-norm + linear
(`nn.network.EmbeddingConfig`) complete the published embedding network.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from earwitness.nn.encoders.base import Encoder, EncoderConfigBase, as_frames, channels_first
from earwitness.nn.layers.res2 import Res2, SERes2Block, Tdnn
from earwitness.nn.types import Frames

Form = Literal["ws", "sb"]


class EcapaConfig(EncoderConfigBase):
    """`channels` C of the blocks (512 and 1024 are published; 64 is ours), `outputs` of the aggregation (sb recipe:
    3072)."""

    kind: Literal["ecapa"] = "ecapa"
    form: Form = "ws"
    channels: int = Field(default=512, ge=16)
    outputs: int = Field(default=1536, ge=1)
    res2_groups: int = 8
    se_hidden: int = Field(default=128, ge=1)

    def build(self, input_dim: int) -> Ecapa:
        """Raises `RecipeError` where `channels` cannot be split into `res2_groups`."""
        return Ecapa(self, input_dim)


class Ecapa(Encoder):
    """Frames [B, T, F] -> [B, T, outputs]: TDNN(5), three SE-Res2 blocks of dilation 2, 3, 4, 1x1 aggregation with
    ReLU."""

    def __init__(self, config: EcapaConfig, input_dim: int) -> None:
        super().__init__()
        self.dim = config.outputs
        reflect = config.form == "sb"
        padding = "reflect" if reflect else "zeros"
        self.enter = Tdnn(input_dim, config.channels, 5, padding_mode=padding)
        self.blocks = nn.ModuleList(
            SERes2Block(
                config.channels,
                Res2(
                    config.channels,
                    config.res2_groups,
                    dilation,
                    padding_mode=padding,
                    untouched="first" if reflect else "last",
                ),
                config.se_hidden,
            )
            for dilation in (2, 3, 4)
        )
        joined = 3 * config.channels
        self.aggregation: nn.Module = (
            Tdnn(joined, config.outputs) if reflect else nn.Sequential(nn.Conv1d(joined, config.outputs, 1), nn.ReLU())
        )

    def forward(self, frames: Frames) -> Frames:
        """[B, T, F] -> [B, T, outputs]. Raises `AudioError` where 'sb' has too few frames to reflect."""
        x = self.enter(channels_first(frames))
        outputs: list[Tensor] = []
        for block in self.blocks:
            outputs.append(block(outputs[-1] if outputs else x))
        return as_frames(self.aggregation(torch.cat(outputs, dim=1)), frames.mask)
