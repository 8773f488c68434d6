"""Where somebody speaks: by a named rule, over samples in memory or block by block.

Both rules give one number a frame; frames above a threshold that begin to speak, and go on above a lower one, make
segments. Short pauses are bridged, short bursts dropped, and what remains is padded.
"""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from earwitness.audio.recording import Samples, Segment
from earwitness.audio.silero import SILERO_RATE, SileroFrames
from earwitness.core.config import Config, parse_config

Numbers = NDArray[np.float32]


class FrameTracker(Protocol):
    """One number a frame of `frame_s` seconds, from samples that come in blocks."""

    frame_s: float

    def push(self, block: Samples) -> None:
        """The next samples."""

    def finish(self) -> Numbers:
        """The numbers of all frames [T]; a last part of a frame counts as one."""


class _Rule(Config):
    """What both rules share: which runs of frames become segments."""

    shortest_speech_s: float = Field(default=0.25, ge=0)
    shortest_pause_s: float = Field(default=0.1, ge=0)
    padding_s: float = Field(default=0.03, ge=0)


class SileroRule(_Rule):
    """The Silero network's speech probability, 32 ms a frame: speech starts at `threshold`, ends below `lower`."""

    kind: Literal["silero"] = "silero"
    threshold: float = Field(default=0.5, gt=0, lt=1)
    lower: float = Field(default=0.35, gt=0, lt=1)

    @property
    def name(self) -> str:
        """As written into results."""
        return f"silero-vad, threshold {self.threshold:g}"

    def build(self, rate: int) -> FrameTracker:
        """Raises `MissingPartError` where the package silero-vad is not installed."""
        return _Resampled(SileroFrames(), rate, SILERO_RATE) if rate != SILERO_RATE else SileroFrames()

    def speaks(self, numbers: Numbers) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Frames that start speech, and frames that carry it on."""
        return numbers >= self.threshold, numbers >= min(self.lower, self.threshold)


class EnergyRule(_Rule):
    """Frames of 10 ms near the loudest ones and above the quietest: no network, fit for quiet rooms only.

    A frame speaks where its level is within `below_peak_db` of the loudest 0.3 s, at least `above_floor_db` over the
    quietest tenth (but no closer than 10 dB to the loudest, for recordings without a pause), and above `quietest_db`.
    """

    kind: Literal["energy"] = "energy"
    below_peak_db: float = Field(default=35.0, gt=0)
    above_floor_db: float = Field(default=6.0, ge=0)
    quietest_db: float = -60.0

    @property
    def name(self) -> str:
        """As written into results."""
        return f"energy, {self.below_peak_db:g} dB below the loudest"

    def build(self, rate: int) -> FrameTracker:
        """A tracker of levels in dBFS."""
        return LevelFrames(rate)

    def speaks(self, numbers: Numbers) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Frames that speak; starting and carrying on are the same here."""
        if len(numbers) == 0:
            return numbers > 0, numbers > 0
        levels = np.convolve(numbers, np.ones(3) / 3, "same") if len(numbers) > 3 else numbers
        loud = np.partition(levels, -min(30, len(levels)))[-min(30, len(levels))]
        floor = np.quantile(levels, 0.1)
        threshold = max(self.quietest_db, loud - self.below_peak_db, min(floor + self.above_floor_db, loud - 10))
        speaking = levels >= threshold
        return speaking, speaking


SpeechRule = Annotated[SileroRule | EnergyRule, Field(discriminator="kind")]


def speech_rule(name: Literal["silero", "energy"]) -> SpeechRule:
    """A rule with its defaults, by its kind. Raises `RecipeError` for an unknown one."""
    rule: SpeechRule = parse_config(SpeechRule, {"kind": name})
    return rule


class SpeechTracker:
    """Speech segments of a recording that comes in blocks; memory grows by a number a frame (0.5 MB an hour)."""

    def __init__(self, rate: int, rule: SpeechRule | None = None) -> None:
        self.rule = rule or SileroRule()
        self._rate = rate
        self._frames = self.rule.build(rate)
        self._samples = 0

    def push(self, block: Samples) -> None:
        """The next samples, float32 [N] at the tracker's rate."""
        self._samples += len(block)
        self._frames.push(block)

    def finish(self) -> list[Segment]:
        """The segments in order, apart from each other and within the recording, seconds from its start."""
        numbers = self._frames.finish()
        starts, goes_on = self.rule.speaks(numbers)
        return _segments(starts, goes_on, self._frames.frame_s, self._samples / self._rate, self.rule)


def speech_segments(
    samples: Samples, rate: int, rule: SpeechRule | Literal["silero", "energy"] = "silero"
) -> list[Segment]:
    """Where somebody speaks, seconds. Raises `MissingPartError` where the rule's package is not installed."""
    tracker = SpeechTracker(rate, speech_rule(rule) if isinstance(rule, str) else rule)
    tracker.push(samples)
    return tracker.finish()


def trim_silence(samples: Samples, rate: int, rule: SpeechRule | Literal["silero", "energy"] = "silero") -> Samples:
    """The samples from the first to the last speech, pauses kept; as they are where there is no speech."""
    segments = speech_segments(samples, rate, rule)
    if not segments:
        return samples
    return samples[round(segments[0].start_s * rate) : round(segments[-1].end_s * rate)]


class LevelFrames:
    """Levels in dBFS (RMS, 10 ms frames; -120 for digital silence)."""

    def __init__(self, rate: int) -> None:
        self._size = max(1, round(rate * 0.01))
        self._rest = np.zeros(0, np.float32)
        self._powers: list[Numbers] = []
        self.frame_s = self._size / rate

    def push(self, block: Samples) -> None:
        """The next samples."""
        joined = np.concatenate([self._rest, block])
        whole = len(joined) // self._size * self._size
        self._rest = joined[whole:].copy()
        frames = joined[:whole].reshape(-1, self._size)
        self._powers.append(np.einsum("tn,tn->t", frames, frames) / self._size)

    def powers(self) -> Numbers:
        """Mean squares of all frames [T], a last part of a frame included."""
        rest = [np.array([np.mean(self._rest**2)], np.float32)] if len(self._rest) else []
        return np.concatenate([np.zeros(0, np.float32), *self._powers, *rest])

    def finish(self) -> Numbers:
        """Levels of all frames [T], dBFS."""
        return np.asarray(10 * np.log10(self.powers() + 1e-12), np.float32)


class _Resampled:
    """Hands blocks on at another rate."""

    def __init__(self, frames: FrameTracker, rate: int, target_rate: int) -> None:
        import soxr

        self._frames = frames
        self._resampler = soxr.ResampleStream(rate, target_rate, 1, dtype="float32", quality="HQ")
        self.frame_s = frames.frame_s

    def push(self, block: Samples) -> None:
        self._frames.push(self._resampler.resample_chunk(np.ascontiguousarray(block)))

    def finish(self) -> Numbers:
        self._frames.push(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        return self._frames.finish()


def _segments(
    starts: NDArray[np.bool_], goes_on: NDArray[np.bool_], frame_s: float, duration_s: float, rule: _Rule
) -> list[Segment]:
    """Runs of `goes_on` from their first `starts` on; bridged, weeded and padded, in seconds."""
    runs = []
    for first, last in _runs(goes_on):
        began = np.flatnonzero(starts[first:last])
        if len(began):
            runs.append((first + int(began[0]), last))
    bridged: list[tuple[int, int]] = []
    for first, last in runs:
        if bridged and (first - bridged[-1][1]) * frame_s < rule.shortest_pause_s:
            bridged[-1] = (bridged[-1][0], last)
        else:
            bridged.append((first, last))
    kept = [(a * frame_s, b * frame_s) for a, b in bridged if (b - a) * frame_s >= rule.shortest_speech_s]
    return _padded(kept, rule.padding_s, duration_s)


def _padded(kept: list[tuple[float, float]], padding_s: float, duration_s: float) -> list[Segment]:
    """Each stretch widened on both sides, at most to the middle of the pause beside it."""
    segments = []
    for i, (start_s, end_s) in enumerate(kept):
        before = (start_s - kept[i - 1][1]) / 2 if i else start_s
        after = (kept[i + 1][0] - end_s) / 2 if i + 1 < len(kept) else padding_s
        segments.append(Segment(start_s - min(padding_s, before), min(duration_s, end_s + min(padding_s, after))))
    return segments


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[first, last) of every run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
