"""What a page shows of the sound itself: a waveform envelope, a spectrogram, and a compressed copy for listening.

Made block by block, so a recording of hours never lies in memory whole; the results have a bounded size.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.recording import Recording, Samples
from earwitness.core.errors import AudioError

PLAYER_BITS_PER_S = 64_000
PLAYER_MINUTES = 8.0  # 64 kbit/s: 3.8 MB of MP3
_COLUMNS = 1200
_BLOCK = 1 << 18
_N_FFT = 512  # 32 ms at 16 kHz
_LONGEST_HOP = 256
_RANGE_DB = 70.0

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class AudioForReport:
    """Pictures and a listening copy of one recording (one channel).

    `low` and `high` are the envelope, shape [C], in [-1, 1]; `spectrogram` is a PNG, time to the right, 0 Hz to
    `rate / 2` upwards; `player` is mono MP3 of the first `player_s` seconds, empty where none is wanted.
    """

    rate: int
    duration_s: float
    low: Floats
    high: Floats
    spectrogram: bytes
    player: bytes
    player_s: float


def audio_for_report(recording: Recording, player_minutes: float = PLAYER_MINUTES) -> AudioForReport:
    """Pictures and listening copy of a recording that is in memory."""
    return audio_from_blocks([recording.samples], recording.rate, len(recording.samples), player_minutes)


def audio_from_blocks(
    blocks: Iterable[Samples], rate: int, length: int, player_minutes: float = PLAYER_MINUTES
) -> AudioForReport:
    """The same from consecutive blocks [n] of samples, `length` in all. Raises `AudioError` where there are none."""
    if length < 1:
        raise AudioError("holds no samples to draw")
    columns = min(_COLUMNS, length)
    envelope, picture = _Envelope(columns, length), _Spectrogram(columns, length)
    player = _Player(rate, min(length, round(player_minutes * 60 * rate)))
    for block in _cut(blocks, length):
        envelope.add(block)
        picture.add(block)
        player.add(block)
    return AudioForReport(
        rate=rate,
        duration_s=length / rate,
        low=envelope.low,
        high=envelope.high,
        spectrogram=picture.png(),
        player=player.finish(),
        player_s=player.length / rate,
    )


def listening_copy(recording: Recording) -> bytes:
    """A short recording as MP3."""
    player = _Player(recording.rate, len(recording.samples))
    for block in _cut([recording.samples], len(recording.samples)):
        player.add(block)
    return player.finish()


def _cut(blocks: Iterable[Samples], length: int) -> Iterator[Samples]:
    """Blocks of at most `_BLOCK` finite samples, `length` in all at most."""
    left = length
    for block in blocks:
        for start in range(0, min(len(block), left), _BLOCK):
            part = block[start : min(start + _BLOCK, left)]
            yield np.nan_to_num(np.clip(part, -1, 1)).astype(np.float32, copy=False)
        left = max(0, left - len(block))


class _Envelope:
    """Lowest and highest sample of each of C equal columns."""

    def __init__(self, columns: int, length: int) -> None:
        self.low = np.zeros(columns, np.float32)
        self.high = np.zeros(columns, np.float32)
        self.edges = np.ceil(np.arange(columns + 1) * length / columns).astype(np.int64)
        self.heard = 0

    def add(self, block: Samples) -> None:
        first = int(np.searchsorted(self.edges, self.heard, side="right")) - 1
        last = int(np.searchsorted(self.edges, self.heard + len(block), side="left"))
        starts = np.maximum(self.edges[first:last] - self.heard, 0)
        self.low[first:last] = np.minimum(self.low[first:last], np.minimum.reduceat(block, starts))
        self.high[first:last] = np.maximum(self.high[first:last], np.maximum.reduceat(block, starts))
        self.heard += len(block)


class _Spectrogram:
    """Mean power in each of C equal columns, Hann windows of 32 ms."""

    def __init__(self, columns: int, length: int) -> None:
        self.columns, self.length = columns, length
        self.hop = max(1, min(_LONGEST_HOP, length // columns))  # so that each column holds a window's centre
        self.window = np.hanning(_N_FFT).astype(np.float32)
        self.power = np.zeros((columns, _N_FFT // 2 + 1), np.float64)
        self.counts = np.zeros(columns, np.int64)
        self.rest = np.zeros(_N_FFT // 2, np.float32)
        self.frames = 0

    def add(self, block: Samples) -> None:
        buffer = np.concatenate([self.rest, block])
        count = max(0, (len(buffer) - _N_FFT) // self.hop + 1)
        self.rest = buffer[count * self.hop :]
        if not count:
            return
        views = np.lib.stride_tricks.sliding_window_view(buffer, _N_FFT)[:: self.hop][:count]
        centres = (self.frames + np.arange(count)) * self.hop
        at = np.minimum(centres * self.columns // self.length, self.columns - 1)
        for start in range(0, count, 4096):  # bounded memory
            part = slice(start, start + 4096)
            spectra = np.fft.rfft(views[part] * self.window, axis=1)
            columns, starts, counts = np.unique(at[part], return_index=True, return_counts=True)  # `at` never falls
            self.power[columns] += np.add.reduceat(spectra.real**2 + spectra.imag**2, starts, axis=0)
            self.counts[columns] += counts
        self.frames += count

    def png(self) -> bytes:
        """Dark on white, the strongest 70 dB; a silent recording is white."""
        from PIL import Image

        self.add(np.zeros(_N_FFT // 2 + self.hop, np.float32))
        power = self.power / np.maximum(self.counts, 1)[:, None]
        peak = power.max()
        level = np.zeros_like(power)
        if peak > 1e-9:
            level = np.clip(1 + 10 * np.log10(power / peak + 1e-20) / _RANGE_DB, 0, 1)
        shades = np.round(255 * level.T[::-1][:-1]).astype(np.uint8)  # 256 rows, high frequencies on top
        image = Image.fromarray(shades, "L")
        image.putpalette(_shades())
        out = io.BytesIO()
        image.save(out, "PNG", optimize=True)
        return out.getvalue()


def _shades() -> list[int]:
    """256 colours from white through steel blue to near black: readable in print, and without colour vision."""
    stops = np.array([[255, 255, 255], [214, 224, 235], [118, 150, 184], [40, 70, 112], [8, 14, 30]])
    at = np.linspace(0, len(stops) - 1, 256)
    return [int(v) for v in np.stack([np.interp(at, np.arange(len(stops)), c) for c in stops.T], 1).round().ravel()]


class _Player:
    """An MP3 in memory: what every browser plays without a plug-in."""

    def __init__(self, rate: int, length: int) -> None:
        import av

        self.rate, self.length, self.heard = rate, length, 0
        self.out = io.BytesIO()
        self.container = av.open(self.out, "w", format="mp3") if length else None
        if self.container is not None:
            self.stream = self.container.add_stream("libmp3lame", rate=rate, layout="mono")
            self.stream.bit_rate = PLAYER_BITS_PER_S

    def add(self, block: Samples) -> None:
        import av

        part = block[: self.length - self.heard]
        if self.container is None or not len(part):
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part[None]), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = self.rate, self.heard
        for packet in self.stream.encode(frame):
            self.container.mux(packet)
        self.heard += len(part)

    def finish(self) -> bytes:
        if self.container is None:
            return b""
        for packet in self.stream.encode(None):
            self.container.mux(packet)
        self.container.close()
        return self.out.getvalue()
