"""The explicit method: what a recogniser heard in the voice, with times, as a line of text before the question.

    Detected vocal emotion: 0.0-2.0 s neutral; 2.0-8.0 s angry; 8.0-10.0 s neutral.

arXiv 2508.07273 does not give its wording; this one is ours. Labels come from a recogniser, never from what is known of
a recording: nothing here takes a record, an item or a label of a data set.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from pydantic import Field, model_validator

from earwitness.audio.recording import Recording
from earwitness.core.config import Config
from earwitness.core.errors import DataError

UNKNOWN = "unknown"
MOST_SPANS = 12
PREFIX = "Detected vocal emotion:"
_TICKS = 10  # a second

Bin = Literal["low", "mid", "high", "unknown"]


@dataclass(frozen=True)
class Span:
    """A label from `start` to `end`, in seconds; None where the recogniser abstained."""

    start: float
    end: float
    label: str | None


@dataclass(frozen=True)
class Dimensions:
    """Arousal, valence and dominance of a clip, 0..1 each; NaN where a regressor abstained."""

    arousal: float
    valence: float
    dominance: float


@dataclass(frozen=True)
class Heard:
    """What recognisers say of a recording of `seconds`: emotions over time, and its dimensions where there are any."""

    seconds: float
    spans: tuple[Span, ...]
    dimensions: Dimensions | None = None


class Recogniser(Protocol):
    """Something that hears the manner of a recording. `name` says which, with its version: it goes into records."""

    @property
    def name(self) -> str: ...

    def hear(self, recording: Recording) -> Heard:
        """Spans in any order; what they leave out counts as unknown."""
        ...


class MetadataConfig(Config):
    """At most `spans`; with `dimensions` arousal, valence and dominance are added, as low, mid or high: `low` and
    `high` are where mid begins and ends (raw regressors have a compressed range)."""

    spans: int = Field(MOST_SPANS, ge=1)
    dimensions: bool = False
    low: float = Field(0.40, ge=0, le=1)
    high: float = Field(0.60, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> MetadataConfig:
        if self.low > self.high:
            raise ValueError("`low` lies above `high`")
        return self


def metadata_text(heard: Heard, config: MetadataConfig = MetadataConfig()) -> str:
    """The line of a recording; the same for the same input. Raises `DataError` for times that are none."""
    spans = tiled(heard.spans, heard.seconds, config.spans)
    told = "; ".join(f"{span.start:.1f}-{span.end:.1f} s {span.label or UNKNOWN}" for span in spans)
    line = f"{PREFIX} {told}."
    if not config.dimensions:
        return line
    known = heard.dimensions or Dimensions(math.nan, math.nan, math.nan)
    bins = {name: bin_of(getattr(known, name), config) for name in ("arousal", "valence", "dominance")}
    return f"{line} Detected {', '.join(f'{name} {found}' for name, found in bins.items())}."


def bin_of(value: float, config: MetadataConfig = MetadataConfig()) -> Bin:
    """low < `low` <= mid <= `high` < high; unknown where the value is not finite."""
    if not math.isfinite(value):
        return "unknown"
    return "low" if value < config.low else "mid" if value <= config.high else "high"


def tiled(spans: Sequence[Span], seconds: float, most: int = MOST_SPANS) -> tuple[Span, ...]:
    """Spans in tenths of a second that cover 0 to `seconds` without gap or overlap, at most `most`.

    Gaps are unknown; where spans overlap the later one counts; equal neighbours are merged. While there are too many
    the shortest (the first of them) falls to its longer neighbour. Raises `DataError`.
    """
    ticks = _tick(seconds)
    if ticks < 1:
        raise DataError(f"{seconds} s hold no span", fix="Give a recording of 0.1 s or more.")
    labels: list[str | None] = [None] * ticks
    for span in sorted(spans, key=lambda one: one.start):
        if span.end < span.start:
            raise DataError(f"a span from {span.start} to {span.end} s ends before it starts")
        for place in range(max(0, _tick(span.start)), min(ticks, _tick(span.end))):
            labels[place] = None if span.label is None else _word(span.label)
    found = _merged([Span(place / _TICKS, (place + 1) / _TICKS, label) for place, label in enumerate(labels)])
    while len(found) > most:
        found = _merged(_without_shortest(found))
    return tuple(found)


def _tick(seconds: float) -> int:
    if not math.isfinite(seconds):
        raise DataError(f"{seconds} is no time")
    return math.floor(seconds * _TICKS + 0.5)


def _word(label: str) -> str:
    """A label as it may stand in the line: what would end a span, or begin another line, is taken out."""
    return re.sub(r"[^\w\- ]+", " ", label).strip()[:40] or UNKNOWN


def _merged(spans: Sequence[Span]) -> list[Span]:
    found: list[Span] = []
    for span in spans:
        if found and found[-1].label == span.label:
            found[-1] = replace(found[-1], end=span.end)
        else:
            found.append(span)
    return found


def _without_shortest(spans: Sequence[Span]) -> list[Span]:
    """One span less: the shortest one's time goes to the longer of its neighbours, at a tie to the earlier."""
    length = [round((span.end - span.start) * _TICKS) for span in spans]
    place = length.index(min(length))
    neighbours = [near for near in (place - 1, place + 1) if 0 <= near < len(spans)]
    heir = max(neighbours, key=lambda near: (length[near], -near))
    grown = replace(
        spans[heir], start=min(spans[heir].start, spans[place].start), end=max(spans[heir].end, spans[place].end)
    )
    return [grown if number == heir else span for number, span in enumerate(spans) if number != place]
