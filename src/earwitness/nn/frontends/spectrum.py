"""The signal processing that spectral front-ends share: frames, power spectra, filterbanks, the cosine transform.

Filterbanks are computed once in float64 and kept as float32. Everything here runs batched on any device and exports
to ONNX.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from earwitness.core.errors import RecipeError

MelScale = Literal["htk", "slaney"]
Array = NDArray[np.float64]


def precise(waveforms: Tensor) -> Tensor:
    """[B, N] in double precision, where the device knows it (Apple's does not).

    In single precision the logarithms of empty bands, as above a telephone's, are those of rounding errors, which
    differ from processor to processor.
    """
    return waveforms if waveforms.device.type == "mps" else waveforms.double()


def frame(waveforms: Tensor, window: int, hop: int) -> Tensor:
    """[B, N] -> [B, T, window] with T = (N - window) // hop + 1: only whole frames, nothing padded."""
    return waveforms.unfold(1, window, hop)


def power_spectrum(frames: Tensor, n_fft: int) -> Tensor:
    """[B, T, W] windowed samples -> [B, T, n_fft // 2 + 1] squared magnitudes; W is filled up with zeros."""
    spectrum: Tensor = torch.fft.rfft(frames, n=n_fft)
    return spectrum.real.square() + spectrum.imag.square()


def pre_emphasise(samples: Tensor, coefficient: float) -> Tensor:
    """y[n] = x[n] - c x[n-1] along the last axis; the first sample is its own predecessor."""
    if coefficient == 0:
        return samples
    before = torch.cat([samples[..., :1], samples[..., :-1]], dim=-1)
    return samples - coefficient * before


def raised_to(waveforms: Tensor, level_dbfs: float) -> Tensor:
    """[B, N] with each waveform whose RMS is below the level scaled up to it; louder ones and silence stay."""
    rms = waveforms.square().mean(dim=1, keepdim=True).sqrt()
    gain = 10 ** (level_dbfs / 20) / rms.clamp_min(1e-10)
    return waveforms * gain.clamp_min(1.0)


def subtract_mean(values: Tensor) -> Tensor:
    """[B, T, F] minus each feature's mean over the utterance."""
    return values - values.mean(dim=1, keepdim=True)


def deltas(values: Tensor) -> Tensor:
    """[B, T, F] -> the slope (x[t+1] - x[t-1]) / 2, with the edge frames repeated."""
    padded = torch.cat([values[:, :1], values, values[:, -1:]], dim=1)
    return (padded[:, 2:] - padded[:, :-2]) / 2


def mel_filters(n_fft: int, rate: int, n_mels: int, fmin: float, fmax: float, scale: MelScale, *, area: bool) -> Tensor:
    """Mel filters [n_fft // 2 + 1, n_mels], triangles over Hz; with `area` each is scaled to 2 / width (Slaney)."""
    low, high = hz_to_mel(np.array([fmin, fmax]), scale)
    edges = mel_to_hz(np.linspace(low, high, n_mels + 2), scale)
    filters = triangles(edges, bins(n_fft, rate))
    if area:
        filters *= 2.0 / (edges[2:] - edges[:-2])
    return as_filters(filters)


def kaldi_mel_filters(n_fft: int, rate: int, n_mels: int, fmin: float, fmax: float) -> Tensor:
    """Kaldi's filters [n_fft // 2 + 1, n_mels]: triangles over mel = 1127 ln(1 + f / 700), not over frequency."""
    low, high = hz_to_mel(np.array([fmin, fmax]), "htk")
    return as_filters(triangles(np.linspace(low, high, n_mels + 2), hz_to_mel(bins(n_fft, rate), "htk")))


def linear_filters(n_fft: int, rate: int, count: int, fmin: float, fmax: float) -> Tensor:
    """Equally wide triangles [n_fft // 2 + 1, count] between `fmin` and `fmax` Hz."""
    return as_filters(triangles(np.linspace(fmin, fmax, count + 2), bins(n_fft, rate)))


def as_filters(filters: Array) -> Tensor:
    """To float32; a filter between two bins of the spectrum would give the log floor for ever, and is refused."""
    if empty := np.flatnonzero(filters.sum(axis=0) <= 0).tolist():
        raise RecipeError(
            f"{len(empty)} of {filters.shape[1]} filters cover no bin of the spectrum (the first is filter {empty[0]})",
            fix="Ask for fewer filters, a wider band or a longer n_fft.",
        )
    return torch.from_numpy(filters.astype(np.float32))


def bins(n_fft: int, rate: int) -> Array:
    """The frequencies, Hz, of the n_fft // 2 + 1 bins."""
    return np.arange(n_fft // 2 + 1, dtype=np.float64) * rate / n_fft


def triangles(edges: Array, grid: Array) -> Array:
    """Triangles [len(grid), M] with feet and tops at `edges` [M + 2], evaluated on `grid`."""
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rise = (grid[:, None] - left) / (centre - left)
    fall = (right - grid[:, None]) / (right - centre)
    return np.maximum(0.0, np.minimum(rise, fall))


# Slaney's scale: linear up to 1 kHz (200/3 Hz a mel), logarithmic above (27 mel for a factor of 6.4).
_KNEE_HZ, _KNEE_MEL, _LOG_STEP = 1000.0, 15.0, np.log(6.4) / 27.0


def hz_to_mel(hz: Array, scale: MelScale) -> Array:
    """Frequencies in Hz on the HTK scale, 1127 ln(1 + f / 700), or on Slaney's."""
    if scale == "htk":
        return 1127.0 * np.log1p(hz / 700.0)
    above = _KNEE_MEL + np.log(np.maximum(hz, _KNEE_HZ) / _KNEE_HZ) / _LOG_STEP
    return np.where(hz < _KNEE_HZ, hz * 3.0 / 200.0, above)


def mel_to_hz(mel: Array, scale: MelScale) -> Array:
    """The inverse of `hz_to_mel`."""
    if scale == "htk":
        return 700.0 * np.expm1(mel / 1127.0)
    above = _KNEE_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _KNEE_MEL) - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * 200.0 / 3.0, above)


def cosine_transform(inputs: int, outputs: int) -> Tensor:
    """The orthonormal DCT-II as a matrix [inputs, outputs]: `x @ matrix` gives the first `outputs` coefficients."""
    n = np.arange(inputs)[:, None]
    k = np.arange(outputs)[None, :]
    matrix = np.sqrt(2.0 / inputs) * np.cos(np.pi * (n + 0.5) * k / inputs)
    matrix[:, 0] /= np.sqrt(2.0)
    return torch.from_numpy(matrix.astype(np.float32))


def centre_in(window: Tensor, n_fft: int) -> Tensor:
    """A window with zeros on both sides, so that it lies in the middle of `n_fft` samples."""
    left = (n_fft - len(window)) // 2
    return F.pad(window, (left, n_fft - len(window) - left))
