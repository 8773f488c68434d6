"""What `examine` asks: each question is one file of this room that answers about one channel of a recording."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from earwitness.audio.facts import SignalFacts
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.finding import Finding


@dataclass(frozen=True)
class Channel:
    """One channel of a file, with what was measured of it. `number` counts from 0; None: mono, or all mixed down."""

    path: Path
    number: int | None
    facts: SignalFacts


class Question(Protocol):
    """Something that can be asked of a recording."""

    def answer(self, channel: Channel, enrolment: Enrolment | None) -> Iterable[Finding]:
        """The findings, "no answer" among them; none where the question does not arise.

        `enrolment` is the claimed speaker, where references were given.
        """
        ...
