"""Differences on the same items: with the audio and without it, and one model against another.

    audio gain(t) = S_t(real) - max(S_t(silence), S_t(shuffle), S_t(text-only))
    beyond-transcript gain(t) = S_t(real) - S_t(transcript)

Only items count that have a score on both sides (on all sides). The largest of several controls is too high by chance,
so a gain errs on the side of no gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from earwitness.core.errors import DataError
from earwitness.metrics.resampled import Resampling, p_value
from earwitness.metrics.scores import Floats
from earwitness.metrics.testing import holm
from earwitness.speech_llm.bench.figures import Figure, by_type, scarcest, uas_drawn
from earwitness.speech_llm.bench.scores import Run, mean_there
from earwitness.speech_llm.bench.settings import DEAF, Condition
from earwitness.speech_llm.items import QUESTION_TYPES, Item, QuestionType


@dataclass(frozen=True)
class TypeDifference:
    """Of one type, over `items` paired questions; `p` is two-sided by resampling, `p_holm` corrected over types."""

    type: QuestionType
    items: int
    difference: Figure
    p: float
    p_holm: float


@dataclass(frozen=True)
class Difference:
    """A difference by type and of UAS_all, on 0..100. `against` names the other side."""

    against: str
    items: int
    types: tuple[TypeDifference, ...]
    uas: Figure
    p: float


def audio_gain(run: Run, resampling: Resampling) -> Difference | None:
    """What the audio adds to the best of the controls in which the clip is not heard; None without such a control."""
    controls = tuple(name for name in DEAF if name in run.conditions)
    if not controls:
        return None
    return _gain(run, controls, resampling)


def beyond_transcript(run: Run, resampling: Resampling) -> Difference | None:
    """What the audio adds to the words that were said; None without that control."""
    return _gain(run, ("transcript",), resampling) if "transcript" in run.conditions else None


def model_difference(run: Run, other: Run, name: str, resampling: Resampling) -> Difference:
    """The run minus another one with the same questions. Raises `DataError` where they share none."""
    places = {item.id: place for place, item in enumerate(other.items)}
    scores = np.full(len(run.items), np.nan)
    for number, item in enumerate(run.items):
        place = places.get(item.id)
        if place is not None and other.items[place] == item:
            scores[number] = other.real.means[place]
    if not (np.isfinite(scores) & np.isfinite(run.real.means)).any():
        raise DataError("no question has a score in both runs", where=name, fix="Compare runs over the same items.")
    return _difference(name, [run.real.means, scores], run.items, resampling)


def _gain(run: Run, controls: tuple[Condition, ...], resampling: Resampling) -> Difference | None:
    sides = [run.real.means, *(run.conditions[name].means for name in controls)]
    if not np.isfinite(np.stack(sides)).all(axis=0).any():
        return None  # nothing was judged on all sides
    return _difference(", ".join(controls), sides, run.items, resampling)


def _difference(name: str, sides: Sequence[Floats], items: Sequence[Item], resampling: Resampling) -> Difference:
    """The first side minus the largest of the others, on items that all of them have."""
    paired = np.isfinite(np.stack(sides)).all(axis=0)
    columns = [by_type(np.where(paired, side, np.nan), items) for side in sides]
    values = np.stack([mean_there(column.T) for column in columns])  # [sides, T]
    drawn = np.stack([resampling.means(column) for column in columns])  # [sides, B, T]
    there = np.isfinite(values[0])
    apart, apart_drawn = values[0] - values[1:].max(axis=0), drawn[0] - drawn[1:].max(axis=0)
    whole = [uas_drawn(side, there) for side in drawn]
    uas = float(values[0][there].mean() - values[1:, there].mean(axis=1).max())
    uas_apart = whole[0] - np.stack(whole[1:]).max(axis=0)
    kinds = [(place, kind) for place, kind in enumerate(QUESTION_TYPES) if there[place]]
    p_values = [p_value(apart_drawn[:, place]) for place, _ in kinds]
    counts = np.isfinite(columns[0]).sum(axis=0)
    types = []
    for (place, kind), p, corrected in zip(kinds, p_values, holm(p_values).tolist(), strict=True):
        figure = _figure(apart[place], apart_drawn[:, place], columns[0][:, [place]], resampling)
        types.append(TypeDifference(kind, int(counts[place]), figure, p, corrected))
    whole_figure = _figure(uas, uas_apart, columns[0][:, there], resampling)
    return Difference(name, int(paired.sum()), tuple(types), whole_figure, p_value(uas_apart))


def _figure(value: float, drawn: Floats, columns: Floats, resampling: Resampling) -> Figure:
    """With the interval of what the types in `columns` [N, T] carry."""
    units = scarcest(columns, resampling)
    return Figure.of(float(value), resampling.interval(float(value), drawn, units))
