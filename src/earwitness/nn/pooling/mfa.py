"""MFA, multi-fusion attentive pooling (arXiv 2312.08089, as described in RAD, arXiv 2404.13892): every layer of an
encoder is pooled over time by weights of its own, then the layers are pooled.

A reconstruction: the width of the attention, its form (one scalar weight a vector) and one fully connected layer that
all layers share are ours.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.errors import RecipeError
from earwitness.nn.layers.speed_up import speed_up
from earwitness.nn.pooling.base import Pooling, PoolingConfigBase, require_frames, standard_deviation
from earwitness.nn.types import Embedding, Frames

VARIANCE_FLOOR = 1e-10


class MfaConfig(PoolingConfigBase):
    """`layers`: how many layers stand side by side in a frame (aggregation `concat`; 4 are those of Whisper tiny.en).

    `hidden` is the width of each attention; frames are averaged in groups of `tau` first (1: not at all).
    """

    kind: Literal["mfa"] = "mfa"
    layers: int = Field(default=4, ge=1)
    hidden: int = Field(default=128, ge=1)
    tau: int = Field(default=1, ge=1)

    def build(self, input_dim: int) -> MfaPooling:
        """dim = 4 input_dim / layers. Raises `RecipeError` where the layers do not divide the frame."""
        if input_dim % self.layers:
            raise RecipeError(
                f"mfa: frames of {input_dim} values are not {self.layers} layers side by side",
                fix="Use a front-end with aggregation `concat`, and as many `layers` here as it names.",
            )
        return MfaPooling(Mfa(self.layers, input_dim // self.layers, self.hidden), self.tau)


class VectorAttention(nn.Module):
    """Attentive statistics with one weight a vector: [..., n, dim] -> [mean; standard deviation] [..., 2 dim].

    e_i = u tanh(W h_i + b) + c, softmax over the vectors. dim * hidden + 2 hidden + 1 parameters.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.dim = 2 * dim
        self.reduce = nn.Linear(dim, hidden)
        self.score = nn.Linear(hidden, 1)

    def forward(self, vectors: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` [..., n] is True where a vector counts; at least one must."""
        return _pooled(vectors, self.score(torch.tanh(self.reduce(vectors))), mask)


class LayerAttention(nn.Module):
    """As many `VectorAttention` as layers, each with its own weights, in one step: [B, L, n, dim] -> [B, L, 2 dim]."""

    def __init__(self, layers: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.dim = 2 * dim
        each = [VectorAttention(dim, hidden) for _ in range(layers)]
        self.reduce = nn.Parameter(torch.stack([one.reduce.weight.detach().T for one in each]))  # [L, dim, hidden]
        self.reduce_bias = nn.Parameter(torch.stack([one.reduce.bias.detach() for one in each])[:, None])
        self.score = nn.Parameter(torch.stack([one.score.weight.detach().T for one in each]))  # [L, hidden, 1]
        self.score_bias = nn.Parameter(torch.stack([one.score.bias.detach() for one in each])[:, None])

    def forward(self, vectors: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` [B, n] is True where a vector counts, in all layers alike."""
        batch, layers, count, _ = vectors.shape
        by_layer = vectors.transpose(0, 1).flatten(1, 2)  # [L, B n, dim]
        hidden = torch.tanh(torch.baddbmm(self.reduce_bias, by_layer, self.reduce))
        scores = torch.baddbmm(self.score_bias, hidden, self.score)
        scores = scores.reshape(layers, batch, count, 1).transpose(0, 1)
        return _pooled(vectors, scores, None if mask is None else mask[:, None])


def _pooled(vectors: Tensor, scores: Tensor, mask: Tensor | None) -> Tensor:
    """Vectors [..., n, dim] by their scores [..., n, 1]: mean and standard deviation [..., 2 dim]."""
    if mask is not None:
        scores = scores.masked_fill(~mask[..., None], float("-inf"))
    weights = torch.softmax(scores, dim=-2)
    mean = (weights * vectors).sum(-2)
    variance = (weights * (vectors - mean[..., None, :]).square()).sum(-2)
    return torch.cat([mean, standard_deviation(variance, VARIANCE_FLOOR)], dim=-1)


class Mfa(nn.Module):
    """Features of all layers [B, L, T, F] -> one vector [B, 4F]: over time, layer by layer; one linear layer for all;
    over layers."""

    def __init__(self, layers: int, width: int, hidden: int = 128) -> None:
        super().__init__()
        self.layers, self.width, self.dim = layers, width, 4 * width
        self.over_time = LayerAttention(layers, width, hidden)
        self.connected = nn.Linear(2 * width, 2 * width)
        self.over_layers = VectorAttention(2 * width, hidden)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` [B, T], True where a frame counts."""
        vector: Tensor = self.over_layers(self.connected(self.over_time(features, mask)))
        return vector


class MfaPooling(Pooling):
    """`Mfa` over frames in which the layers stand side by side: [B, T, L F] -> [B, 4F]."""

    def __init__(self, mfa: Mfa, tau: int = 1) -> None:
        super().__init__()
        self.dim = mfa.dim
        self.tau = tau
        self.mfa = mfa

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, L F] -> [B, 4F]."""
        require_frames(frames)
        shorter = speed_up(frames, self.tau)
        batch, count, _ = shorter.values.shape
        features = shorter.values.reshape(batch, count, self.mfa.layers, self.mfa.width).transpose(1, 2)
        return Embedding(self.mfa(features, shorter.mask))
