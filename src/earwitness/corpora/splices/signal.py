"""What a splice does to samples: where the insert goes, how loud it is, and how it is faded over.

The insert's stretch is [start, start + length). Its first and last `fade` samples are cross-faded, so that every sample
within holds some of the insert and every sample outside is the host's own, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.recording import Samples
from earwitness.core.errors import AudioError

MARGIN_S = 0.25  # of the host, before and after the insert
_FRAME_S = 0.01
_BELOW_LOUDEST_DB = 30.0
_SILENT_POWER = 1e-8  # -80 dBFS
_PEAK = 0.999


@dataclass(frozen=True)
class Place:
    """Samples of the host."""

    start: int
    length: int
    fade: int

    @property
    def end(self) -> int:
        """One after the last."""
        return self.start + self.length


def speaking(samples: Samples, rate: int) -> NDArray[np.bool_]:
    """Which whole frames of 10 ms speak: within 30 dB of the loudest, and above digital silence. [N // frame]"""
    size = round(_FRAME_S * rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    loudest = float(power.max()) if len(power) else 0.0
    return np.asarray(power >= max(loudest * 10 ** (-_BELOW_LOUDEST_DB / 10), _SILENT_POWER))


def speech_rms(samples: Samples, rate: int) -> float:
    """RMS over the frames that speak; 0 where none does."""
    size, speaks = round(_FRAME_S * rate), speaking(samples, rate)
    frames = samples[: len(speaks) * size].reshape(-1, size)[speaks]
    return float(np.sqrt(np.square(frames, dtype=np.float64).mean())) if len(frames) else 0.0


def trimmed(samples: Samples, rate: int) -> Samples:
    """From the first to the last frame that speaks. Raises `AudioError` where none does."""
    size, places = round(_FRAME_S * rate), np.flatnonzero(speaking(samples, rate))
    if not len(places):
        raise AudioError("the insert is silent")
    return samples[places[0] * size : (places[-1] + 1) * size]


def find_place(host: Samples, rate: int, length: int, fade: int, rng: np.random.Generator) -> Place:
    """A stretch of `length` samples of which at least half speaks, drawn evenly among all. Raises `AudioError`."""
    size, margin = round(_FRAME_S * rate), round(MARGIN_S * rate)
    speaks = np.concatenate([[0], np.cumsum(speaking(host, rate))])
    count = length // size
    starts = np.arange(-(-margin // size), (len(host) - margin - length) // size)
    fit = starts[2 * (speaks[starts + count] - speaks[starts]) >= count] if count and len(starts) else starts[:0]
    if not len(fit):
        raise AudioError(f"no {length / rate:.2f} s of speech with {MARGIN_S:g} s before and after them")
    return Place(int(rng.choice(fit)) * size + int(rng.integers(size)), length, min(fade, length // 2))


def around(host: Samples, place: Place, reach: int) -> slice:
    """The place and up to `reach` samples on either side."""
    return slice(max(0, place.start - reach), min(len(host), place.end + reach))


def gain_to(level: float, insert: Samples, rate: int) -> float:
    """The factor that brings the insert's speech to an RMS; less where its peak would clip. Raises `AudioError`."""
    own, peak = speech_rms(insert, rate), float(np.abs(insert).max(initial=0.0))
    if not (own > 0 and level > 0 and np.isfinite(peak)):
        raise AudioError("the insert is silent")
    return min(level / own, _PEAK / peak)


def spliced(host: Samples, insert: Samples, place: Place) -> Samples:
    """The host [N] with the insert [place.length] in its place. The fades are raised cosines that add up to 1."""
    share = np.ones(place.length)
    rise = np.sin(np.pi / 2 * (np.arange(place.fade) + 0.5) / max(1, place.fade)) ** 2
    share[: place.fade] *= rise
    share[place.length - place.fade :] *= rise[::-1]
    made = host.copy()
    stretch = host[place.start : place.end]
    made[place.start : place.end] = np.clip((1 - share) * stretch + share * insert, -_PEAK, _PEAK)
    return made


def joined(pieces: list[Samples], rate: int, fade: int) -> tuple[Samples, tuple[int, ...]]:
    """Recordings one after another, at the first one's speech level, and where they meet (samples).

    At each meeting the one fades out before the other fades in. A single piece stays as it is. Raises `AudioError` for
    a piece without speech.
    """
    if len(pieces) == 1:
        return pieces[0], ()
    level = speech_rms(pieces[0], rate)
    ramp = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / max(1, fade)) ** 2
    made = []
    for number, piece in enumerate(pieces):
        one = piece * np.float32(gain_to(level, piece, rate))
        width = min(fade, len(one) // 2)
        if number:
            one[:width] *= ramp[:width]
        if number < len(pieces) - 1:
            one[len(one) - width :] *= ramp[:width][::-1]
        made.append(one.astype(np.float32))
    return np.concatenate(made), tuple(np.cumsum([len(piece) for piece in made])[:-1].tolist())
