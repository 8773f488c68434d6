"""A linear-prediction vocoder: an all-pole filter a frame, excited by pulses where voiced and by noise elsewhere.

Atal and Hanauer 1971 (JASA 50); pitch by autocorrelation of the prediction error (SIFT, Markel 1972).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from earwitness.corpora.twins.base import Signal

_WINDOW_S = 0.03
_PITCH_HZ = (60.0, 400.0)
_VOICED = 0.3  # of the error's power, in its autocorrelation at the pitch period


@dataclass(frozen=True)
class Lpc:
    """One order and frame period."""

    order_per_khz: float = 1.0  # poles for each kHz of the sample rate, and two more
    frame_ms: int = 10

    family: ClassVar[str] = "lpc"
    made_with: ClassVar[str] = "a linear-prediction vocoder"

    @property
    def system(self) -> str:
        """E.g. twin-lpc-10ms."""
        return f"twin-lpc-{self.frame_ms}ms"

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        """0.75 to 1.5 poles a kHz, a frame each 5, 10 or 20 ms."""
        return cls((0.75, 1.0, 1.5)[rng.integers(3)], (5, 10, 20)[rng.integers(3)])

    @classmethod
    def require(cls) -> None:
        """Needs nothing that is not there."""

    def resynthesise(self, samples: Signal, rate: int, rng: np.random.Generator) -> Signal:
        """The noise is drawn."""
        hop, order = round(rate * self.frame_ms / 1000), 2 + round(self.order_per_khz * rate / 1000)
        size = max(hop, round(rate * _WINDOW_S))
        count = -(-len(samples) // hop)
        padded = np.pad(samples, (size // 2, size // 2 + (count + 1) * hop - len(samples)))
        window, state, made = np.hanning(size), np.zeros(order), np.zeros(count * hop)
        next_pulse = 0  # samples from the frame's start
        for frame in range(count):
            piece = padded[frame * hop + hop // 2 :][:size] * window
            filter_, error = predictor(piece, order)
            level = float(np.sqrt(np.mean(error**2) / np.mean(window**2)))
            period = pitch_period(error, rate)
            excitation = rng.standard_normal(hop) if period is None else np.zeros(hop)
            if period is None:
                next_pulse = 0
            else:
                excitation[next_pulse::period] = np.sqrt(period)
                next_pulse = (next_pulse - hop) % period
            out, state = lfilter([1.0], filter_, level * excitation, zi=state)
            made[frame * hop : (frame + 1) * hop] = out
        return made[: len(samples)]


def predictor(piece: Signal, order: int) -> tuple[Signal, Signal]:
    """The inverse filter [order + 1] of a windowed piece [N] by the autocorrelation method, and its error [N]."""
    spectrum = np.abs(np.fft.rfft(piece, 2 * len(piece))) ** 2
    correlation = np.fft.irfft(spectrum)[: order + 1]
    correlation[0] = correlation[0] * (1 + 1e-5) + 1e-9  # keeps the filter stable on tones and silence
    coefficients = solve_toeplitz(correlation[:order], correlation[1:])
    inverse = np.concatenate([[1.0], -coefficients])
    return inverse, np.asarray(lfilter(inverse, [1.0], piece))


def pitch_period(error: Signal, rate: int) -> int | None:
    """The period in samples at which the prediction error repeats; None where it does not."""
    low, high = (round(rate / hz) for hz in reversed(_PITCH_HZ))
    correlation = np.fft.irfft(np.abs(np.fft.rfft(error, 2 * len(error))) ** 2)[: min(high, len(error))]
    if len(correlation) <= low or correlation[0] <= 0:
        return None
    best = low + int(np.argmax(correlation[low:]))
    return best if correlation[best] > _VOICED * correlation[0] else None
