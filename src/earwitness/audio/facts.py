"""What a signal is like, before any model hears it: level, clipping, bandwidth, noise, silence.

Levels are RMS in dBFS, where a constant at full scale reads 0 and a full-scale sine -3.01. A signal of zeros has no
level, peak, bandwidth or noise ratio: these are None, and so is whatever needs speech or pauses where there are none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.reading import probe, stream
from earwitness.audio.recording import Samples, Segment
from earwitness.audio.speech import EnergyRule, LevelFrames, SpeechRule, SpeechTracker

SILENT_POWER = 1e-10  # -100 dBFS: a frame below it is digital silence, which tells nothing of the room's noise
_CLIP_RUN = 3  # samples in a row at the extreme
_CLIP_PEAK = 0.05  # below it a plateau is coarse quantisation of a faint signal


@dataclass(frozen=True)
class SignalFacts:
    """Measurements of one signal; None where it has nothing to measure them on."""

    duration_s: float
    rate: int  # Hz, at which it was measured
    native_rate: int | None  # Hz, of the file, where known
    level_dbfs: float | None  # RMS of everything
    speech_level_dbfs: float | None  # RMS of the speech
    peak_dbfs: float | None
    clipped_fraction: float  # samples in runs of three or more at the extreme value; seen at the native rate only
    dc_offset: float  # mean sample
    bandwidth_hz: float | None  # highest frequency within 60 dB of the strongest, see `bandwidth`
    snr_db: float | None  # speech without noise against the pauses' noise; None without speech or pauses
    speech_s: float
    leading_silence_s: float  # before the first speech; the whole duration where there is none
    trailing_silence_s: float  # after the last speech; the whole duration where there is none
    speech_rule: str


def signal_facts(
    samples: Samples, rate: int, native_rate: int | None = None, rule: SpeechRule | None = None
) -> SignalFacts:
    """The facts of samples in memory. `native_rate` bounds the bandwidth of what was upsampled."""
    facts = FactsAccumulator(rate, native_rate, rule)
    facts.push(samples)
    return facts.finish()


def file_facts(
    path: str | Path,
    channel: int | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    rule: SpeechRule | None = None,
) -> SignalFacts:
    """The facts of a file at its own rate (where clipping can be seen), streamed. Raises what `reading.load` raises."""
    rate = probe(path).rate
    facts = FactsAccumulator(rate, rate, rule)
    for block in stream(path, rate, channel, start_s, end_s):
        facts.push(block)
    return facts.finish()


class FactsAccumulator:
    """`SignalFacts` of a signal that comes in blocks of any length: the same, however it is cut.

    Speech is found by the energy rule unless another is given.
    """

    def __init__(self, rate: int, native_rate: int | None = None, rule: SpeechRule | None = None) -> None:
        self._rate = rate
        self._native_rate = native_rate
        self._speech = SpeechTracker(rate, rule or EnergyRule())
        self._levels = LevelFrames(rate)
        self._spectrum = _Spectrum(rate)
        self._top, self._bottom = _Plateau(), _Plateau()
        self._samples = 0
        self._sum = self._squares = self._peak = 0.0

    def push(self, block: Samples) -> None:
        """The next samples, float32 [N]."""
        if len(block) == 0:
            return
        self._samples += len(block)
        self._sum += float(np.sum(block, dtype=np.float64))
        self._squares += float(np.sum(np.square(block, dtype=np.float64)))
        self._peak = max(self._peak, float(np.abs(block).max()))
        self._top.push(block)
        self._bottom.push(-block)
        self._speech.push(block)
        self._levels.push(block)
        self._spectrum.push(block)

    def finish(self) -> SignalFacts:
        """The facts of all that was pushed."""
        segments = self._speech.finish()
        powers = self._levels.powers().astype(np.float64)
        speaking = _inside(segments, len(powers), self._levels.frame_s)
        duration_s = self._samples / self._rate
        count = max(1, self._samples)
        return SignalFacts(
            duration_s=duration_s,
            rate=self._rate,
            native_rate=self._native_rate,
            level_dbfs=_db(self._squares / count),
            speech_level_dbfs=_db(float(powers[speaking].mean())) if speaking.any() else None,
            peak_dbfs=_db(self._peak**2),
            clipped_fraction=(self._top.count + self._bottom.count) / count,
            dc_offset=self._sum / count,
            bandwidth_hz=self._bandwidth(),
            snr_db=_snr_db(powers, speaking),
            speech_s=sum(segment.duration_s for segment in segments),
            leading_silence_s=segments[0].start_s if segments else duration_s,
            trailing_silence_s=duration_s - segments[-1].end_s if segments else duration_s,
            speech_rule=self._speech.rule.name,
        )

    def _bandwidth(self) -> float | None:
        found = bandwidth(self._spectrum.power(), self._rate)
        return found if found is None or self._native_rate is None else min(found, self._native_rate / 2)


def bandwidth(power: NDArray[np.float64], rate: int) -> float | None:
    """The highest frequency, Hz, at which a long-term power spectrum [F] still carries sound; None for silence.

    That is the last band of 100 Hz within 60 dB of the strongest band and 10 dB above the noise of rounding to 16 bits.
    Telephone speech stops below 4 kHz at any rate; the slope of a resampler's filter counts as the end of the band.
    """
    bin_hz = rate / 2 / (len(power) - 1)
    width = max(1, round(100 / bin_hz))
    bands = power[1 : 1 + (len(power) - 1) // width * width].reshape(-1, width).mean(axis=1)
    if len(bands) == 0 or bands.max() <= 0:
        return None
    rounding = (1 / 32768) ** 2 / 12 / (rate / 2) * bin_hz  # its power is spread evenly up to half the rate
    present = np.flatnonzero(bands > max(bands.max() * 1e-6, 10 * rounding))
    return float(min(rate / 2, (present[-1] + 1) * width * bin_hz)) if len(present) else None


class _Spectrum:
    """Long-term power by Hann windows of about 64 ms, side by side. A constant is taken out of each window."""

    def __init__(self, rate: int) -> None:
        self._size = 1 << max(4, round(math.log2(0.064 * rate)))
        self._window = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self._rest = np.zeros(0, np.float32)
        self._sum = np.zeros(self._size // 2 + 1)
        self._count = 0

    def push(self, block: Samples) -> None:
        joined = np.concatenate([self._rest, block])
        whole = len(joined) // self._size * self._size
        self._rest = joined[whole:].copy()
        for start in range(0, whole, 256 * self._size):  # a few megabytes at a time
            self._add(joined[start : min(whole, start + 256 * self._size)].reshape(-1, self._size))

    def _add(self, frames: NDArray[np.float32]) -> None:
        spectra = np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * self._window, axis=1)
        self._sum += np.sum(np.abs(spectra) ** 2, axis=0)
        self._count += len(frames)

    def power(self) -> NDArray[np.float64]:
        """Mean square a bin [F]; the bins of a white signal sum to its mean square. A rest counts only if alone."""
        if self._count == 0 and len(self._rest):
            self._add(np.pad(self._rest - self._rest.mean(), (0, self._size - len(self._rest)))[None])
        scale = 2 / (self._size * float(np.sum(self._window**2)))
        return self._sum * scale / max(1, self._count)


class _Plateau:
    """Counts samples in runs at the highest value so far; a higher one starts the count anew."""

    def __init__(self) -> None:
        self._top = 0.0
        self._total = 0
        self._run = 0  # length of the run that reaches to the end of the last block

    @property
    def count(self) -> int:
        """Samples in runs of three or more at the extreme."""
        return self._total if self._top >= _CLIP_PEAK else 0

    def push(self, block: Samples) -> None:
        top = float(block.max())
        if top > self._top:
            self._top, self._total, self._run = top, 0, 0
        at_top = block >= self._top * (1 - 2.0**-15)
        if not at_top.any():
            self._run = 0
            return
        edges = np.flatnonzero(np.diff(np.concatenate([[False], at_top, [False]]).astype(np.int8))).reshape(-1, 2)
        lengths = edges[:, 1] - edges[:, 0]
        if at_top[0] and self._run:
            lengths[0] += self._run
            self._total -= self._run if self._run >= _CLIP_RUN else 0
        self._total += int(lengths[lengths >= _CLIP_RUN].sum())
        self._run = int(lengths[-1]) if at_top[-1] else 0


def _inside(segments: list[Segment], frames: int, frame_s: float) -> NDArray[np.bool_]:
    """Which frames lie in a segment."""
    inside = np.zeros(frames, bool)
    for segment in segments:
        inside[round(segment.start_s / frame_s) : round(segment.end_s / frame_s)] = True
    return inside


def _snr_db(powers: NDArray[np.float64], speaking: NDArray[np.bool_]) -> float | None:
    """Speech power less noise power over noise power, dB (not below -20); the noise is the median frame of the pauses.

    A breath or a click in a pause does not move the median. Digital silence counts only where nothing else is there.
    """
    pauses = powers[~speaking]
    if not speaking.any() or len(pauses) < 10:
        return None
    sounding = pauses[pauses > SILENT_POWER]
    noise = float(np.median(sounding)) if len(sounding) >= 10 else SILENT_POWER
    return _db(max(float(powers[speaking].mean()) / noise - 1, 1e-2))


def _db(power: float) -> float | None:
    return 10 * math.log10(power) if power > 0 else None
