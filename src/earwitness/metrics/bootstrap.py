"""Intervals by resampling whole units: trials of one speaker, or of one system, are not independent.

A resample is a count for each unit: how often it was drawn. A statistic is any function of those counts, so that
nothing is copied or sorted again; `Trials` in `earwitness.metrics.trials` gives the two-class statistics in that form.

Intervals are percentiles of the resamples, corrected for bias (Efron 1981) and widened for few units (Hesterberg 2015,
arXiv 1411.5279). Plain percentiles were measured to hold the truth too seldom. Of 1000 sets with effects of the unit,
so many percent of the nominal 95 held it (AUC / EER), by units a class:

    units   plain percentile   corrected and widened
      10      88.3 / 89.2          93.9 / 93.8
      20      90.5 / 92.1          93.5 / 94.3
      40      92.2 / 94.7          94.6 / 94.7

Minimum costs and minCllr choose their threshold on the very trials they are measured on. On small sets they are too
low as values, which no interval by resampling can repair: there the interval speaks of sets of this size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats

FEW_UNITS = 10  # below, intervals by resampling are known to be too narrow
_REDRAWS = 100
_BUCKET = 1 << 15  # units that are drawn together; their places fit 16 bits
_MOST_BIAS = 1.0  # standard deviations; a larger correction would leave out the value itself

Codes = NDArray[np.int64]
Statistic = Callable[[Floats], Sequence[float]]  # counts [U] -> values [M]


@dataclass(frozen=True)
class Units:
    """What is resampled together: row i belongs to unit `codes[i]`, and to `second[i]` too where trials join two units.

    `blocks` are the numbers of units that are drawn with replacement independently of each other (speakers, systems).
    `codes` and `second` are int64 [N]; a `second` of -1 means none. Counts are float64 [U], U the sum of the blocks.
    """

    name: str
    codes: Codes
    blocks: tuple[int, ...]
    second: Codes | None = None

    @classmethod
    def of(cls, ids: Sequence[object] | NDArray[np.generic], name: str) -> Units:
        """One unit a distinct id."""
        distinct, codes = np.unique(np.asarray(ids), return_inverse=True)
        return cls(name, codes, (len(distinct),))

    @classmethod
    def each(cls, rows: int, name: str = "utterance") -> Units:
        """Every row a unit of its own."""
        return cls(name, np.arange(rows), (rows,))

    @classmethod
    def pairs(cls, first: Sequence[object], second: Sequence[object], name: str) -> Units:
        """Trials between two units: a trial counts as often as its two units were both drawn.

        A trial within one unit counts as often as that unit. (The resampling of both sides of a pair: Owen 2007.)
        """
        ids = np.concatenate([np.asarray(first), np.asarray(second)])
        distinct, codes = np.unique(ids, return_inverse=True)
        one, two = np.split(codes, 2)
        return cls(name, one, (len(distinct),), np.where(one == two, -1, two))

    @classmethod
    def stacked(cls, first: Units, second: Units) -> Units:
        """The rows of `first`, then those of `second`; the two kinds of units are drawn independently.

        Gives crossed units (bona fide by speaker, spoof by system) and resampling within each class.
        """
        if first.second is not None or second.second is not None:
            raise MetricError("trials between two units cannot be stacked", where="bootstrap", fix="Use one `pairs`.")
        name = first.name if first.name == second.name else f"{first.name} x {second.name}"
        return cls(name, np.concatenate([first.codes, second.codes + first.count]), first.blocks + second.blocks)

    @property
    def count(self) -> int:
        """How many units there are in all."""
        return sum(self.blocks)

    def take(self, rows: NDArray[np.integer]) -> Units:
        """The units of some rows, in their order."""
        second = None if self.second is None else self.second[rows]
        return Units(self.name, self.codes[rows], self.blocks, second)

    def weights(self, counts: Floats) -> Floats:
        """How often each row [N] counts when the units were drawn `counts` [U] times."""
        rows = counts.take(self.codes, mode="clip")  # in range by construction; clip skips the check
        return rows if self.second is None else rows * np.append(counts, 1.0).take(self.second)

    def draw(self, rng: Generator) -> Floats:
        """One resample: counts [U], each block with as many draws as it has units."""
        counts = np.empty(self.count)
        start = 0
        for size in self.blocks:
            _draw_into(counts[start : start + size], rng)
            start += size
        return counts


def _draw_into(counts: Floats, rng: Generator) -> None:
    """Fill `counts` [n] with how often each of n units is drawn, n draws with replacement.

    Many units are drawn a bucket at a time: first how many draws fall into each bucket, then where within it. That is
    the same distribution, and what is counted stays in the processor's cache.
    """
    size = len(counts)
    if size <= _BUCKET:
        counts[:] = np.bincount(rng.integers(0, size, size), minlength=size)
        return
    edges = [*range(0, size, _BUCKET), size]
    draws = rng.multinomial(size, np.diff(edges) / size)
    for low, high, drawn in zip(edges, edges[1:], draws, strict=False):
        within = rng.integers(0, high - low, drawn, dtype=np.uint16)
        counts[low:high] = np.bincount(within, minlength=high - low)


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; `n_units` units were drawn (of the scarcer kind where two are crossed)."""

    value: float
    low: float
    high: float
    n_units: int
    unit: str
    n_resamples: int
    level: float = 0.95

    @property
    def few_units(self) -> bool:
        """So few units that the interval is rather too narrow."""
        return self.n_units < FEW_UNITS

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Paired:
    """Two values on the same resamples, and their difference first minus second."""

    first: Interval
    second: Interval
    difference: Interval


def bootstrap(statistic: Statistic, units: Units, n: int = 1000, seed: int = 0) -> tuple[Interval, ...]:
    """The statistic's values on the data, each with its 95 % interval over resampled units.

    `statistic(counts [U])` returns M values, and raises `MetricError` where a resample holds nothing to compute them
    from (one class was not drawn): such a resample is drawn again.

    Raises `MetricError` where there are fewer than two units of a kind, or where hardly any resample can be computed.
    """
    if n < 1:
        raise MetricError(f"{n} resamples", where="bootstrap", fix="Use 1000.")
    scarce = min(units.blocks)
    if scarce < 2:
        raise MetricError(
            f"only {scarce} unit of '{units.name}'", where="bootstrap", fix="Resample over a unit that has several."
        )
    values = np.asarray(statistic(np.ones(units.count)), np.float64)
    rng = np.random.default_rng(seed)
    drawn = np.stack([_one(statistic, units, rng) for _ in range(n)])
    return tuple(
        Interval(float(value), *_limits(float(value), column, scarce), scarce, units.name, n)
        for value, column in zip(values, drawn.T, strict=True)
    )


def interval_of(value: float, drawn: Floats, units: int, unit: str) -> Interval:
    """The 95 % interval of a value from its resampled values [n], for whoever drew them otherwise than `bootstrap`."""
    return Interval(value, *_limits(value, drawn, units), units, unit, len(drawn))


def _limits(value: float, drawn: Floats, units: int) -> tuple[float, float]:
    """Limits of the 95 % interval from resampled values [n]; they always hold the value.

    The share of resamples below the value says how far they are shifted; percentiles are moved twice as far back. They
    are those of Student's t with a variance over units - 1, which a resample's variance falls short of.
    """
    below = float(np.mean(drawn < value) + np.mean(drawn == value) / 2)
    shift = float(np.clip(ndtri(below), -_MOST_BIAS, _MOST_BIAS))
    reach = math.sqrt(units / (units - 1)) * float(stdtrit(units - 1, 0.975))
    low, high = np.quantile(drawn, ndtr([2 * shift - reach, 2 * shift + reach]))
    return min(float(low), value), max(float(high), value)


def _one(statistic: Statistic, units: Units, rng: Generator) -> Floats:
    for _ in range(_REDRAWS):
        try:
            return np.asarray(statistic(units.draw(rng)), np.float64)
        except MetricError:
            continue
    raise MetricError(
        f"{_REDRAWS} resamples in a row held only one class",
        where="bootstrap",
        fix=f"There are too few of unit '{units.name}'; choose another.",
    )


def paired(
    first: Callable[[Floats], float], second: Callable[[Floats], float], units: Units, n: int = 1000, seed: int = 0
) -> Paired:
    """Two statistics and their difference on the same resamples of the same units. Raises `MetricError`."""

    def both(counts: Floats) -> tuple[float, float, float]:
        a, b = first(counts), second(counts)
        return a, b, a - b

    return Paired(*bootstrap(both, units, n, seed))
