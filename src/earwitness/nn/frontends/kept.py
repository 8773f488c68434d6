"""Frames that were computed before, handed in flat: what stands behind a frozen front-end can be trained without it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from earwitness.core.errors import UsageError
from earwitness.nn.frontends.base import Frontend, FrontendConfigBase


class KeptConfig(FrontendConfigBase):
    """`dim` values a frame, `frames_per_second` of them."""

    kind: Literal["kept"] = "kept"
    dim: int = Field(16, ge=1)
    frames_per_second: float = Field(50.0, gt=0)

    def build(self) -> KeptFrames:
        """A new front-end."""
        return KeptFrames(self)


class KeptFrames(Frontend):
    """[B, T * dim], one frame's values after the other -> [B, T, dim]."""

    def __init__(self, config: KeptConfig) -> None:
        super().__init__()
        self.dim = self.shortest = config.dim
        self.frames_per_second = config.frames_per_second

    def features(self, waveforms: Tensor) -> Tensor:
        """[B, T * dim] -> [B, T, dim]. Raises `UsageError` where the values are no whole number of frames."""
        if waveforms.shape[1] % self.dim:
            raise UsageError(f"{waveforms.shape[1]} values are no whole number of frames of {self.dim}")
        return waveforms.reshape(len(waveforms), -1, self.dim)
