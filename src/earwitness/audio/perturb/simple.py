"""Band limits, speed, level, clipping and a change of the sampling rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import soxr
from pydantic import Field, field_validator, model_validator
from scipy.signal import firwin, oaconvolve

from earwitness.audio.perturb.base import BasePerturbationConfig, FloatArray, Operation, Range, fit_length, uniform
from earwitness.audio.recording import Samples

_TRANSITION_HZ = 200.0  # width of a filter's edge
_HAMMING_WIDTH = 3.3  # width of a Hamming-windowed edge x taps / rate


class LowPassConfig(BasePerturbationConfig):
    """Low-pass (linear phase, no delay), -6 dB at a cut-off from `cutoff_hz`; above half the rate: no change."""

    kind: Literal["low_pass"] = "low_pass"
    cutoff_hz: Range = (3400.0, 8000.0)

    @field_validator("cutoff_hz")
    @classmethod
    def _positive(cls, cutoff_hz: tuple[float, float]) -> tuple[float, float]:
        if cutoff_hz[0] <= 0:
            raise ValueError("a cut-off is above 0 Hz")
        return cutoff_hz

    def operation(self) -> Operation:
        """A low-pass filter."""
        return LowPass(self.cutoff_hz)


class TelephoneBandConfig(BasePerturbationConfig):
    """Band-pass of the telephone (linear phase, no delay), -6 dB at both edges."""

    kind: Literal["telephone_band"] = "telephone_band"
    low_hz: float = Field(300.0, gt=0)
    high_hz: float = 3400.0

    @model_validator(mode="after")
    def _ordered(self) -> TelephoneBandConfig:
        if self.low_hz >= self.high_hz:
            raise ValueError(f"low_hz {self.low_hz:g} must lie below high_hz {self.high_hz:g}")
        return self

    def operation(self) -> Operation:
        """A band-pass filter."""
        return BandPass(self.low_hz, self.high_hz)


class SpeedConfig(BasePerturbationConfig):
    """Speed by resampling, pitch included: one of `factors`, equally likely. Factor 0.9 makes it 1/0.9 as long."""

    kind: Literal["speed"] = "speed"
    factors: tuple[float, ...] = Field((0.9, 1.0, 1.1), min_length=1)

    @field_validator("factors")
    @classmethod
    def _sensible(cls, factors: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0.25 <= factor <= 4 for factor in factors):
            raise ValueError("a speed factor lies between 0.25 and 4")
        return factors

    def operation(self) -> Operation:
        """A change of speed; the only component that changes the length."""
        return Speed(self.factors)


class GainConfig(BasePerturbationConfig):
    """A gain drawn from `gain_db`. Nothing is clipped, so keep it at or below 0 dB, or let `clip` follow."""

    kind: Literal["gain"] = "gain"
    gain_db: Range = (-18.0, 0.0)

    def operation(self) -> Operation:
        """A gain."""
        return Gain(self.gain_db)


class ClipConfig(BasePerturbationConfig):
    """Hard clipping at a level drawn from `below_peak_db` decibels below the peak."""

    kind: Literal["clip"] = "clip"
    below_peak_db: Range = (1.0, 10.0)

    def operation(self) -> Operation:
        """Clipping."""
        return Clip(self.below_peak_db)


class ResampleConfig(BasePerturbationConfig):
    """To one of `rates` (Hz, equally likely) and back: what lies above half of it is lost."""

    kind: Literal["resample"] = "resample"
    rates: tuple[int, ...] = Field((8_000,), min_length=1)

    @field_validator("rates")
    @classmethod
    def _sensible(cls, rates: tuple[int, ...]) -> tuple[int, ...]:
        if not all(1_000 <= rate <= 384_000 for rate in rates):
            raise ValueError("a rate lies between 1000 and 384000 Hz")
        return rates

    def operation(self) -> Operation:
        """A round trip through another sampling rate."""
        return ResampleRoundTrip(self.rates)


@dataclass(frozen=True)
class LowPass:
    """Low-pass at a drawn cut-off."""

    cutoff_hz: tuple[float, float]

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """Samples of the same length and alignment."""
        cutoff = uniform(rng, *self.cutoff_hz)
        return samples if cutoff >= rate / 2 else _filtered(samples, firwin(_taps(rate), cutoff, fs=rate))


@dataclass(frozen=True)
class BandPass:
    """Band-pass between two fixed edges; a high-pass where the rate holds nothing above the upper one."""

    low_hz: float
    high_hz: float

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """Samples of the same length and alignment."""
        edges = [edge for edge in (self.low_hz, self.high_hz) if edge < rate / 2]
        if not edges:
            return np.zeros_like(samples)
        return _filtered(samples, firwin(_taps(rate), edges, fs=rate, pass_zero=False))


@dataclass(frozen=True)
class Speed:
    """Plays the samples faster or slower."""

    factors: tuple[float, ...]

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """round(N / factor) samples."""
        factor = self.factors[int(rng.integers(len(self.factors)))]
        if factor == 1:
            return samples
        return fit_length(soxr.resample(samples, rate * factor, rate), round(len(samples) / factor))


@dataclass(frozen=True)
class Gain:
    """Scales by a drawn gain."""

    gain_db: tuple[float, float]

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """Samples of the same length."""
        return samples * np.float32(10 ** (uniform(rng, *self.gain_db) / 20))


@dataclass(frozen=True)
class Clip:
    """Clips below the peak."""

    below_peak_db: tuple[float, float]

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """Samples of the same length."""
        level = np.abs(samples).max() * np.float32(10 ** (-uniform(rng, *self.below_peak_db) / 20))
        return np.clip(samples, -level, level)


@dataclass(frozen=True)
class ResampleRoundTrip:
    """Resamples there and back."""

    rates: tuple[int, ...]

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """Samples of the same length and alignment."""
        other = self.rates[int(rng.integers(len(self.rates)))]
        return (
            samples
            if other == rate
            else fit_length(soxr.resample(soxr.resample(samples, rate, other), other, rate), len(samples))
        )


def _taps(rate: int) -> int:
    """An odd number of taps, for a symmetric filter with a whole number of samples of delay."""
    return int(_HAMMING_WIDTH * rate / _TRANSITION_HZ) | 1


def _filtered(samples: Samples, taps: FloatArray) -> FloatArray:
    """Filtered, the delay of the symmetric filter taken out, same length."""
    delay = len(taps) // 2
    return np.asarray(oaconvolve(samples, taps.astype(np.float32))[delay : delay + len(samples)])
