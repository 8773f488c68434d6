"""What the recognisers hear in one recording: its stretches of speech, window by window, before anything is judged.

This is the slow part of the condensation. It depends on no threshold, so what was heard is kept and judged again at
will. A recording is read as a stream, twice: for its speech, then for its segments; memory holds one segment.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from earwitness.audio.reading import RATE, stream
from earwitness.audio.recording import Samples, Segment
from earwitness.audio.speech import SileroRule, SpeechRule, SpeechTracker
from earwitness.core.config import Config
from earwitness.core.hashing import sha256_data
from earwitness.speech_llm.cpqa.gender import Gender, GenderLabeller
from earwitness.speech_llm.cpqa.recognisers import (
    CategoricalRecogniser,
    DimensionalRecogniser,
    Floats,
    Rule,
    Waveforms,
    joined,
)
from earwitness.speech_llm.cpqa.windows import WindowConfig, label_windows

AT_ONCE = 8  # windows: what one layer gives the next then stays in the processor's cache
DIGITS = 6  # of probabilities and dimensions
MILLISECONDS = 3  # digits of times
_ROUNDING = 1e-9  # seconds; of binary fractions


class HearingConfig(Config):
    """What is cut out of a recording: speech by `speech` with pauses of under 0.8 s bridged; segments of at least
    `shortest_s` are heard, longer ones than `longest_s` cut into equal parts; `rule` joins several recognisers."""

    windows: WindowConfig = WindowConfig()
    speech: SpeechRule = SileroRule(shortest_pause_s=0.8)
    shortest_s: float = Field(4.0, ge=0)
    longest_s: float = Field(60.0, gt=0)
    rule: Rule = "mean"


@dataclass(frozen=True)
class Recognisers:
    """Who listens."""

    categorical: Sequence[CategoricalRecogniser]
    dimensional: DimensionalRecogniser
    gender: GenderLabeller

    @property
    def ids(self) -> tuple[str, ...]:
        """All of them."""
        return (*(one.id for one in self.categorical), self.dimensional.id, self.gender.id)


@dataclass(frozen=True)
class HeardSegment:
    """`probabilities` [M, W, 9] of each recogniser, `dimensions` [W, 3]; W is 0 where the segment is too short."""

    start: float
    end: float
    gender: Gender | None
    gender_conf: float | None
    probabilities: Floats
    dimensions: Floats

    def plain(self) -> dict[str, Any]:
        """For JSON; NaN becomes null."""
        numbers = [
            [None if math.isnan(value) else round(value, DIGITS) for value in row] for row in self.dimensions.tolist()
        ]
        return {
            "start": self.start,
            "end": self.end,
            "gender": self.gender,
            "gender_conf": None if self.gender_conf is None else round(self.gender_conf, DIGITS),
            "probabilities": np.round(self.probabilities, DIGITS).tolist(),
            "dimensions": numbers,
        }

    @classmethod
    def of(cls, plain: dict[str, Any]) -> HeardSegment:
        """Back from JSON."""
        arrays = {name: np.array(plain[name], np.float64) for name in ("probabilities", "dimensions")}
        return cls(**{**plain, **arrays})


@dataclass(frozen=True)
class Heard:
    """A recording's seconds and its segments in order."""

    seconds: float
    segments: tuple[HeardSegment, ...]


@dataclass(frozen=True)
class Place:
    """A stretch of a channel of a file."""

    path: Path
    channel: int | None = None
    start: float = 0.0
    end: float | None = None


def hear(place: Place, config: HearingConfig, who: Recognisers) -> Heard:
    """Everything that is heard in a recording. Raises `AudioError` where it cannot be read."""
    tracker = SpeechTracker(RATE, config.speech)
    count = 0
    for block in stream(place.path, RATE, place.channel, place.start, place.end, 10.0):
        tracker.push(block)
        count += len(block)
    segments = list(_pieces(tracker.finish(), config.longest_s))
    found = [
        _heard(segment, samples, place.start, config, who)
        for segment, samples in zip(segments, _samples(place, segments), strict=True)
    ]
    return Heard(count / RATE, tuple(found))


def hearing_key(place: Place, sha256: str, config: HearingConfig, who: Recognisers) -> str:
    """Names what is heard: the same audio, settings and recognisers give the same."""
    stretch = [place.channel, place.start, place.end]
    return sha256_data([sha256, stretch, config.model_dump(mode="json"), list(who.ids)])


def _pieces(segments: Sequence[Segment], longest_s: float) -> Iterator[Segment]:
    for segment in segments:
        count = max(1, math.ceil(segment.duration_s / longest_s - 1e-9))
        step = segment.duration_s / count
        for k in range(count):
            start, end = segment.start_s + k * step, segment.start_s + (k + 1) * step
            yield Segment(round(start, MILLISECONDS), round(end, MILLISECONDS))


def _samples(place: Place, segments: Sequence[Segment]) -> Iterator[Samples]:
    """The samples of segments that are in order and apart, out of a second stream."""
    blocks = stream(place.path, RATE, place.channel, place.start, place.end, 10.0)
    kept, kept_from = np.zeros(0, np.float32), 0
    for segment in segments:
        first, last = round(segment.start_s * RATE), round(segment.end_s * RATE)
        parts = [kept[max(0, first - kept_from) :]]
        while kept_from + len(kept) < last and (block := next(blocks, None)) is not None:
            kept_from, kept = kept_from + len(kept), block
            parts.append(kept[max(0, first - kept_from) :])
        yield np.concatenate(parts)[: last - first]
    blocks.close()


def _heard(
    segment: Segment, samples: Samples, offset_s: float, config: HearingConfig, who: Recognisers
) -> HeardSegment:
    start, end = round(segment.start_s + offset_s, MILLISECONDS), round(segment.end_s + offset_s, MILLISECONDS)
    windows = label_windows(start, end, config.windows) if end - start >= config.shortest_s - _ROUNDING else []
    if not windows:
        nothing = np.zeros((len(who.categorical), 0, 9))
        return HeardSegment(start, end, None, None, nothing, np.zeros((0, 3)))
    guess = who.gender.gender(samples)
    size = round(config.windows.length_s * RATE)
    waveforms = np.stack([_exactly(samples[round((one.start - start) * RATE) :][:size], size) for one in windows])
    batches = [_batch(waveforms[at : at + AT_ONCE], config.rule, who) for at in range(0, len(waveforms), AT_ONCE)]
    probabilities = np.concatenate([batch[0] for batch in batches], axis=1)
    dimensions = np.concatenate([batch[1] for batch in batches])
    return HeardSegment(start, end, guess.gender, guess.confidence, probabilities, dimensions)


def _batch(waveforms: Waveforms, rule: Rule, who: Recognisers) -> tuple[Floats, Floats]:
    members = np.stack([one.probabilities(waveforms) for one in who.categorical])
    return members, who.dimensional.dimensions(waveforms, joined(list(members), rule))


def _exactly(samples: Samples, size: int) -> Samples:
    """A window whose last sample fell to rounding."""
    return np.pad(samples, (0, size - len(samples))) if len(samples) < size else samples
