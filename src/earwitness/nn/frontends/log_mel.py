"""Mel spectra: logarithmic for detectors and emotion heads, or plain power as d-vector networks read them."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from earwitness.nn.frontends import spectrum
from earwitness.nn.frontends.base import FrontendConfigBase, SpectralFrontend, check_band


class LogMelConfig(FrontendConfigBase):
    """Settings of the mel spectrum; times in samples, frequencies in Hz.

    `n_fft` samples make a frame, with a periodic window of `window` samples and this `shape` in its middle. With
    `center` the frames stand around every `hop`-th sample and zeros are put before and after the signal
    (T = N // hop + 1), else only whole frames count (T = (N - n_fft) // hop + 1). `power` 2 is energy, 1 magnitude.
    `log` is natural, of values raised to `log_floor`; with `floor: add` the floor is added to every bin of the
    spectrum and to every mel energy instead. `area` scales each filter to equal area. `mean_norm` subtracts each
    filter's mean over the utterance. `raise_to_dbfs`: a waveform whose RMS lies below this level (dB re full scale) is
    first raised to it, a louder one stays; each waveform for itself, so each window where a recording is heard by
    windows. `standard`: mean and deviation of the training data, one of each for all filters, by which values are
    standardised.
    """

    kind: Literal["log_mel"] = "log_mel"
    rate: int = Field(16_000, gt=0)
    n_fft: int = Field(512, ge=2)
    window: int = Field(400, ge=2)
    shape: Literal["hann", "hamming"] = "hann"
    hop: int = Field(160, ge=1)
    n_mels: int = Field(80, ge=1)
    fmin: float = Field(0.0, ge=0)
    fmax: float | None = None
    mel_scale: spectrum.MelScale = "slaney"
    area: bool = True
    power: Literal[1, 2] = 2
    log: bool = True
    log_floor: float = Field(1e-6, gt=0)
    floor: Literal["raise", "add"] = "raise"
    center: bool = False
    mean_norm: bool = False
    pre_emphasis: float = Field(0.0, ge=0, lt=1)
    raise_to_dbfs: float | None = Field(None, le=0)
    standard: tuple[float, float] | None = Field(None, exclude_if=lambda standard: standard is None)

    @model_validator(mode="after")
    def _check(self) -> LogMelConfig:
        check_band(self.fmin, self.fmax, self.rate)
        if self.window > self.n_fft:
            raise ValueError("window is longer than n_fft")
        if self.standard is not None and self.standard[1] <= 0:
            raise ValueError("standard: the deviation is above 0")
        return self

    def build(self) -> LogMel:
        """A new front-end. Raises `RecipeError` where a filter would cover no bin."""
        return LogMel(self)


#: The input of Resemblyzer's d-vector network: 40 mel energies, 25 ms windows every 10 ms, no logarithm; so the level
#: matters, and quiet sound is raised to -30 dBFS.
DVECTOR_MEL = LogMelConfig(n_fft=400, window=400, hop=160, n_mels=40, log=False, center=True, raise_to_dbfs=-30.0)


class LogMel(SpectralFrontend):
    """[B, N] -> [B, T, n_mels]; see `LogMelConfig`."""

    window: Tensor
    filters: Tensor

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = config.n_mels
        self.frames_per_second = config.rate / config.hop
        self.shortest = 1 if config.center else config.n_fft
        filters = spectrum.mel_filters(
            config.n_fft,
            config.rate,
            config.n_mels,
            config.fmin,
            config.fmax or config.rate / 2,
            config.mel_scale,
            area=config.area,
        )
        self.register_buffer("filters", filters, persistent=False)
        shape = torch.hann_window if config.shape == "hann" else torch.hamming_window
        self.register_buffer("window", spectrum.centre_in(shape(config.window), config.n_fft), persistent=False)

    def features(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> [B, T, n_mels]."""
        config = self.config
        if config.raise_to_dbfs is not None:
            waveforms = spectrum.raised_to(waveforms, config.raise_to_dbfs)
        samples = spectrum.pre_emphasise(waveforms, config.pre_emphasis)
        if config.center:
            samples = F.pad(samples, (config.n_fft // 2, config.n_fft // 2))
        power = spectrum.power_spectrum(spectrum.frame(samples, config.n_fft, config.hop) * self.window, config.n_fft)
        if config.floor == "add":
            power = power + config.log_floor
        values = (power if config.power == 2 else power.sqrt()) @ self.filters
        if config.log:
            floor = config.log_floor
            values = (values + floor if config.floor == "add" else values.clamp_min(floor)).log()
        if config.mean_norm:
            values = spectrum.subtract_mean(values)
        if config.standard is not None:
            values = (values - config.standard[0]) / config.standard[1]
        return values
