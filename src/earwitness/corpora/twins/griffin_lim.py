"""Griffin-Lim: magnitudes are kept, linear or through mel bands, and a phase is found that fits them.

Griffin and Lim 1984 (IEEE Trans. ASSP 32), with the acceleration of Perraudin, Balazs and Søndergaard 2013 (WASPAA).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from earwitness.corpora.twins.base import Signal

_MOMENTUM = 0.99
_OVERLAP = 4  # windows over each sample


@dataclass(frozen=True)
class GriffinLim:
    """One resolution. A window of 32, 64 and 128 ms has 512, 1024 and 2048 samples at 16 kHz; it hops by a quarter."""

    window_ms: int = 64
    mel_bands: int | None = 80  # None: the magnitudes themselves
    iterations: int = 60

    family: ClassVar[str] = "griffin-lim"
    made_with: ClassVar[str] = "Griffin-Lim phase reconstruction"

    @property
    def system(self) -> str:
        """E.g. twin-griffin-lim-mel80-64ms."""
        bands = "linear" if self.mel_bands is None else f"mel{self.mel_bands}"
        return f"twin-griffin-lim-{bands}-{self.window_ms}ms"

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        """Any window, bands and number of iterations."""
        window_ms = (32, 64, 128)[rng.integers(3)]
        bands = (None, 40, 80, 128)[rng.integers(4)]
        return cls(window_ms, bands, (16, 32, 60)[rng.integers(3)])

    @classmethod
    def require(cls) -> None:
        """Needs nothing that is not there."""

    def resynthesise(self, samples: Signal, rate: int, rng: np.random.Generator) -> Signal:
        """The first phase is drawn, the others follow from it."""
        frames = Frames(round(rate * self.window_ms / 1000 / _OVERLAP) * _OVERLAP, len(samples))
        magnitudes = np.abs(frames.spectra(samples))
        if self.mel_bands is not None:
            mel = mel_filters(self.mel_bands, frames.size, rate)
            magnitudes = np.maximum(magnitudes @ mel.T @ np.linalg.pinv(mel.T), 0)
        guess = magnitudes * np.exp(2j * np.pi * rng.random(magnitudes.shape))
        before = np.zeros_like(guess)
        for _ in range(self.iterations):
            consistent = frames.spectra(frames.signal(guess))
            ahead = consistent + _MOMENTUM * (consistent - before)
            guess = magnitudes * ahead / np.maximum(np.abs(ahead), 1e-12)
            before = consistent
        return frames.signal(guess)


class Frames:
    """Short-time spectra of `length` samples by Hann windows of `size`, and the least-squares way back."""

    def __init__(self, size: int, length: int) -> None:
        self.size, self.length, self._hop = size, length, size // _OVERLAP
        self._window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
        self._count = -(-length // self._hop) + _OVERLAP - 1
        self._weight = self._overlap_add(np.broadcast_to(self._window**2, (self._count, size)))

    def spectra(self, samples: Signal) -> NDArray[np.complex128]:
        """Of samples [length]: complex [frames, size // 2 + 1]."""
        total = self._hop * (self._count + _OVERLAP - 1)
        first = self.size - self._hop  # so that as many windows cover the first sample as any other
        padded = np.pad(samples, (first, total - first - len(samples)))
        cut = np.lib.stride_tricks.sliding_window_view(padded, self.size)[:: self._hop]
        return np.asarray(fft.rfft(cut * self._window, axis=1))

    def signal(self, spectra: NDArray[np.complex128]) -> Signal:
        """The signal [length] whose spectra come nearest (Griffin and Lim, eq. 6)."""
        made = self._overlap_add(fft.irfft(spectra, self.size, axis=1) * self._window)
        first = self.size - self._hop
        return (made / np.maximum(self._weight, 1e-8))[first : first + self.length]

    def _overlap_add(self, frames: Signal) -> Signal:
        hops = self._count + _OVERLAP - 1
        total = np.zeros((hops, self._hop))
        for part in range(_OVERLAP):
            total[part : part + self._count] += frames[:, part * self._hop : (part + 1) * self._hop]
        return total.reshape(-1)


def mel_filters(bands: int, size: int, rate: int) -> Signal:
    """Triangles [bands, size // 2 + 1], even on the mel scale from 0 to half the rate, each of unit area.

    A band narrower than a bin has no triangle left; its row is zero and the bin belongs to its neighbours.
    """
    top = 2595 * np.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    bins = np.arange(size // 2 + 1) * rate / size
    rising = (bins - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - bins) / (corners[2:] - corners[1:-1])[:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (corners[2:] - corners[:-2]))[:, None])
