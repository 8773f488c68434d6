"""What figures are computed from: the trials of a score table, sorted once, and how often a resample draws each.

trials = Sorted(scores, units)
Draw(trials, counts).trials("score").eer()          # two classes: `metrics.trials.Resample`
Draw(trials, counts).sasv("score").fa_spoof         # three classes: `metrics.tandem.SasvRates`
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.scores import Floats
from earwitness.metrics.tandem import (
    ASVSPOOF_TANDEM,
    AsvRates,
    SasvRates,
    SasvScores,
    SasvTrials,
    Tandem,
    asv_rates,
)
from earwitness.metrics.trials import Resample, Trials

Sides = tuple[tuple[str, ...], tuple[str, ...]]  # the classes that count as positive, and those that count as negative

SPEAKERS: Sides = (("target",), ("nontarget",))
SPOOFS: Sides = (("target",), ("spoof",))
HUMANS: Sides = (("target", "nontarget"), ("spoof",))


class Sorted:
    """The trials of a score table, sorted at most once for each way in which figures read them.

    `units` has the rows of the positives, then of the negatives. What is read raises `MetricError` where a class of it
    is missing.
    """

    def __init__(self, scores: LabelledScores, units: Units) -> None:
        self.scores = scores
        self._rows = pl.concat([scores.positive, scores.negative])
        self.units = units
        self._two: dict[tuple[str, Sides | None], Trials] = {}
        self._three: dict[str, SasvTrials] = {}

    def trials(self, column: str, sides: Sides | None) -> Trials:
        """Two classes by a column; `sides` of None sets the positives against all others."""
        if (column, sides) not in self._two:
            self._two[column, sides] = self._sort_two(column, sides)
        return self._two[column, sides]

    def sasv(self, column: str) -> SasvTrials:
        """Targets, nontargets and spoofs by a column."""
        if column not in self._three:
            self._three[column] = self._sort_three(column)
        return self._three[column]

    @cached_property
    def tandem(self) -> Tandem:
        """The revised t-DCF beside the verifier of the table's own `asv_score`."""
        return ASVSPOOF_TANDEM.tandem(verifier_of(self.scores), "revised")

    def _sort_two(self, column: str, sides: Sides | None) -> Trials:
        positive, negative = (
            (self._rows["positive"], ~self._rows["positive"]) if sides is None else map(self._of, sides)
        )
        pos, neg = (np.flatnonzero(side.to_numpy()) for side in (positive, negative))
        values = self._rows[column].to_numpy()
        return Trials(values[pos], values[neg], self._taken(pos, neg))

    def _sort_three(self, column: str) -> SasvTrials:
        classes = [np.flatnonzero(self._of((name,)).to_numpy()) for name in ("target", "nontarget", "spoof")]
        values = self._rows[column].to_numpy()
        return SasvTrials(SasvScores(*(values[rows] for rows in classes)), self._taken(*classes))

    def _of(self, names: tuple[str, ...]) -> pl.Series:
        return self._rows["label"].is_in(list(names))

    def _taken(self, *rows: NDArray[np.int64]) -> Units:
        return self.units.take(np.concatenate(rows))


class Draw:
    """The trials with each unit counted `counts` [U] times; what several figures read is weighed once."""

    def __init__(self, trials: Sorted, counts: Floats) -> None:
        self.sorted, self._counts = trials, counts
        self._two: dict[tuple[str, Sides | None], Resample] = {}
        self._three: dict[str, SasvRates] = {}

    def trials(self, column: str = "score", sides: Sides | None = None) -> Resample:
        """Two classes by a column; `sides` of None sets the positives against all others."""
        if (column, sides) not in self._two:
            self._two[column, sides] = self.sorted.trials(column, sides).resample(self._counts)
        return self._two[column, sides]

    def sasv(self, column: str = "score") -> SasvRates:
        """Error rates over targets, nontargets and spoofs by a column."""
        if column not in self._three:
            self._three[column] = self.sorted.sasv(column).rates(self._counts)
        return self._three[column]


def verifier_of(scores: LabelledScores) -> AsvRates:
    """Error rates of the verifier of `asv_score` at its own EER threshold. Raises `MetricError` for a missing class."""
    table = scores.table
    classes = (table.filter(pl.col("label") == name)["asv_score"] for name in ("target", "nontarget", "spoof"))
    return asv_rates(SasvScores(*classes))
