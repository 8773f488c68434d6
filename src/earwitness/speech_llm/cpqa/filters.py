"""Which windows and segments are trusted (section 2.6 of the sheet on CPQA, arXiv 2505.13338).

A window is kept where the sentiment of its class and its valence agree; a segment where one class occurs often enough
among its kept windows; and every class is capped. The paper's inequalities, its rule of occurrence and its way of
balancing were not found: they are a reconstruction. Every reason of a drop has a name.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Literal

from pydantic import Field, model_validator

from earwitness.core.config import Config
from earwitness.speech_llm.cpqa.classes import LABELLED, SENTIMENTS, Emotion

WindowDrop = Literal["no sentiment", "no valence", "inconsistent", "silent"]
SegmentDrop = Literal["short", "inconsistent", "rare", "tie", "capped"]


class Thresholds(Config):
    """Valence on a scale of about 0 to 1: positives need at least `upper` (the paper's x), negatives at most `lower`
    (its y), neutral lies between; the limits themselves are kept."""

    upper: float = Field(0.5, allow_inf_nan=False)
    lower: float = Field(0.4, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Thresholds:
        if self.lower > self.upper:
            raise ValueError("lower must not exceed upper, or nothing neutral could be kept")
        return self


class Occurrence(Config):
    """A segment is called by a class that `count` kept windows have, and at least this `share` of them."""

    count: int = Field(2, ge=1)
    share: float = Field(0.5, ge=0, le=1)


class Cap(Config):
    """At most `times` the median count of the classes (of those that occur); None: no cap. Equal confidences are put in
    an order that `seed` draws."""

    times: float | None = Field(2.0, gt=0)
    seed: int = 42


def drop_of_window(emotion: Emotion, valence: float | None, thresholds: Thresholds) -> WindowDrop | None:
    """Why a window is dropped; None where it is kept. Valence of None or NaN: not known."""
    sentiment = SENTIMENTS.get(emotion)
    if sentiment is None:
        return "no sentiment"
    if sentiment == "ambiguous":
        return None
    if valence is None or math.isnan(valence):
        return "no valence"
    agrees = {
        "positive": valence >= thresholds.upper,
        "negative": valence <= thresholds.lower,
        "neutral": thresholds.lower <= valence <= thresholds.upper,
    }[sentiment]
    return None if agrees else "inconsistent"


def label_of_segment(kept: Iterable[Emotion], rule: Occurrence) -> tuple[Emotion | None, SegmentDrop | None]:
    """The class of a segment by those of its kept windows, or why it has none: a tie is dropped."""
    counts = Counter(kept)
    if not counts:
        return None, "inconsistent"
    (emotion, most), *rest = counts.most_common()
    if rest and rest[0][1] == most:
        return None, "tie"
    if most < rule.count or most / counts.total() < rule.share:
        return None, "rare"
    return emotion, None


def capped(labelled: Mapping[str, tuple[Emotion, float]], cap: Cap) -> set[str]:
    """Of segments by id, each with class and confidence, those that are too many: of each class the surest stay."""
    if cap.times is None or not labelled:
        return set()
    classes: dict[Emotion, list[str]] = {}
    for name, (emotion, _) in labelled.items():
        classes.setdefault(emotion, []).append(name)
    most = max(1, math.floor(cap.times * median(len(names) for names in classes.values())))

    def order(name: str) -> tuple[float, str]:
        return -labelled[name][1], hashlib.sha256(f"{cap.seed}\0{name}".encode()).hexdigest()

    return {name for names in classes.values() for name in sorted(names, key=order)[most:]}


def normalised_entropy(counts: Mapping[Emotion, int], classes: Sequence[Emotion] = LABELLED) -> float:
    """-sum p log p / log |C| over `classes`: 1 where all are equally frequent, 0 where one is alone or nothing is."""
    total = sum(counts.get(name, 0) for name in classes)
    if not total or len(classes) < 2:
        return 0.0
    shares = [counts[name] / total for name in classes if counts.get(name, 0)]
    return sum(share * math.log(1 / share) for share in shares) / math.log(len(classes))
