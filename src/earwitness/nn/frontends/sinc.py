"""A fixed bank of band-pass filters on the raw waveform (SincNet, arXiv 1808.00158; as AASIST has it, arXiv
2110.01200).

Edges are equally spaced in mel (2595 log10(1 + f / 700)) from 0 to half the rate, one band between each two; every
filter is the ideal band-pass cut by a Hamming window. Nothing is learnt and nothing is stored.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from earwitness.nn.frontends.base import Frontend, FrontendConfigBase


class SincConfig(FrontendConfigBase):
    """`filters` with `taps` samples each (odd); the largest of `pool` neighbours in band and in time is kept."""

    kind: Literal["sinc"] = "sinc"
    rate: int = Field(16_000, gt=0)
    filters: int = Field(70, ge=1)
    taps: int = Field(129, ge=3)
    pool: int = Field(3, ge=1)

    def build(self) -> Sinc:
        """A new front-end."""
        return Sinc(self)


class Sinc(Frontend):
    """[B, N] -> [B, T, filters // pool], T = (N - taps + 1) // pool: the largest absolute filter outputs."""

    bank: Tensor

    def __init__(self, config: SincConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = config.filters // config.pool
        self.frames_per_second = config.rate / config.pool
        self.shortest = config.taps + config.pool - 1
        self.register_buffer("bank", band_passes(config.filters, config.taps, config.rate), persistent=False)

    def features(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> [B, T, F]."""
        outputs = F.conv1d(waveforms.unsqueeze(1), self.bank.unsqueeze(1))
        return F.max_pool2d(outputs.abs().unsqueeze(1), self.config.pool).squeeze(1).transpose(1, 2)


def band_passes(filters: int, taps: int, rate: int) -> Tensor:
    """Filters [filters, taps]: h[n] = (2 f2 sinc(2 f2 n) - 2 f1 sinc(2 f1 n)) Hamming[n], f in cycles a sample."""
    top = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700, dtype=torch.float64))
    mel = torch.linspace(0, 1, filters + 1, dtype=torch.float64) * top
    edges = (700 * (10 ** (mel / 2595) - 1) / rate)[:, None]
    place = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    low_passes = 2 * edges * torch.sinc(2 * edges * place)
    window = torch.hamming_window(taps, periodic=False, dtype=torch.float64)
    return ((low_passes[1:] - low_passes[:-1]) * window).float()
