"""Views of the short-time spectrum that show how sound was made: its level, its detail, the advance of its phase.

A recording's channel is a slowly changing filter. It moves the level of each frequency; it hardly moves what stands out
from the neighbouring frequencies of one frame, and it cancels in the phase between two frames. The views are ours; the
instantaneous frequency is that of Flanagan and Golden's phase vocoder (1966).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from earwitness.nn.frontends import spectrum
from earwitness.nn.frontends.base import FrontendConfigBase, SpectralFrontend, full_precision
from earwitness.nn.types import Frames

FLOOR = 1e-9  # of power


class FineStructureConfig(FrontendConfigBase):
    """`view` of frames of `n_fft` samples (a Hann window of `window` samples in their middle), every `hop` samples.

    level    log power above the utterance's mean, and its absolute change since the last frame: F = n_fft + 2
    detail   log power above the mean of the `smooth` frequencies around it, and its absolute change: F = n_fft + 2
    phase    cosine of the phase's advance since the last frame, less that of the frequency's middle: F = n_fft / 2 + 1

    Only frames louder than the utterance's mean (of log power) count: the others are masked.

    `bits` rounds samples to so many bits first. A frequency band in which there is nothing then holds the noise of such
    numbers; without it, it stands perfectly still, and that a recording was once narrower is all that the views hear.

    `band` (from, to) in Hz gives the frequencies from the first up to below the last alone, and F shrinks to theirs. A
    level is then that above the band's own mean over the frames that count, so that it does not tell what is elsewhere.
    """

    kind: Literal["fine_structure"] = "fine_structure"
    view: Literal["level", "detail", "phase"] = "level"
    n_fft: int = Field(512, ge=2, multiple_of=2)
    window: int = Field(400, ge=2)
    hop: int = Field(160, ge=1)
    smooth: int = Field(17, ge=1)
    rate: int = Field(16_000, gt=0)
    bits: int | None = Field(None, ge=2, le=24)
    band: tuple[float, float] | None = Field(None, exclude_if=lambda band: band is None)

    @model_validator(mode="after")
    def _a_band(self) -> FineStructureConfig:
        if len(self.bins) == 0:
            raise ValueError(f"band: none of the frequencies of {self.n_fft} samples lies there")
        return self

    @property
    def bins(self) -> range:
        """The numbers k of the frequencies k rate / n_fft that are given."""
        every = self.n_fft // 2 + 1
        if self.band is None:
            return range(every)
        first, end = (math.ceil(max(edge, 0.0) * self.n_fft / self.rate) for edge in self.band)
        return range(first, min(end, every))

    def build(self) -> FineStructure:
        """A new front-end."""
        return FineStructure(self)


class FineStructure(SpectralFrontend):
    """[B, N] -> [B, T, F], T = (N - n_fft) // hop, one frame less than fit; see `FineStructureConfig`."""

    window: Tensor

    def __init__(self, config: FineStructureConfig) -> None:
        super().__init__()
        self.config = config
        self.bins = config.n_fft // 2 + 1
        self.dim = len(config.bins) if config.view == "phase" else 2 * len(config.bins)
        self._given = slice(config.bins.start, config.bins.stop)
        self.frames_per_second = config.rate / config.hop
        self.shortest = config.n_fft + config.hop
        window = spectrum.centre_in(torch.hann_window(config.window), config.n_fft)
        self.register_buffer("window", window, persistent=False)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Frames:
        """Frames with their mask; raises as every front-end does."""
        self.check(waveforms, lengths)
        with full_precision(waveforms.device.type):
            real, imaginary = self._spectrum(self._rounded(waveforms.float()))
            power = (real.square() + imaginary.square() + FLOOR).log()
            level = power[:, 1:].mean(dim=2)
            mask = level >= level.mean(dim=1, keepdim=True)
            if self.config.view == "phase":
                return Frames(self._advance(real, imaginary)[..., self._given], mask)
            return Frames(_with_change(self._in_band(self._above(power), mask)), mask)

    def _rounded(self, waveforms: Tensor) -> Tensor:
        """As numbers of `bits` bits, [B, N]."""
        if self.config.bits is None:
            return waveforms
        largest = float(2 ** (self.config.bits - 1) - 1)
        return torch.round(waveforms * largest) / largest

    def _spectrum(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part of [B, N], [B, T + 1, bins] each."""
        frames = spectrum.frame(waveforms, self.config.n_fft, self.config.hop) * self.window
        found: Tensor = torch.fft.rfft(frames)
        return found.real, found.imag

    def _above(self, power: Tensor) -> Tensor:
        """Log power above the utterance's mean, or above its neighbouring frequencies."""
        if self.config.view == "level":
            return power - power.mean(dim=(1, 2), keepdim=True)
        return power - _smoothed(power, self.config.smooth)

    def _in_band(self, power: Tensor, mask: Tensor) -> Tensor:
        """[B, T + 1, bins] -> those of the band; levels above their mean over the frames that count, `mask` [B, T]."""
        given = power[..., self._given]
        if self.config.band is None or self.config.view != "level":
            return given
        counted = mask.to(given.dtype)[..., None]
        mean = (given[:, 1:] * counted).sum(dim=(1, 2), keepdim=True) / (
            counted.sum(dim=1, keepdim=True) * given.shape[2]
        )
        return given - mean

    def _advance(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """cos(phase[t] - phase[t - 1] - 2 pi k hop / n_fft), [B, T, bins]."""
        now, before = (real[:, 1:], imaginary[:, 1:]), (real[:, :-1], imaginary[:, :-1])
        in_phase = now[0] * before[0] + now[1] * before[1]
        ahead = now[1] * before[0] - now[0] * before[1]
        steps = torch.arange(self.bins, device=real.device) * self.config.hop % self.config.n_fft
        expected = steps * (2 * math.pi / self.config.n_fft)
        size = (in_phase.square() + ahead.square() + FLOOR**2).sqrt()
        advance: Tensor = (in_phase * expected.cos() + ahead * expected.sin()) / size
        return advance


def _smoothed(values: Tensor, size: int) -> Tensor:
    """Means of `size` neighbours along the last axis, fewer at the ends: as `avg_pool1d`, in an eighth of the time."""
    count, half = values.shape[-1], size // 2
    sums = _moving_sums(F.pad(values, (half, half)), size)
    present = _moving_sums(F.pad(values.new_ones(count), (half, half)), size)
    return (sums / present)[..., :count]


def _moving_sums(values: Tensor, size: int) -> Tensor:
    """[..., K] -> [..., K - size + 1], from sums of 1, 2, 4, ... neighbours."""
    count = values.shape[-1] - size + 1
    found, taken = torch.zeros_like(values[..., :count]), 0
    sums, width = values, 1
    while taken < size:
        if size & width:
            found = found + sums[..., taken : taken + count]
            taken += width
        if taken < size:
            sums, width = sums[..., :-width] + sums[..., width:], 2 * width
    return found


def _with_change(values: Tensor) -> Tensor:
    """[B, T + 1, K] -> the values and their absolute change since the frame before, [B, T, 2 K]."""
    return torch.cat([values[:, 1:], (values[:, 1:] - values[:, :-1]).abs()], dim=2)
