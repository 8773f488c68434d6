"""Means over groups under resampling of whole clusters, all resamples at once.

`metrics.bootstrap` takes any statistic and asks it once a resample. Here the statistics are ratios of sums (means, and
what is made of means), so that one product of matrices serves them all: the draws [B, C] times the sums within each
cluster [C, ...].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import MetricError
from earwitness.metrics.bootstrap import Interval, Units, interval_of
from earwitness.metrics.scores import Floats

LEAST_SHARE = 0.05  # of the resamples; where fewer can be computed there is no interval


@dataclass(frozen=True)
class Resampling:
    """How often each of C clusters was drawn in each of B resamples, [B, C], and the cluster of each row [N]."""

    draws: Floats
    codes: NDArray[np.int64]
    unit: str

    @classmethod
    def over(cls, clusters: Sequence[object], n: int = 2000, seed: int = 0, unit: str = "clip") -> Resampling:
        """Draw the clusters of rows [N] with replacement. Raises `MetricError` for fewer than two clusters."""
        units = Units.of(list(clusters), unit) if len(clusters) else Units.each(0, unit)
        if units.count < 2:
            raise MetricError(f"only {units.count} {unit}", where="bootstrap", fix=f"Give several {unit}s.")
        rng = np.random.default_rng(seed)
        return cls(np.stack([units.draw(rng) for _ in range(n)]), units.codes, unit)

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return self.draws.shape[1]

    def sums(self, rows: Floats) -> Floats:
        """Sums of rows [N, M] in each resample, [B, M]."""
        within = np.zeros((self.clusters, rows.shape[1]))
        np.add.at(within, self.codes, rows)
        return np.asarray(self.draws @ within, np.float64)

    def means(self, values: Floats) -> Floats:
        """Means of the columns of values [N, M] (NaN: not there) in each resample, [B, M]; NaN where none was drawn."""
        there = np.isfinite(values)
        sums = self.sums(np.where(there, values, 0.0))
        counts = self.sums(there.astype(np.float64))
        return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)

    def interval(self, value: float, drawn: Floats) -> Interval | None:
        """The value with its 95 % interval from resampled values [B], those that are NaN left out.

        None where too few can be computed: a type that only a clip or two have.
        """
        there = drawn[np.isfinite(drawn)]
        if not np.isfinite(value) or len(there) < max(2, LEAST_SHARE * len(drawn)):
            return None
        return interval_of(float(value), there, self.clusters, self.unit)


def p_value(drawn: Floats) -> float:
    """Two-sided p of a difference being 0, from resampled differences [B] (NaN left out): twice the smaller tail.

    The data count as one resample more, so that p is never 0; 1 where all are 0.
    """
    there = drawn[np.isfinite(drawn)]
    if not len(there):
        return 1.0
    tail = min(int(np.count_nonzero(there <= 0)), int(np.count_nonzero(there >= 0)))
    return min(1.0, 2 * (tail + 1) / (len(there) + 1))
