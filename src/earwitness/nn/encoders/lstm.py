"""A plain multi-layer LSTM: the frame part of the d-vector network of GE2E, arXiv 1710.10467.

With 40 mel bands, hidden 256, 3 layers, pooling `last`, and an embedding of 256 with ReLU and unit length, it is the
published voice embedder; `nn.pooling` and `nn.network.EmbeddingConfig` hold those parts.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn
from torch.nn import functional as F

from earwitness.nn.encoders.base import Encoder, EncoderConfigBase
from earwitness.nn.types import Frames


class LstmConfig(EncoderConfigBase):
    """Hidden units and layers; it runs forward in time only.

    `lead` frames of zeros are put before the utterance, so that its first sound does not meet an empty state. The
    published d-vector network tells short utterances better apart so; where the front-end has no logarithm, zeros are
    silence.
    """

    kind: Literal["lstm"] = "lstm"
    hidden: int = Field(default=256, ge=1)
    layers: int = Field(default=3, ge=1)
    lead: int = Field(default=0, ge=0)

    def build(self, input_dim: int) -> Lstm:
        """An LSTM for frames of `input_dim` values."""
        return Lstm(self, input_dim)


class Lstm(Encoder):
    """Frames [B, T, F] -> [B, T, hidden]: the last layer's hidden states, from a zero state or after the lead."""

    def __init__(self, config: LstmConfig, input_dim: int) -> None:
        super().__init__()
        self.dim = config.hidden
        self._lead = config.lead
        self.lstm = nn.LSTM(input_dim, config.hidden, config.layers, batch_first=True)

    def forward(self, frames: Frames) -> Frames:
        """[B, T, F] -> [B, T, hidden]."""
        hidden, _ = self.lstm(F.pad(frames.values, (0, 0, self._lead, 0)))
        return Frames(hidden[:, self._lead :], frames.mask)
