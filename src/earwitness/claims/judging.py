"""What came out: each arm's error with its interval and spread, and each expected difference with a plain verdict.

A seed's error is over what that seed tests; an arm's is the mean over seeds. The bootstrap draws whole units (speakers,
systems), the same for all arms, so differences are paired. It does not draw training noise; for that every seed's own
difference is told.

A direction is **seen** where the whole interval of its difference lies on the stated side and at most one seed in five
goes the other way; **not seen** where it so lies on the other side; else **undecided**. The smallest effect that a run
could have shown is the one that it would have seen four times in five: 2.8 standard deviations of the resampled
difference (at a two-sided error of 5 %).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from earwitness.claims.plan import ArmRun, Expected, Figure, Plan, Tested
from earwitness.metrics.bootstrap import Interval, bootstrap
from earwitness.metrics.scores import Floats

RESAMPLES = 1000
POWER = 2.8
Verdict = Literal["seen", "not seen", "undecided"]
Runs = Mapping[str, Sequence[ArmRun]]
"""Of each arm one run a seed."""


@dataclass(frozen=True)
class JudgedArm:
    """Its error in per cent: mean over seeds with its interval, and each seed's. `figures` are means over seeds."""

    name: str
    words: str
    error: float
    low: float
    high: float
    seeds: tuple[float, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class JudgedDifference:
    """Error of `worse` minus error of `better`, in points, so that what is stated is positive; `seeds`: of each."""

    expected: Expected
    difference: float
    low: float
    high: float
    smallest: float
    seeds: tuple[float, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Judgement:
    """All arms and differences of a claim; `measure` and `tested` say what the error is and of what."""

    measure: str
    tested: str
    arms: tuple[JudgedArm, ...]
    differences: tuple[JudgedDifference, ...]


def judge(plan: Plan, runs: Runs, tested: Tested, resamples: int = RESAMPLES) -> Judgement:
    """Judge what all arms scored with the same seeds. Raises `MetricError` where a seed's test cannot be judged."""
    errors = {arm: [tested.error(place, run.scores) for place, run in enumerate(found)] for arm, found in runs.items()}
    drawn: list[list[float]] = []

    def statistic(counts: Floats) -> list[float]:
        means = {arm: float(np.mean([error(counts) for error in found])) for arm, found in errors.items()}
        drawn.append([means[expected.worse] - means[expected.better] for expected in plan.expected])
        return [*means.values(), *drawn[-1]]

    intervals = bootstrap(statistic, tested.units, resamples)
    deviations = np.std(np.array(drawn[1:]), axis=0)  # the first is the data itself
    everything = np.ones(tested.units.count)
    own = {arm: tuple(error(everything) for error in found) for arm, found in errors.items()}
    words = {arm.name: arm.words for arm in plan.arms}
    arms = tuple(
        JudgedArm(arm, words[arm], found.value, found.low, found.high, own[arm], _means(runs[arm]))
        for arm, found in zip(errors, intervals, strict=False)
    )
    found = zip(plan.expected, intervals[len(arms) :], deviations, strict=True)
    differences = tuple(_difference(expected, interval, float(sd), own) for expected, interval, sd in found)
    return Judgement(tested.measure, tested.words, arms, differences)


def _means(runs: Sequence[ArmRun]) -> tuple[Figure, ...]:
    names = dict.fromkeys(figure.name for run in runs for figure in run.figures)
    values = {name: [f.value for run in runs for f in run.figures if f.name == name] for name in names}
    return tuple(Figure(name, float(np.mean(found))) for name, found in values.items())


def _difference(
    expected: Expected, found: Interval, deviation: float, own: Mapping[str, tuple[float, ...]]
) -> JudgedDifference:
    seeds = tuple(worse - better for worse, better in zip(own[expected.worse], own[expected.better], strict=True))
    verdict = _verdict(found.low, found.high, seeds)
    return JudgedDifference(expected, found.value, found.low, found.high, POWER * deviation, seeds, verdict)


def _verdict(low: float, high: float, seeds: Sequence[float]) -> Verdict:
    if low > 0 and sum(difference < 0 for difference in seeds) <= len(seeds) / 5:
        return "seen"
    if high < 0 and sum(difference > 0 for difference in seeds) <= len(seeds) / 5:
        return "not seen"
    return "undecided"
