"""Which seconds a model hears at a time: explicit policies, named in every score.

    whole              one window: the entire recording
    first 4 s          the first 4 s; a shorter recording stays short
    tile 4.0375 s      the first 4.0375 s (64 600 samples at 16 kHz: ASVspoof), a shorter recording repeated to that
    sliding 4 s / 2 s  4 s every 2 s until everything is heard, the last window aligned to the end; a recording
                       shorter than a window is repeated to its length (`repeat: false`: it stays short)

`cut` works on samples in memory and `stream_windows` on a file of any length; both give the same windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from pydantic import Field, model_validator

from earwitness.audio.reading import RATE, AudioStream, probe, stream
from earwitness.audio.recording import Samples
from earwitness.core.config import Config
from earwitness.core.errors import AudioError

Span = tuple[int, int]  # [first, last) sample of real audio


@dataclass(frozen=True)
class Window:
    """Samples for a model, and the stretch of real audio that is in them (seconds in the file; repeats not counted)."""

    samples: Samples
    start_s: float
    end_s: float


class Whole(Config):
    """One window: the entire recording, in memory as a whole."""

    kind: Literal["whole"] = "whole"

    @property
    def name(self) -> str:
        """As written into scores."""
        return "whole"

    def spans(self, duration_samples: int, rate: int) -> list[Span]:
        """The stretches of real audio, one a window."""
        return [(0, duration_samples)]


class First(Config):
    """The first `length_s` seconds only; a shorter recording stays short."""

    kind: Literal["first"] = "first"
    length_s: float = Field(gt=0, allow_inf_nan=False)

    @property
    def name(self) -> str:
        """As written into scores."""
        return f"first {self.length_s:g} s"

    def spans(self, duration_samples: int, rate: int) -> list[Span]:
        """The stretches of real audio, one a window."""
        return [(0, min(duration_samples, _length(self.length_s, rate)))]


class Tile(Config):
    """The first `length_s` seconds, a shorter recording repeated to exactly that: the ASVspoof convention."""

    kind: Literal["tile"] = "tile"
    length_s: float = Field(default=4.0375, gt=0, allow_inf_nan=False)

    @property
    def name(self) -> str:
        """As written into scores."""
        return f"tile {self.length_s:g} s"

    def spans(self, duration_samples: int, rate: int) -> list[Span]:
        """The stretches of real audio, one a window."""
        return [(0, min(duration_samples, _length(self.length_s, rate)))]


class Sliding(Config):
    """`length_s` every `hop_s` until everything is heard; the last window ends with the recording.

    A recording shorter than a window is repeated to its length, or stays short where `repeat` is off.
    """

    kind: Literal["sliding"] = "sliding"
    length_s: float = Field(default=4.0, gt=0, allow_inf_nan=False)
    hop_s: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    repeat: bool = True

    @model_validator(mode="after")
    def _leaves_no_gap(self) -> Sliding:
        if self.hop_s > self.length_s:
            raise ValueError("hop_s must not exceed length_s, or seconds between windows go unheard")
        return self

    @property
    def name(self) -> str:
        """As written into scores."""
        return f"sliding {self.length_s:g} s / {self.hop_s:g} s{'' if self.repeat else ', not repeated'}"

    def spans(self, duration_samples: int, rate: int) -> list[Span]:
        """The stretches of real audio, one a window."""
        length, hop = _length(self.length_s, rate), _length(self.hop_s, rate)
        if duration_samples <= length:
            return [(0, duration_samples)]
        spans = [(start, start + length) for start in range(0, duration_samples - length + 1, hop)]
        if spans[-1][1] < duration_samples:
            spans.append((duration_samples - length, duration_samples))
        return spans


WindowPolicy = Annotated[Whole | First | Tile | Sliding, Field(discriminator="kind")]


def cut(samples: Samples, rate: int, policy: WindowPolicy) -> list[Window]:
    """The windows of a recording in memory. Raises `AudioError` where there are no samples."""
    if len(samples) == 0:
        raise AudioError("holds no sound (0 samples)")
    return [_window(samples[a:b], a, rate, policy, 0.0) for a, b in policy.spans(len(samples), rate)]


def stream_windows(
    path: str | Path,
    policy: WindowPolicy,
    rate: int = RATE,
    channel: int | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Iterator[Window]:
    """The windows of a file, read as they are needed: memory holds about a window (`Whole`: everything).

    Raises what `reading.load` raises; `First` and `Tile` read no further than they hear.
    """
    return windows_of(stream(path, rate, channel, start_s, end_s, block_s=10.0), policy, rate, start_s)


def windows_of(blocks: AudioStream, policy: WindowPolicy, rate: int, start_s: float = 0.0) -> Iterator[Window]:
    """The windows of an opened stream, whose `source()` then tells what was done; `start_s` is where it starts."""
    if isinstance(policy, Sliding):
        yield from _slide(blocks, policy, rate, start_s)
        return
    most = None if isinstance(policy, Whole) else _length(policy.length_s, rate)
    samples = _take(blocks, most)
    blocks.close()
    yield _window(samples, 0, rate, policy, start_s)


class Stretch(Protocol):
    """Anything with a start and an end in seconds."""

    @property
    def start_s(self) -> float:
        """Seconds."""
        ...

    @property
    def end_s(self) -> float:
        """Seconds."""
        ...


def heard_seconds(windows: Iterable[Stretch]) -> float:
    """Seconds of real audio in at least one window."""
    heard = 0.0
    until = -np.inf
    for start_s, end_s in sorted((window.start_s, window.end_s) for window in windows):
        heard += max(0.0, end_s - max(start_s, until))
        until = max(until, end_s)
    return heard


def total_seconds(path: str | Path, start_s: float = 0.0, end_s: float | None = None) -> float | None:
    """How long the asked stretch of a file is; None where only decoding it whole would tell."""
    duration_s = probe(path).duration_s
    ends = [end for end in (duration_s, end_s) if end is not None]
    return min(ends) - start_s if ends else None


def equal_groups(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    """Consecutive windows of equal length, at most `size` at once: what a network can run together."""
    for _, run in groupby(windows, key=lambda window: len(window.samples)):
        while group := list(islice(run, size)):
            yield group


def _length(seconds: float, rate: int) -> int:
    return max(1, round(seconds * rate))


def _window(samples: Samples, start: int, rate: int, policy: WindowPolicy, offset_s: float) -> Window:
    """One window; `start` is its first sample, `offset_s` where sample 0 lies in the file."""
    start_s, end_s = offset_s + start / rate, offset_s + (start + len(samples)) / rate
    if isinstance(policy, Tile) or (isinstance(policy, Sliding) and policy.repeat):
        samples = np.resize(samples, _length(policy.length_s, rate))  # repeats a shorter one
    return Window(samples, start_s, end_s)


def _take(blocks: Iterator[Samples], most: int | None) -> Samples:
    """The first `most` samples of a stream, or all."""
    kept: list[Samples] = []
    count = 0
    for block in blocks:
        kept.append(block)
        count += len(block)
        if most is not None and count >= most:
            break
    return np.concatenate(kept)[:most]


def _slide(blocks: Iterator[Samples], policy: Sliding, rate: int, offset_s: float) -> Iterator[Window]:
    """Sliding windows with only the samples in memory that a later window may need."""
    length, hop = _length(policy.length_s, rate), _length(policy.hop_s, rate)
    kept = np.zeros(0, np.float32)
    kept_from = 0  # which sample of the stream kept[0] is
    start = 0  # of the next window
    heard = 0
    for block in blocks:
        kept = np.concatenate([kept, block])
        end = kept_from + len(kept)
        while start + length <= end:
            yield _window(kept[start - kept_from :][:length], start, rate, policy, offset_s)
            heard = start + length
            start += hop
        keep_from = max(0, min(start, end - length))
        kept, kept_from = kept[keep_from - kept_from :].copy(), keep_from
    end = kept_from + len(kept)
    if heard < end:
        last = max(0, end - length)
        yield _window(kept[last - kept_from :], last, rate, policy, offset_s)
