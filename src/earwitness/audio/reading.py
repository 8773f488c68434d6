"""A file becomes a recording: decoded, one channel or a downmix, resampled. `load` and `stream` are one code path.

The samples keep the level that the file gives them: float audio above full scale is neither clipped nor scaled, and the
recording's steps say "peaks above full scale".
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.decoder import HIGHEST_RATE, LOWEST_RATE, AudioInfo, Decoder, Frames, full_scale_floats
from earwitness.audio.decoding import open_decoder
from earwitness.audio.noting import take_notes
from earwitness.audio.recording import Recording, Samples, Source
from earwitness.core.errors import AudioError, UsageError
from earwitness.core.hashing import sha256_file, sha256_samples

RATE = 16_000  # Hz, what models hear unless they say otherwise
_ROUNDED_S = 0.1  # manifests round: an end this far beyond the file's is taken for it
_MOST_CHANNELS = 64  # more columns than this in an array are samples in the wrong place


def probe(path: str | Path) -> AudioInfo:
    """What a file says of itself, without decoding it whole. Raises `AudioError`."""
    decoder = open_decoder(path)
    decoder.close()
    return decoder.info


def load(
    path: str | Path, rate: int = RATE, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
) -> Recording:
    """A file, or the stretch [start_s, end_s) of it, as mono samples [N] at `rate` Hz.

    `channel` is 0-based; None averages all channels. Raises `AudioError` for whatever cannot be read or judged
    (missing, not audio, cut short, no samples, NaN or infinite samples, no such channel or stretch) and `UsageError`
    for an impossible rate. One sample and all zeros load: what to make of them is the caller's to say.
    """
    blocks = stream(path, rate, channel, start_s, end_s)
    samples = np.concatenate(list(blocks))
    return Recording(samples, rate, blocks.source())


def stream(
    path: str | Path,
    rate: int = RATE,
    channel: int | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    block_s: float = 30.0,
) -> AudioStream:
    """The samples of `load` as consecutive blocks of `block_s` seconds (the last is shorter), in bounded memory.

    Opens the file at once, so that a bad path is told here; other errors of `load` come where they are met.
    """
    return AudioStream(path, rate, channel, start_s, end_s, block_s)


class AudioStream(Iterator[Samples]):
    """An iterator of mono float32 blocks; `info` is what the file says of itself, `source()` what was done to it."""

    def __init__(
        self, path: str | Path, rate: int, channel: int | None, start_s: float, end_s: float | None, block_s: float
    ) -> None:
        check_rate(rate)
        self._rate = rate
        self._stretch = _Stretch(path, channel, start_s, end_s)
        self.info = self._stretch.info
        self._blocks = _run(self._stretch, rate, max(1, round(block_s * rate)))

    def __next__(self) -> Samples:
        return next(self._blocks)

    def close(self) -> None:
        """Give the file back before the end."""
        self._blocks.close()
        self._stretch.close()

    def source(self) -> Source:
        """Where the samples came from. The steps are complete once the stream has ended; hashes the file."""
        info, stretch = self.info, self._stretch
        return Source(
            path=info.path,
            sha256=sha256_file(info.path),
            channel=stretch.channel,
            start_s=stretch.start_s,
            end_s=stretch.end_s,
            native_rate=info.rate,
            native_channels=info.channels,
            container=info.container,
            codec=info.codec,
            steps=(*stretch.notes, *_steps(info.channels, stretch.channel, info.rate, self._rate, stretch.peak)),
        )


class _Stretch:
    """A stretch of one channel (or the downmix) of a file at its native rate, checked as it is read."""

    def __init__(self, path: str | Path, channel: int | None, start_s: float, end_s: float | None) -> None:
        if not (0 <= start_s < np.inf) or (end_s is not None and not start_s < end_s < np.inf):
            raise AudioError(f"has no stretch from {start_s} s to {end_s} s", where=path, fix="Give 0 <= start < end.")
        self.channel = channel
        self.start_s, self.end_s = float(start_s), None if end_s is None else float(end_s)
        self.peak = 0.0
        self._decoder: Decoder = open_decoder(path)
        self.info = self._decoder.info
        self.notes = self._decoder.notes
        self.close = self._decoder.close
        if channel is not None and not 0 <= channel < self.info.channels:
            self.close()
            count = self.info.channels
            raise AudioError(f"has no channel {channel}", where=path, fix=f"Its {count} are counted from 0.")

    def mono(self) -> Iterator[Samples]:
        """Blocks of float32 samples [N]."""
        frame = round(self.start_s * self.info.rate)
        for block in self._frames():
            samples = _downmix(block) if self.channel is None else block[:, self.channel]
            finite = np.isfinite(samples)
            if not finite.all():
                bad_s = (frame + int(np.argmin(finite))) / self.info.rate
                what = f"has samples that are not finite (NaN or infinity), first at {bad_s:.3f} s"
                raise AudioError(what, where=self.info.path)
            self.peak = max(self.peak, float(np.abs(samples).max()))
            frame += len(samples)
            yield np.ascontiguousarray(samples)

    def _frames(self) -> Iterator[Frames]:
        """The native frames in [start_s, end_s)."""
        rate = self.info.rate
        start = round(self.start_s * rate)
        end = None if self.end_s is None else max(start + 1, round(self.end_s * rate))
        at = self._decoder.seek(start) if start else 0
        for block in self._decoder.blocks():
            wanted = block[max(0, start - at) : None if end is None else max(0, end - at)]
            at += len(block)
            if len(wanted):
                yield wanted
            if end is not None and at >= end:
                return
        self._check_reached(at / rate, at > start)

    def _check_reached(self, duration_s: float, reached: bool) -> None:
        """The file has ended: was the asked stretch in it?"""
        path = self.info.path
        if duration_s == 0:
            raise AudioError("holds no sound (0 samples)", where=path)
        if not reached:
            raise AudioError(f"ends at {duration_s:.2f} s, before the asked start at {self.start_s:g} s", where=path)
        if self.end_s is not None and self.end_s - duration_s > _ROUNDED_S:
            raise AudioError(f"ends at {duration_s:.2f} s, before the asked end at {self.end_s:g} s", where=path)


def _run(stretch: _Stretch, rate: int, size: int) -> Generator[Samples]:
    """The one path from file to samples; the file is given back when it ends or is dropped."""
    try:
        yield from _regroup(_resample(stretch.mono(), stretch.info.rate, rate), size)
        take_notes(stretch.notes)
    finally:
        stretch.close()


def from_samples(
    samples: NDArray[Any] | Sequence[float], rate: int, target_rate: int = RATE, name: str | None = None
) -> Recording:
    """As `unhashed`, and `source.sha256` is that of the samples as given, in float32. Raises as it does."""
    recording = unhashed(samples, rate, target_rate, name)
    sha256 = sha256_samples(np.ascontiguousarray(_as_floats(samples, name)))
    return replace(recording, source=replace(recording.source, sha256=sha256))


def unhashed(
    samples: NDArray[Any] | Sequence[float], rate: int, target_rate: int = RATE, name: str | None = None
) -> Recording:
    """Samples in memory as a recording: [N], or [N, channels], which is averaged.

    Integers of 8, 16 or 32 bits are divided by their full scale. Raises `AudioError` for no samples, NaN or infinity,
    another shape or type (64-bit integers have no agreed full scale), and `UsageError` for an impossible rate.
    """
    check_rate(rate)
    check_rate(target_rate)
    floats = _as_floats(samples, name)
    channels = 1 if floats.ndim == 1 else floats.shape[1]
    mono = floats if floats.ndim == 1 else _downmix(floats)
    result = np.concatenate(list(_resample(iter([np.ascontiguousarray(mono)]), rate, target_rate)))
    steps = _steps(channels, None, rate, target_rate, float(np.abs(mono).max()))
    source = Source(path=name, native_rate=rate, native_channels=channels, steps=tuple(steps))
    return Recording(result, target_rate, source)


def check_rate(rate: int) -> None:
    """Raises `UsageError` for a sample rate outside of what recordings have."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE or int(rate) != rate:
        raise UsageError(
            f"{rate} Hz is not a sample rate", fix=f"Give a whole number, {LOWEST_RATE} to {HIGHEST_RATE}."
        )


def _as_floats(samples: NDArray[Any] | Sequence[float], name: str | None) -> NDArray[np.float32]:
    """Checked float32 samples, [N] or [N, channels]."""
    try:
        values = np.asarray(samples)
    except (ValueError, TypeError):
        raise AudioError("the samples are not an array of numbers", where=name) from None
    if values.size == 0:
        raise AudioError("holds no sound (0 samples)", where=name)
    if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] > _MOST_CHANNELS):
        raise AudioError(f"samples of shape {values.shape}", where=name, fix="Give [N] or [N, channels].")
    if values.dtype.kind not in "fiu" or (values.dtype.kind in "iu" and values.dtype.itemsize > 4):
        raise AudioError(
            f"samples of type {values.dtype}", where=name, fix="Give floats in [-1, 1], or integers of 8 to 32 bits."
        )
    with np.errstate(over="ignore"):
        floats = full_scale_floats(values)
    if not np.isfinite(floats).all():
        raise AudioError("has samples that are not finite (NaN or infinity)", where=name)
    return floats


def _downmix(frames: Frames) -> Samples:
    """The mean of the channels, [N, channels] to [N]; as a product, for numpy's mean over short rows is slow."""
    channels = frames.shape[1]
    return frames[:, 0] if channels == 1 else frames @ np.full(channels, 1 / channels, np.float32)


def _steps(channels: int, channel: int | None, rate: int, target_rate: int, peak: float) -> list[str]:
    """What was done between the file and the samples, in words."""
    steps = []
    if channels > 1:
        steps.append(f"downmix of {channels} channels" if channel is None else f"channel {channel + 1} of {channels}")
    if rate != target_rate:
        steps.append(f"resampled {rate} -> {target_rate} Hz (soxr HQ)")
    if peak > 1:
        steps.append(f"peaks above full scale: {peak:.2f}")
    return steps


def _resample(blocks: Iterator[Samples], rate: int, target_rate: int) -> Iterator[Samples]:
    """soxr over a stream: the same samples however the blocks are cut. At least one comes out where one went in."""
    if rate == target_rate:
        yield from blocks
        return
    import soxr

    resampler = soxr.ResampleStream(rate, target_rate, 1, dtype="float32", quality="HQ")
    first: Samples | None = None
    given = 0
    for block in blocks:
        first = block[:1] if first is None else first
        out = resampler.resample_chunk(block)
        given += len(out)
        if len(out):
            yield out
    rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
    if len(rest):
        yield rest
    elif not given and first is not None:
        yield first  # too short for one sample at the target rate


def _regroup(blocks: Iterator[Samples], size: int) -> Iterator[Samples]:
    """Blocks of any length as blocks of `size` samples and a shorter last one."""
    kept: list[Samples] = []
    count = 0
    for block in blocks:
        kept.append(block)
        count += len(block)
        if count >= size:
            joined = np.concatenate(kept)
            whole = count // size * size
            yield from np.split(joined[:whole], whole // size)
            kept, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(kept)
