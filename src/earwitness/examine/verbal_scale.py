"""The verbal scale of the ENFSI Guideline for Evaluative Reporting in Forensic Science (2015), for likelihood ratios.

A ratio is read in the direction that it favours: below 1 it is the inverse ratio in favour of the other explanation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ENFSI = "verbal scale of the ENFSI guideline, 2015"


@dataclass(frozen=True)
class Step:
    """Likelihood ratios from `low` up to `high` (not included) and their words."""

    low: float
    high: float
    words: str


ENFSI_STEPS = (
    Step(1, 2, "no support either way"),
    Step(2, 10, "weak support"),
    Step(10, 100, "moderate support"),
    Step(100, 1_000, "moderately strong support"),
    Step(1_000, 10_000, "strong support"),
    Step(10_000, 1_000_000, "very strong support"),
    Step(1_000_000, math.inf, "extremely strong support"),
)


def enfsi_words(llr: float) -> str:
    """The step in which a natural-log likelihood ratio lies, whichever side it favours."""
    size = abs(llr)
    return next(step.words for step in reversed(ENFSI_STEPS) if size >= math.log(step.low))
