"""Additive noise at a drawn signal-to-noise ratio: coloured, from files, or babble.

The ratio is that of the mean squares over the whole of the signal and of the noise that is added, silence included, and
is met exactly. Ranges follow what is usual in speaker verification: noise 0..15 dB, babble 13..20 dB of 3..7 talkers.
Here the talkers are made equally loud and their sum has one drawn ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from pydantic import Field, field_validator

from earwitness.audio.perturb.base import BasePerturbationConfig, FloatArray, Operation, Range, uniform
from earwitness.audio.perturb.files import list_audio, load_audio
from earwitness.audio.recording import Samples

Colour = Literal["white", "pink", "brown"]
_SLOPE: dict[Colour, float] = {"white": 0.0, "pink": 0.5, "brown": 1.0}  # amplitude falls with frequency to this power
_LOWEST_HZ = 20.0  # below that, pink and brown noise stay flat


class ColouredNoiseConfig(BasePerturbationConfig):
    """Synthetic stationary noise, its colour drawn from `colours`."""

    kind: Literal["coloured_noise"] = "coloured_noise"
    colours: tuple[Colour, ...] = Field(("white", "pink", "brown"), min_length=1)
    snr_db: Range = (0.0, 15.0)

    def operation(self) -> Operation:
        """Noise of a drawn colour at a drawn ratio."""
        return AddColouredNoise(self.colours, self.snr_db)


class NoiseFilesConfig(BasePerturbationConfig):
    """Noise from a random place in a random file under `folder`; files that are too short are repeated."""

    kind: Literal["noise_files"] = "noise_files"
    folder: Path
    snr_db: Range = (0.0, 15.0)

    def operation(self) -> Operation:
        """Noise from one file. Raises `DataError` where the folder holds no audio."""
        return AddNoiseFiles(list_audio(self.folder), self.snr_db, (1, 1))


class BabbleConfig(BasePerturbationConfig):
    """Several talkers at once: files of speech under `folder`, equally loud and summed."""

    kind: Literal["babble"] = "babble"
    folder: Path
    talkers: tuple[int, int] = (3, 7)
    snr_db: Range = (13.0, 20.0)

    @field_validator("talkers")
    @classmethod
    def _counts(cls, talkers: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= talkers[0] <= talkers[1]:
            raise ValueError("talkers is (fewest, most), at least 1")
        return talkers

    def operation(self) -> Operation:
        """The sum of several files. Raises `DataError` where the folder holds no audio."""
        return AddNoiseFiles(list_audio(self.folder), self.snr_db, self.talkers)


@dataclass(frozen=True)
class AddColouredNoise:
    """Adds noise of one of the colours."""

    colours: tuple[Colour, ...]
    snr_db: tuple[float, float]

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """Samples of the same length."""
        snr_db = uniform(rng, *self.snr_db)
        colour = self.colours[int(rng.integers(len(self.colours)))]
        return at_snr(samples, coloured_noise(len(samples), rate, colour, rng), snr_db)


@dataclass(frozen=True)
class AddNoiseFiles:
    """Adds the sum of `count` files (a range), each made equally loud."""

    files: tuple[Path, ...]
    snr_db: tuple[float, float]
    count: tuple[int, int]

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """Samples of the same length. Raises `AudioError` for a file that cannot be read or is silent."""
        snr_db = uniform(rng, *self.snr_db)
        count = int(rng.integers(self.count[0], self.count[1] + 1))
        noise = np.zeros(len(samples))
        for index in rng.choice(len(self.files), count, replace=count > len(self.files)):
            noise += _stretch(load_audio(self.files[index], rate), len(samples), rng)
        return at_snr(samples, noise, snr_db)


def _stretch(recording: Samples, length: int, rng: np.random.Generator) -> FloatArray:
    """`length` samples from a drawn place, the file taken as a loop; mean square 1.

    Where the drawn place is silent, it begins at the loudest sample instead.
    """
    start = int(rng.integers(len(recording)))
    cut = _loop(recording, start, length)
    if not cut.any():
        cut = _loop(recording, int(np.abs(recording).argmax()), length)
    return np.asarray(cut / np.sqrt(np.mean(np.square(cut, dtype=np.float64))))


def _loop(recording: Samples, start: int, length: int) -> Samples:
    if start + length <= len(recording):
        return recording[start : start + length]
    return np.resize(np.concatenate([recording[start:], recording[:start]]), length)


def coloured_noise(n: int, rate: int, colour: Colour, rng: np.random.Generator) -> NDArray[np.float64]:
    """Gaussian noise [n] whose power density is flat (white), 1/f (pink, -3 dB an octave) or 1/f^2 (brown, -6 dB)."""
    white = rng.standard_normal(n)
    if colour == "white":
        return white
    size = scipy.fft.next_fast_len(n, real=True)
    spectrum = scipy.fft.rfft(white, size)
    frequency = np.maximum(scipy.fft.rfftfreq(size, 1 / rate), _LOWEST_HZ)
    return np.asarray(scipy.fft.irfft(spectrum * frequency ** -_SLOPE[colour], size)[:n])


def at_snr(samples: Samples, noise: FloatArray, snr_db: float) -> FloatArray:
    """samples + g noise, with g such that 10 log10(mean square of samples / mean square of g noise) = snr_db.

    Silence has no ratio to anything and is returned unchanged, as with noise of no power.
    """
    signal_power = np.mean(np.square(samples, dtype=np.float64))
    noise_power = np.mean(np.square(noise, dtype=np.float64))
    if signal_power == 0 or noise_power == 0:
        return samples
    return np.asarray(samples + noise * np.sqrt(signal_power / noise_power * 10 ** (-snr_db / 10)))
