"""What a taught model answered, question type by question type: direct beside contextual, always.

Teaching contextual questions has cost direct ones in the published figures, so a single number over both would hide
what was paid: this report has none without the two beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.speech_llm.items import CONTEXTUAL, DIRECT, QUESTION_TYPES, QuestionType
from earwitness.speech_llm.training.prompt_reader import LeakCheck

GROUPS: tuple[tuple[str, tuple[QuestionType, ...]], ...] = (
    ("content", ("C",)),
    ("direct", DIRECT),
    ("contextual", CONTEXTUAL),
)


@dataclass(frozen=True)
class Marked:
    """One answered question: whether its answer names the right label."""

    clip: str
    type: QuestionType
    right: bool


@dataclass(frozen=True)
class Share:
    """The share that is right, of `asked` questions; without an interval where there are fewer than two clips, without
    a value where nothing was asked."""

    name: str
    asked: int
    value: float | None
    interval: Interval | None

    @property
    def told(self) -> str:
        """A row of the table."""
        if self.value is None:
            return f"{self.name:<12} none asked"
        limits = "" if self.interval is None else f"   [{self.interval.low:.1%}, {self.interval.high:.1%}]"
        return f"{self.name:<12} {self.value:7.1%}{limits}   {self.asked} questions"


@dataclass(frozen=True)
class TaughtReport:
    """`groups`: content, direct and contextual, each there even where nothing was asked; `types`: those asked;
    `leaks`: one check for each set into whose prompts metadata was put."""

    groups: tuple[Share, ...]
    types: tuple[Share, ...]
    leaks: tuple[LeakCheck, ...] = ()

    def lines(self) -> Iterator[str]:
        """The whole report as text."""
        yield "right, with 95 % intervals over clips"
        for share in (*self.groups, *self.types):
            yield share.told
        for leak in self.leaks:
            yield leak.told


def taught_report(marked: Sequence[Marked], leaks: Sequence[LeakCheck] = (), resamples: int = 1000) -> TaughtReport:
    """The report of some answers."""
    groups = tuple(_share(name, [one for one in marked if one.type in types], resamples) for name, types in GROUPS)
    asked = [name for name in QUESTION_TYPES if any(one.type == name for one in marked)]
    types = tuple(_share(f"  {name}", [one for one in marked if one.type == name], resamples) for name in asked)
    return TaughtReport(groups, types, tuple(leaks))


def _share(name: str, marked: Sequence[Marked], resamples: int) -> Share:
    if not marked:
        return Share(name, 0, None, None)
    right = np.array([one.right for one in marked], np.float64)
    units = Units.of([one.clip for one in marked], "clip")
    if units.count < 2:
        return Share(name, len(marked), float(right.mean()), None)

    def share(counts: np.ndarray) -> list[float]:
        weights = units.weights(counts)
        return [float((weights * right).sum() / weights.sum())]

    return Share(name, len(marked), float(right.mean()), bootstrap(share, units, resamples)[0])
