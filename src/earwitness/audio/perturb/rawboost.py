"""RawBoost: convolutive, impulsive and stationary noise on the raw waveform (arXiv 2111.04433).

Three distortions and their combinations, needing no noise or impulse-response corpus:

    LnL   y = sum_i fir(x^i, b_i) - mean, each b_i a cascade of random band-stop filters     (algo 1)
    ISD   y = x + g_sd x f at a few random positions, f the product of two U(-1, 1)           (algo 2)
    SSI   y = x + filtered white noise at a drawn signal-to-noise ratio                       (algo 3)

Draws are consumed in the order in which the method states them, so a plain implementation that is given a generator in
the same state makes the same file. Inside, everything is float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from pydantic import Field

from earwitness.audio.perturb.base import BasePerturbationConfig, FloatArray, Operation, l2_norm, uniform
from earwitness.audio.recording import Samples

Array = NDArray[np.float64]

_GRID = 512  # points from 0 Hz to below fs/2 on which a filter's largest gain is found
_EDGE_HZ = 0.001  # how far a band's edge stays inside (0, fs/2)
_BLOCK = 4096  # FFT length of the block convolution


class RawBoostConfig(BasePerturbationConfig):
    """RawBoost with the defaults of the official code. `algo` names the combination:

    0 nothing; 1 LnL; 2 ISD; 3 SSI; in series 4 = 1+2+3, 5 = 1+2, 6 = 1+3, 7 = 2+3; in parallel 8 = 1||2, 9 = 1||2||3;
    10 = none, one or both of 1 and 2 (both: as 8) by `lnl_ratio`, `isd_ratio`; 11 = 4 with each step by its own ratio.
    """

    kind: Literal["rawboost"] = "rawboost"
    algo: int = Field(5, ge=0, le=11)
    n_bands: int = Field(5, ge=1, le=32)  # band-stop filters in a cascade
    min_f: float = Field(20.0, ge=0)  # centre, Hz
    max_f: float | None = Field(None, gt=0)  # None: half the sampling rate (8000 Hz at 16 kHz)
    min_bw: float = Field(100.0, gt=0)  # width, Hz
    max_bw: float = Field(1000.0, gt=0)
    min_coeff: int = Field(10, ge=3, le=1000)  # taps of one band-stop filter
    max_coeff: int = Field(100, ge=3, le=1000)
    min_g: float = 0.0  # gain of a cascade, dB
    max_g: float = 0.0
    min_bias: float = 5.0  # dB below that, for the powers 2, 3, ...
    max_bias: float = 20.0
    n_f: int = Field(5, ge=1, le=10)  # highest power of x
    max_percent: float = Field(10.0, ge=0, le=100)  # P: share of the samples that ISD may change
    g_sd: float = Field(2.0, ge=0)
    snr_min: float = 10.0  # dB
    snr_max: float = 40.0
    lnl_ratio: float = Field(0.5, ge=0, le=1)  # probabilities, algos 10 and 11 only
    isd_ratio: float = Field(0.5, ge=0, le=1)
    ssi_ratio: float = Field(0.5, ge=0, le=1)

    def operation(self) -> Operation:
        """The combination `algo`, to be applied to whole files, before they are cropped."""
        return RawBoost(self)


@dataclass(frozen=True)
class RawBoost:
    """The combination `config.algo`. Silence is returned unchanged: it has no level to scale noise or peaks by."""

    config: RawBoostConfig

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """Samples of the same length."""
        if not samples.any():
            return samples
        x = samples.astype(np.float64)
        if self.config.algo == 10:
            return self._independent(x, rate, rng)
        if self.config.algo in (8, 9):
            return norm_if(np.sum([self._step(s, x, rate, rng) for s in range(1, self.config.algo - 5)], axis=0))
        for step in self._series(rng):
            x = self._step(step, x, rate, rng)
        return x

    def _series(self, rng: np.random.Generator) -> tuple[int, ...]:
        """The steps of a combination in series, in their order."""
        if self.config.algo == 11:
            ratios = (self.config.lnl_ratio, self.config.isd_ratio, self.config.ssi_ratio)
            return tuple(step for step, drawn, p in zip((1, 2, 3), rng.random(3), ratios, strict=True) if drawn < p)
        return {0: (), 1: (1,), 2: (2,), 3: (3,), 4: (1, 2, 3), 5: (1, 2), 6: (1, 3), 7: (2, 3)}[self.config.algo]

    def _independent(self, x: Array, rate: int, rng: np.random.Generator) -> Array:
        """Algo 10: LnL and ISD drawn independently; where both are, they are joined in parallel."""
        ratios = (self.config.lnl_ratio, self.config.isd_ratio)
        steps = [step for step, drawn, p in zip((1, 2), rng.random(2), ratios, strict=True) if drawn < p]
        branches = [self._step(step, x, rate, rng) for step in steps]
        return x if not branches else branches[0] if len(branches) == 1 else norm_if(branches[0] + branches[1])

    def _step(self, step: int, x: Array, rate: int, rng: np.random.Generator) -> Array:
        if step == 1:
            return lnl(x, rate, rng, self.config)
        if step == 2:
            return isd(x, rng, self.config)
        return ssi(x, rate, rng, self.config)


def lnl(x: Array, rate: int, rng: np.random.Generator, config: RawBoostConfig) -> Array:
    """Linear and non-linear convolutive noise (algo 1): the powers 1..n_f of x [N], each through a filter, summed.

    The offset of the gain range holds once, from the second power on. Zero mean and a peak of at most 1 come out.
    """
    first = (config.min_g, config.max_g)
    higher = (config.min_g - config.min_bias, config.max_g - config.max_bias)
    filters = draw_filters(rng, rate, config, np.array([first] + [higher] * (config.n_f - 1)))
    y = filter_powers(x, filters)
    return norm_if(y - y.mean())


def isd(x: Array, rng: np.random.Generator, config: RawBoostConfig) -> Array:
    """Impulsive, signal-dependent noise (algo 2): up to `max_percent` % of the samples of x [N] move by g_sd x f."""
    beta = uniform(rng, 0.0, config.max_percent)
    chosen = rng.permutation(len(x))[: int(len(x) * beta / 100)]
    f = (2 * rng.random(len(chosen)) - 1) * (2 * rng.random(len(chosen)) - 1)
    y = x.copy()
    y[chosen] += config.g_sd * x[chosen] * f
    return norm_if(y)


def ssi(x: Array, rate: int, rng: np.random.Generator, config: RawBoostConfig) -> Array:
    """Stationary, signal-independent noise (algo 3) at a ratio of U(snr_min, snr_max) dB over the whole of x [N]."""
    white = rng.standard_normal(len(x))
    noise = filter_powers(white, draw_filters(rng, rate, config, np.array([(config.min_g, config.max_g)])))
    noise /= np.abs(noise).max()
    snr_db = uniform(rng, config.snr_min, config.snr_max)
    return x + noise * (l2_norm(x) / l2_norm(noise) * 10 ** (-snr_db / 20))


def norm_if(x: Array) -> Array:
    """Divided by the peak where that passes 1."""
    peak = np.abs(x).max()
    return x / peak if peak > 1 else x


def draw_filters(rng: np.random.Generator, rate: int, config: RawBoostConfig, gains_db: Array) -> Array:
    """K random cascades of `n_bands` band-stop filters, one for each row of `gains_db` [K, 2] (bounds in either order).

    Returned is [K, L], L odd, each filter symmetric about the middle and padded with zeros to a common length: that way
    all have the same delay. A cascade draws, band by band, centre, width and taps, then its gain.
    """
    count, bands = len(gains_db), config.n_bands
    drawn = rng.random((count, 3 * bands + 1))  # one call: the same numbers as one by one
    places = drawn[:, :-1].reshape(count, bands, 3)
    nyquist = rate / 2
    max_f = nyquist if config.max_f is None else min(config.max_f, nyquist)
    centre = _between(places[..., 0], min(config.min_f, nyquist), max_f)
    width = _between(places[..., 1], config.min_bw, config.max_bw)
    taps = np.floor(_between(places[..., 2], config.min_coeff, config.max_coeff)).astype(np.int64) | 1  # odd
    single = _band_stops(centre, width, taps, rate)

    size = max(2 * _GRID, int(2 ** np.ceil(np.log2(bands * single.shape[-1]))))
    spectra = np.prod(scipy.fft.rfft(single, size), axis=1)
    loudest = np.abs(spectra[:, : size // 2 : size // (2 * _GRID)]).max(axis=1)
    gain = 10 ** (_between(drawn[:, -1], gains_db[:, 0], gains_db[:, 1]) / 20)
    cascades = scipy.fft.irfft(spectra * (gain / loudest)[:, None], size)[:, : bands * (single.shape[-1] - 1) + 1]
    return _trim(cascades, int((taps - 1).sum(axis=1).max()) + 1)


def _between(drawn: Array, low: float | Array, high: float | Array) -> Array:
    """Uniform draws in [0, 1) moved to between two bounds given in either order."""
    return np.minimum(low, high) + (np.abs(np.subtract(high, low)) * drawn)


def _band_stops(centre: Array, width: Array, taps: NDArray[np.int64], rate: int) -> Array:
    """Windowed-sinc band-stop filters [..., W], centred, padded to the longest; Hamming window, gain 1 at 0 Hz."""
    nyquist = rate / 2
    low = centre - width / 2
    high = centre + width / 2
    low = np.where(low <= 0, _EDGE_HZ, low)[..., None] / nyquist
    high = np.where(high >= nyquist, nyquist - _EDGE_HZ, high)[..., None] / nyquist
    half = int(taps.max()) // 2
    m = np.arange(-half, half + 1)
    span = taps[..., None] - 1
    window = np.where(2 * np.abs(m) <= span, 0.54 + 0.46 * np.cos(2 * np.pi * m / span), 0.0)
    ideal = low * np.sinc(low * m) + (m == 0) - high * np.sinc(high * m)
    filters = ideal * window
    return np.asarray(filters / filters.sum(axis=-1, keepdims=True))


def _trim(filters: Array, length: int) -> Array:
    """The middle `length` taps: what lies outside is padding."""
    spare = (filters.shape[-1] - length) // 2
    return filters[:, spare : spare + length]


def filter_powers(x: Array, filters: Array) -> Array:
    """sum_k fir(x^k, filters_k): x [N] and its powers 1..K through filters [K, L], L odd; [N] comes out.

    `fir` drops (L + 1)/2 samples of delay where a symmetric filter has (L - 1)/2, so the result is one sample early: an
    impulse at 500 lands at 499. Kept for fidelity. Done by overlap-save in blocks that stay in the processor's cache,
    with the sum taken before the one inverse transform.
    """
    n, (count, length) = len(x), filters.shape
    size = max(_BLOCK, int(2 ** np.ceil(np.log2(2 * length))))
    step = size - length + 1
    blocks = -(-n // step)
    before = (length - 3) // 2  # zeros ahead: output 0 hears the inputs up to (L + 1)/2
    padded = np.zeros((blocks - 1) * step + size)
    padded[before : before + n] = x
    response = scipy.fft.rfft(filters, size)
    powers = np.empty((count, size))
    y = np.empty((blocks, step))
    for block in range(blocks):
        powers[0] = padded[block * step : block * step + size]
        for k in range(1, count):
            np.multiply(powers[k - 1], powers[0], out=powers[k])
        spectrum = scipy.fft.rfft(powers)
        spectrum *= response
        y[block] = scipy.fft.irfft(spectrum.sum(axis=0), size)[length - 1 :]
    return y.reshape(-1)[:n]
