"""What every pooling is: frames in, one vector an utterance out, only the frames of the mask counted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import AudioError, DataError
from earwitness.nn.layers.grouping import run_by_length
from earwitness.nn.types import Embedding, Frames


class Pooling(nn.Module):
    """Maps `Frames` [B, T, F] to an `Embedding` [B, dim]. Raises `AudioError` for an utterance without a frame."""

    dim: int
    states_variance: bool = False  # whether the embedding comes with its own variance

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, F] -> [B, dim]."""
        raise NotImplementedError


class PoolingConfigBase(Config):
    """Configuration of a pooling."""

    def build(self, input_dim: int) -> Pooling:
        """A pooling for frames of `input_dim` values."""
        raise NotImplementedError


def require_frames(frames: Frames) -> None:
    """Raises `AudioError` where an utterance has no frame that counts; a graph that is exported cannot ask its mask."""
    mask = None if torch.compiler.is_exporting() else frames.mask
    if frames.values.shape[1] == 0 or (mask is not None and not bool(mask.any(1).all())):
        raise AudioError("too short: not one frame to pool", fix="Give a longer recording.")


def run_unpadded(run: Callable[[Tensor], Tensor], frames: Frames) -> Embedding:
    """`run` ([B, T, F] -> [B, dim]) on frames without padding: for networks that see more than one frame at a time.

    Raises `AudioError` as `require_frames` does, and `DataError` for a mask with gaps.
    """
    require_frames(frames)
    if frames.mask is None:
        return Embedding(run(frames.values))
    lengths = frames.mask.sum(1)
    if not torch.equal(frames.mask.long().cumprod(1).sum(1), lengths):
        raise DataError("a mask with gaps", fix="Only frames at the end of an utterance can be left out.")
    return run_by_length(lambda values: Embedding(run(values)), frames.values, lengths)


def uniform_weights(frames: Frames) -> Tensor:
    """Weights that average over the frames that count, [B, 1, T] (B = 1 where all do); they sum to 1."""
    values = frames.values
    if frames.mask is None:
        return values.new_full((1, 1, values.shape[1]), 1 / values.shape[1])
    mask = frames.mask.to(values.dtype).unsqueeze(1)
    return mask / mask.sum(-1, keepdim=True)


def moments(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and variance over time of `x` [B, C, T], [B, C, 1] each; `weights` [B or 1, C or 1, T] sum to 1.

    The variance is centred first, so float32 does not lose it beside a large mean.
    """
    mean = (weights * x).sum(-1, keepdim=True)
    variance = (weights * (x - mean).square()).sum(-1, keepdim=True)
    return mean, variance


def standard_deviation(variance: Tensor, floor: float) -> Tensor:
    """Square root of the variance, held at `floor` so that the gradient stays finite for constant frames."""
    return torch.sqrt(variance.clamp(min=floor))
