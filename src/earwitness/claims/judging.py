"""What came out: each arm's EER with its interval and spread, and each expected difference with a plain verdict.

A seed's EER is over its own test rows; an arm's is the mean over seeds. The bootstrap draws speakers of human speech
and systems of synthesis, the same for all arms, so differences are paired. It does not draw training noise; for that
every seed's own difference is told.

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
import polars as pl
from numpy.typing import NDArray

from earwitness.claims.material import Material, Places
from earwitness.claims.plan import ArmRun, Expected, Figure, Plan
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.scores import Floats
from earwitness.metrics.trials import Trials

RESAMPLES = 1000
POWER = 2.8
Verdict = Literal["seen", "not seen", "undecided"]
Runs = Mapping[str, Sequence[ArmRun]]
"""Of each arm one run a seed."""


@dataclass(frozen=True)
class JudgedArm:
    """EER in per cent: mean over seeds with its interval, and each seed's. `figures` are means over seeds."""

    name: str
    words: str
    eer: float
    low: float
    high: float
    seeds: tuple[float, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class JudgedDifference:
    """EER of `worse` minus EER of `better`, in points, so that what the paper states is positive; `seeds`: of each."""

    expected: Expected
    difference: float
    low: float
    high: float
    smallest: float
    seeds: tuple[float, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Judgement:
    """All arms and differences of a claim, and what they were tested on and resampled over."""

    arms: tuple[JudgedArm, ...]
    differences: tuple[JudgedDifference, ...]
    bonafide: int
    spoof: int
    speakers: int
    systems: int


def judge(plan: Plan, runs: Runs, seeds: Sequence[int], material: Material, resamples: int = RESAMPLES) -> Judgement:
    """Judge what all arms scored with the same seeds. Raises `MetricError` where a seed's test holds one class."""
    tested = Tested.of(material, [material.sides(seed).test for seed in seeds])
    trials = {
        arm: [tested.trials(rows, run.scores) for rows, run in zip(tested.rows, found, strict=True)]
        for arm, found in runs.items()
    }
    drawn: list[list[float]] = []

    def statistic(counts: Floats) -> list[float]:
        means = {arm: float(np.mean(_eers(found, counts))) for arm, found in trials.items()}
        drawn.append([means[expected.worse] - means[expected.better] for expected in plan.expected])
        return [*means.values(), *drawn[-1]]

    intervals = bootstrap(statistic, tested.units, resamples)
    deviations = np.std(np.array(drawn[1:]), axis=0)  # the first is the data itself
    own = {arm: tuple(_eers(found, np.ones(tested.units.count))) for arm, found in trials.items()}
    words = {arm.name: arm.words for arm in plan.arms}
    arms = tuple(
        JudgedArm(arm, words[arm], found.value, found.low, found.high, own[arm], _means(runs[arm]))
        for arm, found in zip(trials, intervals, strict=False)
    )
    found = zip(plan.expected, intervals[len(arms) :], deviations, strict=True)
    differences = tuple(_difference(expected, interval, float(sd), own) for expected, interval, sd in found)
    return Judgement(arms, differences, *tested.counts, *tested.units.blocks)


@dataclass(frozen=True)
class Tested:
    """The test rows of each seed, and every row's class and unit (of all that are tested by any seed)."""

    rows: tuple[Places, ...]
    human: NDArray[np.bool_]
    units: Units

    @classmethod
    def of(cls, material: Material, rows: Sequence[Places]) -> Tested:
        """Units are speakers of human speech and systems of synthesis; a row without one is its own."""
        table, human = material.rows.table, material.labels == 1
        everything = np.unique(np.concatenate(rows))
        codes = np.full(len(human), -1)
        blocks: list[int] = []
        for chosen, name in ((human, "speaker"), (~human, "system")):
            places = everything[chosen[everything]]
            names = table[places].select(pl.coalesce(name, "id")).to_series().to_list()
            found = Units.of(names, name)
            codes[places] = found.codes + sum(blocks)
            blocks.extend(found.blocks)
        return cls(tuple(rows), human, Units("speaker x system", codes, tuple(blocks)))

    @property
    def counts(self) -> tuple[int, int]:
        """How many human and how many synthetic recordings were tested."""
        everything = np.unique(np.concatenate(self.rows))
        return int(self.human[everything].sum()), int((~self.human[everything]).sum())

    def trials(self, rows: Places, scores: Floats) -> Trials:
        """The scores [N] of one seed's rows."""
        human = self.human[rows]
        order = np.concatenate([rows[human], rows[~human]])
        return Trials(scores[human], scores[~human], self.units.take(order))


def _eers(trials: Sequence[Trials], counts: Floats) -> list[float]:
    """Each seed's, in per cent."""
    return [100 * one.resample(counts).eer() for one in trials]


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
