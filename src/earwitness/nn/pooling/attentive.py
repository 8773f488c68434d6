"""Attentive statistics pooling, channel-wise (arXiv 1803.10963; with global context as in ECAPA-TDNN, arXiv
2005.07143).

Every channel attends to the frames for itself: weights = softmax over time of W2 tanh(W1 input); the result is the
weighted mean and standard deviation. With global context the input of the attention is [frame; mean; standard
deviation].
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from earwitness.nn.pooling.base import (
    Pooling,
    PoolingConfigBase,
    moments,
    require_frames,
    standard_deviation,
    uniform_weights,
)
from earwitness.nn.types import Embedding, Frames


class AttentiveStatisticsConfig(PoolingConfigBase):
    """ECAPA's pooling. `form` 'ws': tanh alone, context deviation of the sample; 'sb': ReLU and batch-norm before the
    tanh, context deviation of the population. `bottleneck` is the width of the attention. With `per_channel` off a
    frame has one weight for all channels."""

    kind: Literal["attentive_statistics"] = "attentive_statistics"
    form: Literal["ws", "sb"] = "ws"
    bottleneck: int = Field(default=128, ge=1)
    global_context: bool = True
    per_channel: bool = True

    def build(self, input_dim: int) -> AttentiveStatistics:
        """dim = 2 input_dim."""
        sb = self.form == "sb"
        return AttentiveStatistics(
            input_dim,
            self.bottleneck,
            variance_floor=1e-12 if sb else 1e-7,
            context=Context(of_sample=not sb) if self.global_context else None,
            norm=nn.Sequential(nn.ReLU(), nn.BatchNorm1d(self.bottleneck)) if sb else nn.Identity(),
            per_channel=self.per_channel,
        )


class AstpConfig(PoolingConfigBase):
    """The optional pooling of Nes2Net (arXiv 2504.05657): no global context, variance floor 1e-10."""

    kind: Literal["astp"] = "astp"
    bottleneck: int = Field(default=128, ge=1)

    def build(self, input_dim: int) -> AttentiveStatistics:
        """dim = 2 input_dim."""
        return AttentiveStatistics(input_dim, self.bottleneck, variance_floor=1e-10, context=None, norm=nn.Identity())


class AttentiveMeanConfig(PoolingConfigBase):
    """The attention of `astp` for the weighted mean alone: one weight a frame, or with `per_channel` one a channel."""

    kind: Literal["attentive_mean"] = "attentive_mean"
    bottleneck: int = Field(default=128, ge=1)
    per_channel: bool = False

    def build(self, input_dim: int) -> AttentiveMean:
        """dim = input_dim."""
        return AttentiveMean(input_dim, self.bottleneck, per_channel=self.per_channel)


class Context(nn.Module):
    """Mean and standard deviation of an utterance, [B, C, T] -> [B, 2C, 1]."""

    def __init__(self, *, of_sample: bool) -> None:
        super().__init__()
        self._of_sample = of_sample

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        """The deviation divides by n - 1 where `of_sample`, else by n; a single frame deviates by about 0."""
        mean, variance = moments(x, uniform_weights(frames))
        if self._of_sample:
            count = torch.full_like(mean, x.shape[-1]) if frames.mask is None else frames.mask.sum(1).view(-1, 1, 1)
            variance = variance * count / (count - 1).clamp(min=1) + 1e-7
        return torch.cat([mean, standard_deviation(variance, 1e-12)], dim=1)


class AttentiveStatistics(Pooling):
    """Frames [B, T, F] -> [weighted mean; weighted standard deviation] [B, 2F]."""

    def __init__(
        self,
        input_dim: int,
        bottleneck: int,
        *,
        variance_floor: float,
        context: Context | None,
        norm: nn.Module,
        per_channel: bool = True,
    ) -> None:
        super().__init__()
        self.dim = 2 * input_dim
        self.variance_floor = variance_floor
        self.context = context
        self.reduce = nn.Conv1d(input_dim if context is None else 3 * input_dim, bottleneck, 1)
        self.norm = norm
        self.expand = nn.Conv1d(bottleneck, input_dim if per_channel else 1, 1)

    def attention(self, frames: Frames) -> Tensor:
        """Weights over time of every channel, [B, F, T], or of all, [B, 1, T]; they sum to 1 over the frames that
        count."""
        x = frames.values.transpose(1, 2)
        scores = self.expand(torch.tanh(self.norm(self._reduced(x, frames))))
        if frames.mask is not None:
            scores = scores.masked_fill(~frames.mask.unsqueeze(1), float("-inf"))
        return torch.softmax(scores, dim=-1)

    def _reduced(self, x: Tensor, frames: Frames) -> Tensor:
        """The first convolution; the context is the same for all frames, so its part is computed once an utterance."""
        if self.context is None:
            return self.reduce(x)  # type: ignore[no-any-return]
        weight, channels = self.reduce.weight, x.shape[1]
        of_context = F.conv1d(self.context(x, frames), weight[:, channels:], self.reduce.bias)
        return F.conv1d(x, weight[:, :channels]) + of_context

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, F] -> [B, 2F]."""
        require_frames(frames)
        mean, variance = moments(frames.values.transpose(1, 2), self.attention(frames))
        return Embedding(torch.cat([mean, standard_deviation(variance, self.variance_floor)], dim=1).squeeze(-1))


class AttentiveMean(Pooling):
    """Frames [B, T, F] -> weighted mean [B, F]."""

    def __init__(self, input_dim: int, bottleneck: int, *, per_channel: bool) -> None:
        super().__init__()
        self.dim = input_dim
        self.statistics = AttentiveStatistics(
            input_dim, bottleneck, variance_floor=1e-10, context=None, norm=nn.Identity(), per_channel=per_channel
        )

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, F] -> [B, F]."""
        require_frames(frames)
        x = frames.values.transpose(1, 2)
        return Embedding((self.statistics.attention(frames) * x).sum(-1))
