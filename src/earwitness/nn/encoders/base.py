"""What every encoder is: frames in, frames out."""

from __future__ import annotations

from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.nn.types import Frames


class Encoder(nn.Module):
    """Maps `Frames` [B, T, F] to `Frames` [B, T', dim]. A mask is carried along; frames it excludes are computed as
    well, so an encoder with a receptive field must be given unpadded frames (see `nn.layers.grouping`)."""

    dim: int

    def forward(self, frames: Frames) -> Frames:
        """[B, T, F] -> [B, T', dim]."""
        raise NotImplementedError


class EncoderConfigBase(Config):
    """Configuration of an encoder."""

    def build(self, input_dim: int) -> Encoder:
        """An encoder for frames of `input_dim` values, with random weights.

        Raises `RecipeError` for sizes that don't fit.
        """
        raise NotImplementedError


def channels_first(frames: Frames) -> Tensor:
    """[B, T, F] -> [B, F, T] (a view)."""
    return frames.values.transpose(1, 2)


def as_frames(values: Tensor, mask: Tensor | None) -> Frames:
    """[B, C, T] -> frames [B, T, C] (a view)."""
    return Frames(values.transpose(1, 2), mask)
