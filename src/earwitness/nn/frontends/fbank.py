"""Kaldi's log mel filterbank: the input of ECAPA-TDNN and of most speaker networks.

Equal to kaldi-native-fbank with dither 0 and snip_edges, but batched, on any device, and exportable to ONNX.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from earwitness.nn.frontends import spectrum
from earwitness.nn.frontends.base import FrontendConfigBase, SpectralFrontend, check_band

INT16_SCALE = 32_768.0  # Kaldi's features are of 16-bit integers
ENERGY_FLOOR = torch.finfo(torch.float32).eps


class FbankConfig(FrontendConfigBase):
    """Settings of the filterbank; times in samples, frequencies in Hz (`fmax` None: half the rate).

    Kaldi's own defaults are 23 filters and the Povey window; the speaker field uses 80 filters, mostly with a
    Hamming window. `mean_norm` subtracts each filter's mean over the utterance, as the speaker recipes do. Dither is
    always off: the same recording has the same features.
    """

    kind: Literal["fbank"] = "fbank"
    rate: int = Field(16_000, gt=0)
    window: int = Field(400, ge=2)
    hop: int = Field(160, ge=1)
    n_mels: int = Field(80, ge=1)
    fmin: float = Field(20.0, ge=0)
    fmax: float | None = None
    shape: Literal["hamming", "povey"] = "hamming"
    pre_emphasis: float = Field(0.97, ge=0, lt=1)
    mean_norm: bool = True

    @model_validator(mode="after")
    def _check(self) -> FbankConfig:
        check_band(self.fmin, self.fmax, self.rate)
        return self

    def build(self) -> Fbank:
        """A new front-end. Raises `RecipeError` where a filter would cover no bin."""
        return Fbank(self)


class Fbank(SpectralFrontend):
    """[B, N] -> [B, T, n_mels] natural log energies, T = (N - window) // hop + 1.

    As in Kaldi each frame first loses its own mean, then is pre-emphasised (its first sample counts as its own
    predecessor).
    """

    window: Tensor
    filters: Tensor

    def __init__(self, config: FbankConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = config.n_mels
        self.frames_per_second = config.rate / config.hop
        self.shortest = config.window
        self.n_fft = 1 << (config.window - 1).bit_length()
        filters = spectrum.kaldi_mel_filters(
            self.n_fft, config.rate, config.n_mels, config.fmin, config.fmax or config.rate / 2
        )
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", _window(config), persistent=False)

    def features(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> [B, T, n_mels]."""
        frames = spectrum.frame(spectrum.precise(waveforms) * INT16_SCALE, self.config.window, self.config.hop)
        frames = frames - frames.mean(dim=-1, keepdim=True)
        frames = spectrum.pre_emphasise(frames, self.config.pre_emphasis) * self.window
        power = spectrum.power_spectrum(frames, self.n_fft).to(waveforms.dtype)
        values = (power @ self.filters).clamp_min(ENERGY_FLOOR).log()
        return spectrum.subtract_mean(values) if self.config.mean_norm else values


def _window(config: FbankConfig) -> Tensor:
    """Symmetric; Povey's is Hann's to the power of 0.85, close to Hamming's but zero at its ends."""
    if config.shape == "hamming":
        return torch.hamming_window(config.window, periodic=False, dtype=torch.float64).float()
    return torch.hann_window(config.window, periodic=False, dtype=torch.float64).pow(0.85).float()
