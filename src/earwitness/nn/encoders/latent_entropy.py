"""f-InfoED: frames through a variational bottleneck, classified by the entropy of their latent (arXiv 2504.10819).

A reconstruction from the abstract and a quoted objective: layers and sizes are ours. With x_t the frames, D the
latent's dimensions, and a Gaussian posterior z_t ~ N(mu_t, diag sigma_t^2) against the prior N(0, I):

    h_td = 1/2 ln(2 pi e sigma_td^2)                                       entropy of a frame and dimension, nats
    H_t  = sum_d h_td                                                      entropy of a frame
    KL_t = sum_d 1/2 (mu_td^2 + sigma_td^2 - 1 - ln sigma_td^2)            what the latent keeps of the frame

What is classified is h, or H_t / D: the output depends on ln sigma^2 alone, never on mu.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from earwitness.nn.encoders.base import Encoder, EncoderConfigBase, channels_first
from earwitness.nn.types import Frames

AT_SIGMA_ONE = 0.5 * math.log(2 * math.pi * math.e)  # 1.418938533 nats a dimension
LARGEST_LOG_VARIANCE = 8.0
AWAKE = 0.1


class LatentEntropyConfig(EncoderConfigBase):
    """`entropy`: `per_dim` classifies h [B, T, D], `scalar` H_t / D [B, T, 1]. With `entropy_grad` off what is
    classified is cut off from the graph: the latent then learns reconstruction and compression alone.

    `latent` is D, `hidden` the width of encoder and decoder, `outputs` that of the classifier. `reads` names what the
    classifier reads; `mean` (mu) and `input` (x) are for comparison and are not the method.
    """

    kind: Literal["latent_entropy"] = "latent_entropy"
    entropy: Literal["per_dim", "scalar"] = "per_dim"
    entropy_grad: bool = True
    latent: int = Field(128, ge=1)
    hidden: int = Field(256, ge=1)
    outputs: int = Field(128, ge=1)
    reads: Literal["entropy", "mean", "input"] = "entropy"

    def build(self, input_dim: int) -> LatentEntropy:
        """A network for frames of `input_dim` values."""
        return LatentEntropy(self, input_dim)


@dataclass(frozen=True)
class Latent:
    """The posterior of each frame, `mean` and `log_variance` [B, T, D], and the squared error of what is decoded,
    averaged over the values of a frame, `error` [B, T]; `mask` [B, T] as in the frames."""

    mean: Tensor
    log_variance: Tensor
    error: Tensor
    mask: Tensor | None = None

    @property
    def entropy(self) -> Tensor:
        """H_t / D, nats per dimension, [B, T]: a differential entropy, which may be negative."""
        return entropy_of(self.log_variance).mean(-1)

    @property
    def divergence(self) -> Tensor:
        """KL_t, nats a frame, [B, T]."""
        return divergence_of(self.mean, self.log_variance).sum(-1)

    def over_time(self, values: Tensor) -> Tensor:
        """The mean of [B, T] over the frames that count, [B]."""
        if self.mask is None:
            return values.mean(-1)
        counts = self.mask.to(values.dtype)
        return (values * counts).sum(-1) / counts.sum(-1)


def entropy_of(log_variance: Tensor) -> Tensor:
    """1/2 ln(2 pi e sigma^2) of each value, nats."""
    return AT_SIGMA_ONE + 0.5 * log_variance


def divergence_of(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL( N(mean, sigma^2) || N(0, 1) ) of each value, nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


class LatentEntropy(Encoder):
    """Frames [B, T, F] -> [B, T, outputs]."""

    def __init__(self, config: LatentEntropyConfig, input_dim: int) -> None:
        super().__init__()
        self.dim = config.outputs
        self._config = config
        self._heard: list[Latent] | None = None
        self.enter = nn.Conv1d(input_dim, config.hidden, 3, padding=1)
        self.norm = nn.LayerNorm(config.hidden)
        self.mean = nn.Conv1d(config.hidden, config.latent, 1)
        self.log_variance = nn.Conv1d(config.hidden, config.latent, 1)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.zeros_(self.log_variance.bias)  # type: ignore[arg-type]
        self.decoder = nn.Sequential(
            nn.Conv1d(config.latent, config.hidden, 3, padding=1), nn.GELU(), nn.Conv1d(config.hidden, input_dim, 1)
        )
        per_frame = 1 if config.entropy == "scalar" else config.latent
        width = {"entropy": per_frame, "mean": config.latent, "input": input_dim}[config.reads]
        self.classifier = nn.Sequential(*_step(width, config.outputs), *_step(config.outputs, config.outputs))

    def posterior(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """[B, T, F] -> mu and ln sigma^2, [B, T, D] each."""
        hidden = self.norm(self.enter(channels_first(frames)).transpose(1, 2)).transpose(1, 2)
        hidden = nn.functional.gelu(hidden)
        log_variance = self.log_variance(hidden).clamp(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
        return self.mean(hidden).transpose(1, 2), log_variance.transpose(1, 2)

    def classified(self, frames: Frames, mean: Tensor, log_variance: Tensor) -> Tensor:
        """What the classifier makes of a posterior [B, T, D]: [B, T, outputs]."""
        read = {"mean": mean, "input": frames.values}.get(self._config.reads)
        if read is None:
            read = entropy_of(log_variance) - AT_SIGMA_ONE
            read = read.mean(-1, keepdim=True) if self._config.entropy == "scalar" else read
        out: Tensor = self.classifier((read if self._config.entropy_grad else read.detach()).transpose(1, 2))
        return out.transpose(1, 2)

    def forward(self, frames: Frames) -> Frames:
        """[B, T, F] -> [B, T, outputs]; nothing is drawn unless somebody listens in training."""
        mean, log_variance = self.posterior(frames)
        if self._heard is not None:
            self._heard.append(Latent(mean, log_variance, self._error(frames, mean, log_variance), frames.mask))
        return Frames(self.classified(frames, mean, log_variance), frames.mask)

    @contextmanager
    def listening(self) -> Iterator[list[Latent]]:
        """The latents of every pass within, as they come: those that a loss or a trace needs beside the output."""
        before, self._heard = self._heard, []
        try:
            yield self._heard
        finally:
            self._heard = before

    def _error(self, frames: Frames, mean: Tensor, log_variance: Tensor) -> Tensor:
        """[B, T], against frames from which no gradient comes, or adapters before them would make them easy to decode;
        z is drawn in training and is mu else."""
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean) if self.training else mean
        decoded: Tensor = self.decoder(z.transpose(1, 2))
        return (decoded - channels_first(frames).detach()).square().mean(1)


def _step(input_dim: int, width: int) -> tuple[nn.Module, ...]:
    """Convolution, batch-norm, ReLU. At the start all entropies are equal, and the batch-norm makes zeros of them: its
    offset keeps the ReLU from being exactly at zero, where it passes no gradient."""
    norm = nn.BatchNorm1d(width)
    nn.init.constant_(norm.bias, AWAKE)
    return nn.Conv1d(input_dim, width, 3, padding=1), norm, nn.ReLU()
