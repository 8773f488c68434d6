"""Gaussian posterior pooling: xi-vector (arXiv 2108.05679), xi+ (arXiv 2509.05993) and U3-xi (arXiv 2601.15719).

Frames are noisy observations z_t = h + eps_t of one vector h with a Gaussian prior; all covariances are diagonal. A
small network gives each frame a precision L_t a channel. The utterance is the posterior of h, with its uncertainty:

    L_s = sum_t L_t + L_p        phi = (sum_t L_t z_t + L_p mu_p) / L_s        v = 1 / L_s

xi-vector's precision of a frame depends on this frame alone (`attention: none`), xi+'s on all of them (`full`), U3-xi's
on bands around it (`multi_view`). The body of the xi+ paper and its attention layer are not public: `full` is a
reconstruction with the layer that the same group released for U3-xi.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.errors import ModelError
from earwitness.nn.layers.frame_attention import FrameAttention
from earwitness.nn.pooling.base import Pooling, PoolingConfigBase, require_frames, standard_deviation
from earwitness.nn.types import Embedding, Frames

LOG_PRECISION_LIMIT = 15.0
SOFTPLUS_FLOOR = 1e-6  # ours: below it the logarithm of a softplus is not finite
PRECISION_FLOOR = 1e-12
VARIANCE_FLOOR = 1e-12  # under the root of the deviation


class PosteriorConfig(PoolingConfigBase):
    """`hidden` channels of the precision network; `attention` over frames with `heads` heads, `feed_forward` units and
    `dropout`. With `deviation` the standard deviation under the posterior's weights is appended; it has no variance of
    its own, so that none is stated then."""

    kind: Literal["posterior"] = "posterior"
    hidden: int = Field(default=256, ge=1)
    attention: Literal["none", "full", "multi_view"] = "none"
    heads: int = Field(default=8, ge=1, le=16)
    feed_forward: int = Field(default=1024, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    deviation: bool = False

    def build(self, input_dim: int) -> Posterior:
        """dim = input_dim, or twice that. Raises `RecipeError` where `hidden` cannot be split among the heads."""
        return Posterior(self, input_dim)


class PrecisionNetwork(nn.Module):
    """Frames [B, T, D] -> log-precisions [B, T, D] within +-15: 1x1 convolution, ReLU, batch-norm, attention where
    there is one, 1x1 convolution, softplus s, 2 ln s."""

    def __init__(self, config: PosteriorConfig, dim: int) -> None:
        super().__init__()
        self.reduce = nn.Conv1d(dim, config.hidden, 1)
        self.norm = nn.BatchNorm1d(config.hidden)
        self.attention: FrameAttention | None = None
        if config.attention != "none":
            banded = config.attention == "multi_view"
            self.attention = FrameAttention(
                config.hidden, config.heads, config.feed_forward, config.dropout, banded=banded
            )
        self.expand = nn.Conv1d(config.hidden, dim, 1)

    def forward(self, frames: Frames) -> Tensor:
        """[B, T, D] -> [B, T, D] in single precision at least; what does not count has a value too."""
        u = self.norm(torch.relu(self.reduce(frames.values.transpose(1, 2))))
        if self.attention is not None:
            u = self.attention(u.transpose(1, 2), frames.mask).transpose(1, 2)
        return log_precision(_single(self.expand(u).transpose(1, 2)))


class Posterior(Pooling):
    """Frames [B, T, D] -> posterior mean [B, D] and variance [B, D]; with `deviation` [mean; deviation] alone."""

    def __init__(self, config: PosteriorConfig, input_dim: int) -> None:
        super().__init__()
        self.dim = 2 * input_dim if config.deviation else input_dim
        self.states_variance = not config.deviation
        self._deviation = config.deviation
        self.precision = PrecisionNetwork(config, input_dim)
        self.prior_mean = nn.Parameter(torch.zeros(input_dim))
        self.prior_log_precision = nn.Parameter(torch.zeros(input_dim))

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, D] -> [B, D], or [B, 2 D]."""
        require_frames(frames)
        values, precision = _single(frames.values), self.precision(frames)
        if frames.mask is not None:
            counts = frames.mask.unsqueeze(-1)
            precision = precision.masked_fill(~counts, float("-inf"))
            values = values.masked_fill(~counts, 0.0)
        prior = self.prior_mean, self.prior_log_precision
        if self._deviation:
            return Embedding(_with_deviation(values, precision, *prior))
        return posterior(values, precision, *prior)

    def fuse(self, parts: Iterable[Embedding]) -> Embedding:
        """The posterior of an utterance [1, D] from those of its parts [n, D]: their precisions are added, and the
        prior, which is in each of them, counts once. Exact where frames do not depend on how the utterance was cut.

        Raises `ModelError` where no variance is stated.
        """
        with torch.no_grad():
            prior = self.prior_log_precision.double().exp()
            precision, weighted = prior.clone(), prior * self.prior_mean.double()
            for part in parts:
                if part.variance is None:
                    raise ModelError("its pooling states no variance to fuse by", fix="Train without `deviation`.")
                own = 1 / part.variance.double()
                precision = precision + (own - prior).sum(0)
                weighted = weighted + (own * part.mean.double() - prior * self.prior_mean.double()).sum(0)
            mean = (weighted / precision).unsqueeze(0)
            variance = (1 / precision.clamp_min(PRECISION_FLOOR)).unsqueeze(0)
            return Embedding(mean.to(self.prior_mean.dtype), variance.to(self.prior_mean.dtype))


def log_precision(raised: Tensor) -> Tensor:
    """What the precision network's last layer gives, any shape -> 2 ln softplus(.), within +-15."""
    softened = F.softplus(raised).clamp_min(SOFTPLUS_FLOOR)
    return (2 * softened.log()).clamp(-LOG_PRECISION_LIMIT, LOG_PRECISION_LIMIT)


def posterior(values: Tensor, precision: Tensor, prior_mean: Tensor, prior_log_precision: Tensor) -> Embedding:
    """Observations and their log-precisions [B, T, D] (-inf: does not count) with a prior [D] -> mean and variance
    [B, D]. As a soft-max over T + 1 frames, the prior being the last."""
    observed, weights, log_total = _with_prior(values, precision, prior_mean, prior_log_precision)
    return Embedding((weights * observed).sum(1), 1 / log_total.exp().clamp_min(PRECISION_FLOOR))


def _with_deviation(values: Tensor, precision: Tensor, prior_mean: Tensor, prior_log_precision: Tensor) -> Tensor:
    """[mean; deviation] [B, 2 D]; the prior is one of the frames, as released."""
    observed, weights, _ = _with_prior(values, precision, prior_mean, prior_log_precision)
    mean = (weights * observed).sum(1, keepdim=True)
    variance = (weights * (observed - mean).square()).sum(1)
    return torch.cat([mean.squeeze(1), standard_deviation(variance, VARIANCE_FLOOR)], dim=1)


def _with_prior(
    values: Tensor, precision: Tensor, prior_mean: Tensor, prior_log_precision: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """T + 1 observations and their weights [B, T + 1, D], which sum to 1, and the log of the summed precisions [B,
    D]."""
    observed = torch.cat([values, prior_mean.expand(values.shape[0], 1, -1).to(values.dtype)], dim=1)
    every = torch.cat([precision, prior_log_precision.expand(values.shape[0], 1, -1).to(values.dtype)], dim=1)
    log_total = every.logsumexp(1)
    return observed, (every - log_total.unsqueeze(1)).exp(), log_total


def _single(values: Tensor) -> Tensor:
    """In single precision at least: exponentials of +-15 are beyond half precision."""
    return values if values.dtype == torch.float64 else values.float()
