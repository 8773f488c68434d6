"""From frames of a speech encoder to tokens of a language model: what contextual-paralinguistic training trains.

Layers as in the public code of MERaLiON-AudioLLM (arXiv 2412.09818), the base model of arXiv 2508.07273; which of the
two that paper used is not known. Every 15 frames in a row become one token: 1500 frames of 30 s are 100 tokens. A new
adapter is a config class here and a member of `AdapterConfig`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.core.config import Config
from earwitness.core.errors import DataError


class AdapterConfigBase(Config):
    """`factor` frames become one token. A rest of fewer frames is refused, or left out with `rest: trim`.

    `layer_norm` normalises each frame of the encoder first, with weights (2 x its width).
    """

    factor: int = Field(15, ge=1)
    layer_norm: bool = False
    rest: Literal["refuse", "trim"] = "refuse"

    def tokens(self, frames: int) -> int:
        """How many tokens so many frames become. Raises `DataError` where they do not divide, or are too few."""
        if frames < self.factor:
            raise DataError(f"{frames} frames make no token of {self.factor}", fix="Give longer audio.")
        if self.rest == "refuse" and frames % self.factor:
            raise DataError(
                f"{frames} frames are no whole number of tokens of {self.factor}",
                fix="Set `rest: trim` in the adapter to leave the rest out, or pad the audio.",
            )
        return frames // self.factor


class SmallAdapterConfig(AdapterConfigBase):
    """The form of MERaLiON-1: two layers with SiLU and dropout, then a projection. The default: 49,489,664 parameters
    from Whisper large to Gemma-2 9B."""

    kind: Literal["small"] = "small"
    hidden: tuple[int, int] = (1280, 5120)
    dropout: float = Field(0.1, ge=0, lt=1)

    def build(self, input_dim: int, output_dim: int) -> Adapter:
        """With random weights, from frames of `input_dim` to tokens of `output_dim` values."""
        return SmallAdapter(self, input_dim, output_dim)


class LargeAdapterConfig(AdapterConfigBase):
    """The gated form of MERaLiON-2: 227,760,384 parameters from Whisper large to Gemma-2 9B, without layer norm."""

    kind: Literal["large"] = "large"
    hidden: int = Field(6400, ge=1)

    def build(self, input_dim: int, output_dim: int) -> Adapter:
        """With random weights, from frames of `input_dim` to tokens of `output_dim` values."""
        return LargeAdapter(self, input_dim, output_dim)


AdapterConfig = Annotated[SmallAdapterConfig | LargeAdapterConfig, Field(discriminator="kind")]


class Adapter(nn.Module):
    """Frames [B, T, D] -> tokens [B, T // factor, E]. Raises `DataError` for a T that its configuration refuses."""

    def __init__(self, config: AdapterConfigBase, input_dim: int) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(input_dim) if config.layer_norm else nn.Identity()

    def forward(self, frames: Tensor) -> Tensor:
        """`factor` frames side by side, each group a token."""
        tokens = self.config.tokens(frames.shape[1])
        normed: Tensor = self.norm(frames[:, : tokens * self.config.factor])
        return self.project(normed.reshape(len(frames), tokens, -1))

    def project(self, stacked: Tensor) -> Tensor:
        """[B, S, factor * D] -> [B, S, E]."""
        raise NotImplementedError


class SmallAdapter(Adapter):
    """Y = Dropout(SiLU(Dropout(SiLU(X W1 + b1)) W2 + b2)) W3 + b3."""

    def __init__(self, config: SmallAdapterConfig, input_dim: int, output_dim: int) -> None:
        super().__init__(config, input_dim)
        first, second = config.hidden
        self.reduce = nn.Linear(config.factor * input_dim, first)
        self.expand = nn.Linear(first, second)
        self.output = nn.Linear(second, output_dim)
        self.dropout = nn.Dropout(config.dropout)

    def project(self, stacked: Tensor) -> Tensor:
        """[B, S, factor * D] -> [B, S, E]."""
        reduced = self.dropout(F.silu(self.reduce(stacked)))
        tokens: Tensor = self.output(self.dropout(F.silu(self.expand(reduced))))
        return tokens


class LargeAdapter(Adapter):
    """Z = SiLU(X W1 + b1); G = SiLU(Z Wg + bg) * (Z Wp + bp); Y = G Wo + bo."""

    def __init__(self, config: LargeAdapterConfig, input_dim: int, output_dim: int) -> None:
        super().__init__(config, input_dim)
        self.reduce = nn.Linear(config.factor * input_dim, config.hidden)
        self.gate = nn.Linear(config.hidden, config.hidden)
        self.pool = nn.Linear(config.hidden, config.hidden)
        self.output = nn.Linear(config.hidden, output_dim)

    def project(self, stacked: Tensor) -> Tensor:
        """[B, S, factor * D] -> [B, S, E]."""
        reduced = F.silu(self.reduce(stacked))
        tokens: Tensor = self.output(F.silu(self.gate(reduced)) * self.pool(reduced))
        return tokens
