"""Whisper's encoder (arXiv 2212.04356) as a front-end, run on real frames only.

Whisper was trained on windows of exactly 30 s and its own forward pads every input to that; a 4 s clip then costs
7.5 times its share. Here the encoder runs on the frames that exist. A waveform longer than 30 s is cut into
consecutive windows of 30 s, each with its own log-mel normalisation; a rest below 25 ms holds no frame and is left out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.nn.frontends import spectrum
from earwitness.nn.frontends.aggregation import HiddenStates
from earwitness.nn.frontends.base import full_precision
from earwitness.nn.frontends.encoder import EncoderConfig, EncoderFrontend, SpeechEncoder, build_frontend
from earwitness.nn.pretrained.whisper import TINY_EN, load_whisper_encoder
from earwitness.nn.pretrained.whisper_encoder import WhisperEncoder

SAMPLE_RATE = 16_000
N_FFT = 400
HOP = 160
WINDOW_S = 30
SHORTEST = 400


class WhisperConfig(EncoderConfig):
    """`source`: `tiny.en` (from its package), a folder (of transformers or CTranslate2), or a hub name."""

    kind: Literal["whisper"] = "whisper"
    source: str = TINY_EN

    def build(self) -> EncoderFrontend:
        """The front-end. Raises `ModelError` or `MissingPartError` where the encoder cannot be loaded."""
        return build_frontend(_shared_encoder(self.source, self.allow_download), self)


class WhisperStates(SpeechEncoder):
    """Waveforms [B, N] at 16 kHz -> hidden states [B, T, D], 50 frames a second: T = ceil(N // 160 / 2) a window.

    State 0 is the embedding (convolutions and positions), the last one the output after the final layer norm.
    """

    mel_filters: Tensor
    hann: Tensor

    def __init__(self, model: WhisperEncoder, source: str) -> None:
        super().__init__()
        self.model = model
        self.source = source
        self.count = len(model.layers) + 1
        self.dim = model.width
        self.frames_per_second = SAMPLE_RATE / (2 * HOP)
        self.shortest = SHORTEST
        filters = spectrum.mel_filters(N_FFT, SAMPLE_RATE, model.mels, 0.0, SAMPLE_RATE / 2, "slaney", area=True)
        self.register_buffer("mel_filters", filters, persistent=False)
        self.register_buffer("hann", torch.hann_window(N_FFT), persistent=False)
        self.window = min(WINDOW_S * SAMPLE_RATE, len(model.embed_positions.weight) * 2 * HOP)

    def forward(self, waveforms: Tensor, last: int | None = None) -> HiddenStates:
        """The hidden states of [B, N] up to number `last`, or all; the windows one after the other."""
        windows = [w for w in torch.split(waveforms, self.window, dim=1) if w.shape[1] >= SHORTEST]
        parts = [self.model(self.log_mel(window), last) for window in windows]
        if len(parts) == 1:
            states: HiddenStates = parts[0]
            return states
        return tuple(torch.cat(layer, dim=1) for layer in zip(*parts, strict=True))

    def feed_forwards(self) -> list[nn.Module]:
        """The second half of each layer's perceptron."""
        return [layer.fc2 for layer in self.model.layers]  # type: ignore[misc]

    def log_mel(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> Whisper's input [B, mels, N // 160]: log10 energies, at most 8 below the highest, (x + 4) / 4."""
        with full_precision(waveforms.device.type):
            padded = F.pad(waveforms.float()[:, None], (N_FFT // 2, N_FFT // 2), mode="reflect")[:, 0]
            frames = spectrum.frame(padded, N_FFT, HOP)[:, :-1] * self.hann
            energies = spectrum.power_spectrum(frames, N_FFT) @ self.mel_filters
            values = energies.clamp_min(1e-10).log10()
            values = torch.maximum(values, values.amax(dim=(1, 2), keepdim=True) - 8.0)
            return ((values + 4.0) / 4.0).transpose(1, 2)


@lru_cache(maxsize=4)
def _shared_encoder(source: str, allow_download: bool) -> WhisperStates:
    return WhisperStates(load_whisper_encoder(source, allow_download=allow_download), source)
