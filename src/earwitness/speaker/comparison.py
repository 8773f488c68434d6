"""Comparing speaker embeddings: cosine, and adaptive score normalisation (AS-norm).

Sources: cosine and AS-norm as in WeSpeaker (arXiv 2210.17016); AS-norm takes, on each side, the K cohort speakers that
are most like it, so that a voice that resembles everybody is not taken for a match.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import MetricError

Vectors = NDArray[np.float32]  # [n, D]
Scores = NDArray[np.float64]  # [n]

ROWS_AT_ONCE = 1 << 14


def unit(vectors: Vectors) -> Vectors:
    """Rows scaled to length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)


def enrol(vectors: Vectors) -> Vectors:
    """One model [D] from several embeddings [n, D] of a speaker: the unit mean of the unit vectors."""
    return unit(unit(vectors).mean(axis=0))


@dataclass(frozen=True)
class Cohort:
    """Unit embeddings of other speakers, [C, D], and how many of the nearest are used on each side."""

    vectors: Vectors
    top: int = 100

    def statistics(self, vectors: Vectors) -> tuple[Scores, Scores]:
        """Mean and standard deviation ([n] each, ddof 0) of each row's `top` highest cohort cosines."""
        top, cohort = min(self.top, len(self.vectors)), _normal(self.vectors).T
        means, deviations = np.empty(len(vectors)), np.empty(len(vectors))
        for part in _parts(len(vectors)):
            cosines = _normal(vectors[part]) @ cohort
            highest = np.partition(cosines, cosines.shape[1] - top, axis=1)[:, -top:]
            means[part], deviations[part] = highest.mean(axis=1), highest.std(axis=1) + 1e-8
        return means, deviations


def _normal(vectors: Vectors) -> Scores:
    """Rows of length 1 in double precision: a deviation of 0.03 would make single precision's last digit count."""
    double = np.asarray(vectors, np.float64)
    return np.asarray(double / np.maximum(np.linalg.norm(double, axis=-1, keepdims=True), 1e-12))


def _parts(count: int) -> Iterator[slice]:
    """Stretches of rows that keep memory bounded."""
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, count, ROWS_AT_ONCE))


class Comparator:
    """Scores pairs of embeddings; with a cohort by AS-norm, else by the plain cosine."""

    def __init__(self, cohort: Cohort | None = None) -> None:
        self.cohort = cohort

    @property
    def name(self) -> str:
        """How scores were made, for records."""
        return (
            "cosine"
            if self.cohort is None
            else f"cosine, AS-norm ({len(self.cohort.vectors)} speakers, top {self.cohort.top})"
        )

    def pairs(self, enrolment: Vectors, test: Vectors) -> Scores:
        """Scores [n] of the pairs (enrolment[i], test[i]), symmetric in the two sides.

        Raises `MetricError` on unequal shapes.
        """
        if enrolment.shape != test.shape:
            raise MetricError(f"pairs need equal shapes, not {enrolment.shape} and {test.shape}")
        cosine: Scores = np.einsum("nd,nd->n", _normal(enrolment), _normal(test))
        if self.cohort is None:
            return cosine
        mean_e, std_e = self.cohort.statistics(enrolment)
        mean_t, std_t = self.cohort.statistics(test)
        scores: Scores = 0.5 * ((cosine - mean_e) / std_e + (cosine - mean_t) / std_t)
        return scores

    def trials(self, vectors: Vectors, enrol_index: NDArray[np.int64], test_index: NDArray[np.int64]) -> Scores:
        """Scores [n] of trials given as indices into `vectors` [m, D]; cohort statistics are made once a vector."""
        cosine = np.empty(len(enrol_index), np.float64)
        for part in _parts(len(enrol_index)):
            known, test = _normal(vectors[enrol_index[part]]), _normal(vectors[test_index[part]])
            cosine[part] = np.einsum("nd,nd->n", known, test)
        if self.cohort is None:
            return cosine
        mean, std = self.cohort.statistics(vectors)
        e, t = enrol_index, test_index
        scores: Scores = 0.5 * ((cosine - mean[e]) / std[e] + (cosine - mean[t]) / std[t])
        return scores
