"""Distill-MOS (arXiv 2502.05356): convolutions over a compressed complex spectrum, a transformer, attention pooling.

Written out under the names of its published weights, so that they load without the packages that it was trained with.
"""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.core.errors import ModelError

SAMPLES = 122_880  # 7.68 s at 16 kHz: what it hears at a time
FRAMES, WIDTH, CHANNELS = 384, 200, (2, 64, 64, 128, 256, 256, 256)


class DistillMosNetwork(nn.Module):
    """Waveforms [B, 122880] at 16 kHz -> MOS [B] between 1 and 5."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = _Spectrum()
        self.transformer_pool_attn = _Judge(1024)

    def forward(self, waveforms: Tensor) -> Tensor:
        """The level does not matter: each waveform is brought to a peak of 1."""
        peak = waveforms.abs().amax(1, keepdim=True)
        judged: Tensor = self.transformer_pool_attn(self.cnn(waveforms / (peak + 1e-8)))
        return 1 + 4 * judged


class _Spectrum(nn.Module):
    """[B, N] -> [B, 384, 1024]: 20 ms windows every 10 ms, magnitudes to the power of 0.3, phases kept."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(pairwise(CHANNELS)):
            stride = (2 if place else 1, 2 if place == len(CHANNELS) - 2 else 1)
            layers += [nn.Conv2d(before, after, 3, stride, padding=(0, 1)), nn.LeakyReLU(0.1)]
        self.cnn = nn.Sequential(*layers)

    def forward(self, waveforms: Tensor) -> Tensor:
        padded = F.pad(waveforms, (80, 80), mode="reflect")
        window = torch.hann_window(320, device=waveforms.device)
        found = torch.stft(padded, 320, 160, 320, window, center=False, return_complex=True)
        magnitude = found.abs().clamp_min(1e-12)
        compressed = torch.view_as_real(found) * (magnitude.pow(0.3) / magnitude).unsqueeze(-1)
        features: Tensor = self.cnn(compressed.permute(0, 3, 1, 2))
        return features.flatten(1, 2).transpose(1, 2)


class _Judge(nn.Module):
    """[B, 384, dim] -> [B] between 0 and 1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm_input = nn.BatchNorm1d(dim)
        self.transformer = _Transformer(dim)
        self.norm_trans = nn.BatchNorm1d(WIDTH)
        self.pool = _AttentionPool()

    def forward(self, features: Tensor) -> Tensor:
        x = self.transformer(self.norm_input(features.transpose(1, 2)).transpose(1, 2))
        x = self.norm_trans(x.transpose(1, 2)).transpose(1, 2)
        return torch.sigmoid(self.pool(x))


class _Transformer(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.position_encoding = _Positions()
        self.linear_proj = nn.Linear(dim, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 8, 2 * WIDTH, batch_first=True)
        self.transformer_encoder = nn.TransformerEncoder(layer, 7, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear_proj(self.norm(x.transpose(1, 2)).transpose(1, 2))
        return self.transformer_encoder(x + self.position_encoding.pe)  # type: ignore[no-any-return]


class _Positions(nn.Module):
    """A fixed table, which the weights bring."""

    pe: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pe", torch.zeros(1, FRAMES, WIDTH))


class _AttentionPool(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear1 = nn.Linear(WIDTH, 2 * WIDTH)
        self.linear2 = nn.Linear(2 * WIDTH, 1)
        self.linear3 = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.linear2(torch.relu(self.linear1(x))).softmax(1)
        pooled: Tensor = self.linear3((weights * x).sum(1))
        return pooled.squeeze(1)


def distillmos_from(path: str | Path) -> DistillMosNetwork:
    """The network with its published weights, in eval mode; only tensors are read. Raises `ModelError`."""
    network = DistillMosNetwork()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["model"]
        network.load_state_dict(state)
    except (OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"does not hold the weights of Distill-MOS ({reason[:200]})", where=path) from None
    return network.eval()
