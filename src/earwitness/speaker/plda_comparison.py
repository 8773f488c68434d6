"""Comparing voice prints by a PLDA that learnt from recordings of other speakers (see `speaker.plda`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.core.hashing import sha256_samples
from earwitness.speaker.comparison import Scores, Vectors
from earwitness.speaker.plda import ITERATIONS, PldaBackEnd

MOST_DIMENSIONS = 150  # that LDA keeps; customary, and never more than the speakers allow


@dataclass(frozen=True)
class PldaComparator:
    """A fitted back end; `speakers` and `recordings` count what it learnt from, `data` names it."""

    back_end: PldaBackEnd
    speakers: int
    recordings: int
    data: str

    @classmethod
    def fit(cls, vectors: Vectors, speakers: ArrayLike) -> PldaComparator:
        """From voice prints [n, D] of speakers [n]. LDA keeps as many directions as there are speakers less one, values
        less one, or 150, whichever is least. Raises `DataError` where they are too few."""
        count = len(np.unique(np.asarray(speakers)))
        dim = max(1, min(MOST_DIMENSIONS, count - 1, vectors.shape[1] - 1))
        data = sha256_samples(np.ascontiguousarray(vectors, np.float32))
        return cls(PldaBackEnd.fit(vectors, speakers, dim), count, len(vectors), data)

    @property
    def statement(self) -> str:
        """How scores are made, whole."""
        learnt = f"{self.speakers} speakers, {self.recordings} recordings (sha256 {self.data[:12]})"
        chain = f"mean, length norm, LDA to {len(self.back_end.plda.psi)} dimensions, length norm"
        how = f"PLDA ({ITERATIONS} iterations; learnt from {learnt}) after {chain}"
        return f"{how}; mean subtraction: that of its training; score normalisation: none; cohort: none; K: none"

    def enrolled(
        self,
        vectors: Vectors,
        members: Sequence[Sequence[int]],
        enrol_index: NDArray[np.int64],
        test_index: NDArray[np.int64],
        variances: Vectors | None = None,
    ) -> Scores:
        """The PLDA's own log-likelihood ratios [n], uncalibrated: an enrolment of n recordings is their mean after
        projection, and n counts. Variances are not used."""
        projected = self.back_end.project(vectors)
        models = np.stack([projected[list(places)].mean(axis=0) for places in members])
        counts = np.array([len(places) for places in members])
        return self.back_end.plda.llr(models[enrol_index], projected[test_index], counts[enrol_index])
