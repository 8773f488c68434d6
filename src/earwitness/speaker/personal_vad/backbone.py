"""The network of SVVAD (arXiv 2305.19581): frames of the questioned recording and the enrolled voice in, gated frames
out.

    h = Conformer(header(x)); z = Transformer([h ; y] + positions); x' = sigmoid(FC_g(z)) x + FC_b(z)

The order of the blocks, the concatenation and the two heads are those of the authors' figure. Sizes, header and
start are a reconstruction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.nn.layers.conformer import ConformerBlock, TransformerBlock, sinusoids
from earwitness.nn.types import Frames
from earwitness.speaker.personal_vad.unpadded import in_order, unpadded

OPEN_BIAS = 4.0  # sigmoid(4) = 0.98201: training begins near the identity, where the frozen verifier is at home
SPREAD = 1.5  # of a sum of unit inputs in the Transformer as it begins, some three times as wide as torch's own


class PersonalVadConfig(Config):
    """Sizes of the network; `condition` is E', what is left of the voice vector behind the fixed transform.

    `beta: "off"` gates only: an offset can write a voice into any input. `gamma_pools` weighs the verifier's pooling by
    gamma too, since soft zeros still enter its statistics.
    """

    dim: int = Field(80, ge=4)
    conformer_blocks: int = Field(2, ge=1)
    transformer_blocks: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    kernel: int = Field(15, ge=3)
    condition: int = Field(64, ge=1)
    hidden: int = Field(288, ge=1)  # of the Transformer's feed-forward
    dropout: float = Field(0.1, ge=0, lt=1)
    beta: Literal["on", "off"] = "on"
    gamma_pools: bool = False

    @model_validator(mode="after")
    def _fit(self) -> PersonalVadConfig:
        for what, width in (("dim", self.dim), ("dim + condition", self.dim + self.condition)):
            if width % self.heads:
                raise ValueError(f"{what} is {width}, no multiple of {self.heads} heads")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, and must be odd")
        return self

    def build(self, features: int, projection: Tensor) -> PersonalVad:
        """For frames of so many features, and a `projection` [E, condition] of voice vectors."""
        return PersonalVad(self, features, projection)


@dataclass(frozen=True)
class Gated:
    """Frames as the verifier is to hear them: `frames` [B, T, F] = gamma x + beta; `gamma` and `beta` [B, T, 1], zero
    in padding."""

    frames: Frames
    gamma: Tensor
    beta: Tensor


class PersonalVad(nn.Module):
    """G: frames [B, T, F] and unit voice vectors [B, E] -> gated frames of the same shape."""

    projection: Tensor

    def __init__(self, config: PersonalVadConfig, features: int, projection: Tensor) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("projection", projection)
        self.norm = nn.LayerNorm(features)
        self.header = nn.Conv1d(features, config.dim, 5, padding=2)
        self.conformer = nn.Sequential(
            *(
                ConformerBlock(config.dim, config.heads, config.kernel, dropout=config.dropout)
                for _ in range(config.conformer_blocks)
            )
        )
        width = config.dim + config.condition
        self.transformer = nn.Sequential(
            *(
                TransformerBlock(width, config.heads, config.hidden, dropout=config.dropout)
                for _ in range(config.transformer_blocks)
            )
        )
        _spread(self.transformer)
        self.gamma = nn.Linear(width, 1)
        self.beta = nn.Linear(width, 1) if config.beta == "on" else None
        nn.init.zeros_(self.gamma.weight)
        nn.init.constant_(self.gamma.bias, OPEN_BIAS)
        if self.beta is not None:
            nn.init.zeros_(self.beta.weight)
            nn.init.zeros_(self.beta.bias)

    def forward(self, frames: Frames, voices: Tensor) -> Gated:
        """x [B, T, F], normalised to zero mean before, and the voices it is conditioned on [B, E]."""
        condition, count = self.transform(voices), frames.values.shape[1]
        places, parts = [], []
        for rows, values in unpadded(frames):
            made = self.heads(self.encoded(values), condition[rows])
            parts.append(F.pad(made, (0, 0, 0, count - made.shape[1])))
            places.append(rows)
        made = in_order(parts, places)
        gamma, beta = made[..., :1], made[..., 1:]
        return Gated(Frames(gamma * frames.values + beta, frames.mask), gamma, beta)

    def transform(self, voices: Tensor) -> Tensor:
        """The Embedding Transform: unit length, then the fixed projection; nothing in it learns. [B, E] -> [B, E'].

        Scaled so that its values are as large as those of a normalised frame, or the network would hardly see it.
        """
        return F.normalize(voices) @ self.projection * math.sqrt(self.projection.shape[1])

    def encoded(self, x: Tensor) -> Tensor:
        """What is the same for every voice: unpadded [B, T, F] -> [B, T, dim]."""
        h = F.silu(self.header(self.norm(x).transpose(1, 2))).transpose(1, 2)
        return self.conformer(h)  # type: ignore[no-any-return]

    def heads(self, h: Tensor, condition: Tensor) -> Tensor:
        """[B, T, dim] and transformed voices [B, E'] -> gamma and beta [B, T, 2]."""
        c = torch.cat([h, condition.unsqueeze(1).expand(-1, h.shape[1], -1)], dim=-1)
        z = self.transformer(c + sinusoids(c.shape[1], c.shape[2]).to(c))
        gamma = torch.sigmoid(self.gamma(z))
        return torch.cat([gamma, torch.zeros_like(gamma) if self.beta is None else self.beta(z)], dim=-1)


def _spread(transformer: nn.Module) -> None:
    """Draw the Transformer's weights wider (ours): it must compare frame and voice, that is, multiply them. Drawn
    narrowly its activations are near linear, and it begins to learn that only after hundreds of steps, even from true
    labels."""
    for layer in transformer.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=SPREAD / math.sqrt(layer.in_features))
