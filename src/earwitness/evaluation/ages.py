"""What estimated ages are worth beside the truth: the figures of a model's card and of a score table, in one place.

Every figure has a 95 % interval over speakers, and none where there are fewer than two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.core.errors import MetricError
from earwitness.corpora.batches import sex_class
from earwitness.evaluation.assessing.outcome import figure
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.judging.units import speaker_units
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.regression import (
    CS_YEARS,
    ccc,
    cumulative_score,
    group_accuracy,
    mae,
    pearson,
    rmse,
    speaker_errors,
)
from earwitness.training.card import ResultRow

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], float]  # weights of rows [N] -> value
EDGES = (13.0, 18.0)  # years: children below, then teenagers, then adults
GROUPS = ("children (under 13)", "teenagers (13 to 17)", "adults (18 and over)")
SEXES = ("female", "male")
FEWEST = 3  # speakers from which a group has figures of its own


@dataclass(frozen=True)
class JudgedAges:
    """Recordings with truth and estimate, and where the figures are written or read from.

    `table` has `id`, `speaker`, `sex`, `age`, `mean`, `low` and `high`, and for NLL and CRPS `nll` and `crps`. The
    estimates stand beside always answering `median` years, which is the `median_of` what it says.
    """

    table: pl.DataFrame
    median: float
    options: JudgeOptions
    source: Path
    side: str = "test side"
    median_of: str = "training median"

    @property
    def units(self) -> Units:
        """Speakers; a recording without one is a unit of its own."""
        return speaker_units(self.table)

    def column(self, name: str) -> Floats:
        """[N]."""
        return np.asarray(self.table[name].to_numpy(), np.float64)

    @property
    def errors(self) -> Floats:
        """|mean - age|, years, [N]."""
        return np.abs(self.column("mean") - self.column("age"))

    @property
    def median_errors(self) -> Floats:
        """|median - age|, years, [N]."""
        return np.abs(self.median - self.column("age"))

    def figures(self) -> Iterator[ResultRow]:
        """Errors beside the constant answer's, correlations, what the distributions are worth; by sex and by group."""
        yield from self.of_all()
        yield from self.of_parts()

    def of_all(self) -> Iterator[ResultRow]:
        """The figures over all recordings."""
        truth, mean = self.column("age"), self.column("mean")
        yield self._mean(self.side, "MAE, years", self.errors)
        yield self._mean(self.side, f"MAE of always answering the {self.median_of}, years", self.median_errors)
        yield self._mean(self.side, "MAE less that of the median, years", self.errors - self.median_errors)
        if np.ptp(mean) > 0 and np.ptp(truth) > 0:  # a correlation with a constant is not defined
            yield self._row(self.side, "Pearson's r", lambda w: pearson(truth, mean, w))
            yield self._row(self.side, "CCC", lambda w: ccc(truth, mean, w))
        if "nll" in self.table.columns:
            yield self._mean(self.side, "NLL of the age, nats", self.column("nll"))
            yield self._mean(self.side, "CRPS, years", self.column("crps"))
        yield self._coverage()
        yield self._mean(self.side, "width of the 80 % interval, years", self.column("high") - self.column("low"))

    def of_errors(self) -> Iterator[ResultRow]:
        """RMSE, and the share of errors up to 5 years."""
        truth, mean = self.column("age"), self.column("mean")
        yield self._row(self.side, "RMSE, years", lambda w: rmse(truth, mean, w))
        yield self._row(self.side, f"CS({CS_YEARS:g}), %", lambda w: cumulative_score(truth, mean, w))

    def of_parts(self) -> Iterator[ResultRow]:
        """The MAE of each sex, and how often an estimate lies in its age group; of parts with enough speakers."""
        for name, part in self._parts(SEXES, self._sexes):
            if part.units.count >= FEWEST:
                yield part._mean(f"{self.side}, {name}", "MAE, years", part.errors)
        for place, (name, part) in enumerate(self._parts(GROUPS, self._groups)):
            if part.units.count >= FEWEST:
                yield part._recall(place, name)

    def small_parts(self) -> Iterator[str]:
        """In words, the parts that are there and have no figures."""
        for name, part in (*self._parts(SEXES, self._sexes), *self._parts(GROUPS, self._groups)):
            if part.table.height and part.units.count < FEWEST:
                many = f"{part.table.height} recordings of {part.units.count} {part.units.name}(s)"
                yield f"{name}: {many}, fewer than {FEWEST}, so no figure of its own"
        if unknown := int((self._sexes < 0).sum()):
            yield f"{unknown} recordings have no sex, or another than female and male, and are in neither figure"

    def in_short(self) -> Iterator[ResultRow]:
        """The error, beside that of the constant, and what the interval is worth."""
        yield self._mean(self.side, "MAE, years", self.errors)
        yield self._mean(self.side, "MAE less that of the median, years", self.errors - self.median_errors)
        yield self._coverage()

    def of_speakers(self) -> Iterator[ResultRow]:
        """The MAE over speakers, each by the mean of their estimates; none where a speaker has several ages."""
        names = self.table["speaker"].fill_null(self.table["id"])
        if names.n_unique() < 2:
            return
        try:
            errors = speaker_errors(self.column("age"), self.column("mean"), names.to_list()).errors
        except MetricError:  # several ages
            return
        interval = self._interval(_mean_of(errors), Units.each(len(errors), "speaker"))
        yield figure(f"{self.side}, a speaker's recordings together", "MAE, years", interval, len(errors), self.source)

    def doubts(self) -> Iterator[str]:
        """Why answers must not count, where it is not shown that they are better than a constant."""
        gain = self._interval(_mean_of(self.errors - self.median_errors))
        if gain.high >= 0:
            yield (
                f"It is not shown to be better than always answering {self.median:g} years "
                f"(MAE {mae(self.column('age'), self.column('mean')):.2f} against {self.median_errors.mean():.2f})."
            )

    @property
    def _sexes(self) -> NDArray[np.int64]:
        """Places in `SEXES`, -1 for others, [N]."""
        return np.array([sex_class(word) for word in self.table["sex"]], np.int64)

    @property
    def _groups(self) -> NDArray[np.int64]:
        """Places in `GROUPS`, [N]."""
        return np.digitize(self.column("age"), EDGES)

    def _parts(self, names: tuple[str, ...], places: NDArray[np.int64]) -> Iterator[tuple[str, JudgedAges]]:
        for place, name in enumerate(names):
            rows = self.table.filter(pl.Series(places == place))
            yield name, JudgedAges(rows, self.median, self.options, self.source, self.side, self.median_of)

    def _coverage(self) -> ResultRow:
        truth = self.column("age")
        covered = (self.column("low") <= truth) & (truth <= self.column("high"))
        return self._mean(self.side, "coverage of the 80 % interval, %", covered.astype(np.float64))

    def _recall(self, place: int, name: str) -> ResultRow:
        """Of a group that lies between `EDGES`: how often the estimate does too."""
        truth, mean = self.column("age"), self.column("mean")

        def recall(weights: Floats) -> float:
            counts = group_accuracy(truth, mean, EDGES, weights).counts[place]
            return float(counts[place] / counts.sum())

        return self._row(f"{self.side}, {name}", "recall, %", recall)

    def _mean(self, data: str, metric: str, values: Floats) -> ResultRow:
        return self._row(data, metric, _mean_of(values))

    def _row(self, data: str, metric: str, statistic: Statistic) -> ResultRow:
        one = self.units.count < 2
        found = statistic(np.ones(self.table.height)) if one else self._interval(statistic)
        return figure(data, metric, found, self.table.height, self.source)

    def _interval(self, statistic: Statistic, units: Units | None = None) -> Interval:
        """Of a statistic of the weights [N] of rows, over units; those of the rows where no others are given."""
        units = units or self.units

        def of_counts(counts: Floats) -> list[float]:
            value = statistic(units.weights(counts))
            if not np.isfinite(value):  # e.g. a resample of one age: drawn again
                raise MetricError("is not defined", where="resample")
            return [value]

        return bootstrap(of_counts, units, self.options.n_resamples, self.options.seed)[0]


def _mean_of(values: Floats) -> Statistic:
    """The weighted mean of values [N], as a statistic of the weights."""
    return lambda weights: float(weights @ values / weights.sum())
