"""No encoder: frames go to the pooling as the front-end gives them."""

from __future__ import annotations

from typing import Literal

from earwitness.nn.encoders.base import Encoder, EncoderConfigBase
from earwitness.nn.types import Frames


class IdentityConfig(EncoderConfigBase):
    """Frames pass through."""

    kind: Literal["identity"] = "identity"

    def build(self, input_dim: int) -> Identity:
        """A pass-through of `input_dim` values."""
        return Identity(input_dim)


class Identity(Encoder):
    """Frames [B, T, F] -> the same."""

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.dim = input_dim

    def forward(self, frames: Frames) -> Frames:
        """Returns its argument."""
        return frames
