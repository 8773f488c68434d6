"""The raw waveform as frames, for networks that learn their own filters."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from earwitness.nn.frontends import spectrum
from earwitness.nn.frontends.base import Frontend, FrontendConfigBase


class WaveformConfig(FrontendConfigBase):
    """`window` samples a frame, a frame every `hop` samples; the default cuts pieces of 20 ms without overlap."""

    kind: Literal["waveform"] = "waveform"
    rate: int = Field(16_000, gt=0)
    window: int = Field(320, ge=1)
    hop: int = Field(320, ge=1)

    def build(self) -> WaveformFrames:
        """A new front-end."""
        return WaveformFrames(self)


class WaveformFrames(Frontend):
    """[B, N] -> [B, T, window], T = (N - window) // hop + 1; a rest shorter than a frame is left out."""

    def __init__(self, config: WaveformConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = self.shortest = config.window
        self.frames_per_second = config.rate / config.hop

    def features(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> [B, T, window]."""
        return spectrum.frame(waveforms, self.config.window, self.config.hop)
