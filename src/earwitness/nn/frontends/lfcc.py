"""Linear-frequency cepstral coefficients, the spectral baseline of the ASVspoof challenges.

Equally wide filters keep the upper band, where many vocoders leave their marks, as finely resolved as the lower one.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from earwitness.nn.frontends import spectrum
from earwitness.nn.frontends.base import FrontendConfigBase, SpectralFrontend, check_band


class LFCCConfig(FrontendConfigBase):
    """Settings; times in samples, frequencies in Hz (`fmax` None: half the rate).

    The challenge baselines take 20 filters with 20 coefficients and both deltas (60 features), or 60 filters; 20 ms
    Hamming windows every 10 ms; pre-emphasis 0.97.
    """

    kind: Literal["lfcc"] = "lfcc"
    rate: int = Field(16_000, gt=0)
    n_fft: int = Field(512, ge=2)
    window: int = Field(320, ge=2)
    hop: int = Field(160, ge=1)
    n_filters: int = Field(20, ge=1)
    n_coefficients: int = Field(20, ge=1)
    fmin: float = Field(0.0, ge=0)
    fmax: float | None = None
    deltas: bool = True
    log_floor: float = Field(1e-9, gt=0)
    pre_emphasis: float = Field(0.97, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> LFCCConfig:
        check_band(self.fmin, self.fmax, self.rate)
        if self.window > self.n_fft:
            raise ValueError("window is longer than n_fft")
        if self.n_coefficients > self.n_filters:
            raise ValueError("there are more coefficients than filters")
        return self

    def build(self) -> LFCC:
        """A new front-end. Raises `RecipeError` where a filter would cover no bin."""
        return LFCC(self)


class LFCC(SpectralFrontend):
    """[B, N] -> [B, T, F], T = (N - window) // hop + 1; F = coefficients, with deltas followed by their first and
    second slopes.

    Coefficients are the orthonormal DCT-II of log10 filter energies.
    """

    window: Tensor
    filters: Tensor
    transform: Tensor

    def __init__(self, config: LFCCConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = config.n_coefficients * (3 if config.deltas else 1)
        self.frames_per_second = config.rate / config.hop
        self.shortest = config.window
        filters = spectrum.linear_filters(
            config.n_fft, config.rate, config.n_filters, config.fmin, config.fmax or config.rate / 2
        )
        transform = spectrum.cosine_transform(config.n_filters, config.n_coefficients)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("transform", transform, persistent=False)
        self.register_buffer("window", torch.hamming_window(config.window), persistent=False)

    def features(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> [B, T, F]."""
        config = self.config
        samples = spectrum.pre_emphasise(waveforms, config.pre_emphasis)
        frames = spectrum.frame(samples, config.window, config.hop) * self.window
        energies = spectrum.power_spectrum(frames, config.n_fft) @ self.filters
        values = energies.clamp_min(config.log_floor).log10() @ self.transform
        if not config.deltas:
            return values
        slope = spectrum.deltas(values)
        return torch.cat([values, slope, spectrum.deltas(slope)], dim=-1)
