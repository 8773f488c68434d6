"""Comparing speaker embeddings: the cosine, with or without mean subtraction and normalisation by a cohort.

Sources: cosine, mean subtraction and AS-norm as in WeSpeaker (arXiv 2210.17016); AS-norm takes, on each side, the K
cohort speakers that are most like it, so that a voice that resembles everybody is not taken for a match.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import MetricError
from earwitness.core.hashing import sha256_samples
from earwitness.speaker.score_normalisation import SideStatistics, s_norm, side_statistics
from earwitness.speaker.uncertainty import WORDS, Use, doubtful_norm, doubtful_statistics, doubts, factors

Vectors = NDArray[np.float32]  # [n, D]
Scores = NDArray[np.float64]  # [n]

ROWS_AT_ONCE = 1 << 11  # of 192 values in double precision: a few megabytes, so that work stays in the cache


def unit(vectors: Vectors) -> Vectors:
    """Rows scaled to length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)


def enrol(vectors: Vectors) -> Vectors:
    """One model [D] from several embeddings [n, D] of a speaker: the unit mean of the unit vectors."""
    return unit(unit(vectors).mean(axis=0))


@dataclass(frozen=True)
class Cohort:
    """Embeddings of other speakers, [C, D] (one a speaker, their mean; or one a speaker and condition), and how many of
    the nearest count.

    `speakers` are the keys (`speaker.identities`) of whose voices they are; None where that is not known. `ddof` is
    that of the standard deviation. `variances` [C, D] are the mean variances of each speaker's embeddings, where the
    network states any.
    """

    vectors: Vectors
    top: int = 100
    speakers: frozenset[str] | None = None
    ddof: int = 0
    variances: Vectors | None = None

    @property
    def used(self) -> int:
        """K: how many of the nearest speakers count on each side."""
        return min(self.top, len(self.vectors))

    @property
    def size(self) -> str:
        """For records: `438 speakers`, or `438 speakers, 876 embeddings` where some are heard more than once."""
        count = len(self.vectors if self.speakers is None else self.speakers)
        more = f", {len(self.vectors)} embeddings" if len(self.vectors) > count else ""
        return f"{count} speakers{more}"

    @property
    def name(self) -> str:
        """For records: `AS-norm (438 speakers, top 100)`."""
        return f"AS-norm ({self.size}, top {self.used})"

    @property
    def sha256(self) -> str:
        """Hash of the vectors."""
        return sha256_samples(np.ascontiguousarray(self.vectors, np.float32))

    def statistics(self, vectors: Vectors) -> SideStatistics:
        """Of each row's `top` highest cohort cosines, [n] each."""
        cohort = _normal(self.vectors).T
        parts = [side_statistics(_normal(vectors[part]) @ cohort, self.top, self.ddof) for part in _parts(len(vectors))]
        empty = [np.empty(0)]
        return SideStatistics(
            np.concatenate([part.mean for part in parts] or empty),
            np.concatenate([part.deviation for part in parts] or empty),
        )

    def doubtful(self, vectors: Vectors) -> SideStatistics:
        """The same with uncertain speakers weighing less, [n] each. Raises `MetricError` without `variances`."""
        if self.variances is None:
            raise _unstated("the cohort's embeddings have no variance")
        cohort, doubt = _normal(self.vectors).T, doubts(self.vectors, self.variances)
        rows = _normal(vectors)
        parts = [doubtful_statistics(rows[part] @ cohort, doubt, self.top) for part in _parts(len(vectors))]
        empty = [np.empty(0)]
        return SideStatistics(
            np.concatenate([part.mean for part in parts] or empty),
            np.concatenate([part.deviation for part in parts] or empty),
        )


def _unstated(what: str) -> MetricError:
    return MetricError(what, fix="Use a model that states its uncertainty, or the plain cosine.")


def _normal(vectors: Vectors) -> Scores:
    """Rows of length 1 in double precision: a deviation of 0.03 would make single precision's last digit count."""
    double = np.asarray(vectors, np.float64)
    return np.asarray(double / np.maximum(np.linalg.norm(double, axis=-1, keepdims=True), 1e-12))


def _parts(count: int) -> Iterator[slice]:
    """Stretches of rows that keep memory bounded."""
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, count, ROWS_AT_ONCE))


@dataclass(frozen=True)
class Side:
    """One side of many trials, ready to be compared: unit vectors [n, D] and what each scores with the cohort."""

    vectors: Vectors
    statistics: SideStatistics | None


class TrialComparator(Protocol):
    """What scores trials, named for their records."""

    @property
    def statement(self) -> str:
        """How scores are made, whole."""
        ...

    def enrolled(
        self,
        vectors: Vectors,
        members: Sequence[Sequence[int]],
        enrol_index: NDArray[np.int64],
        test_index: NDArray[np.int64],
        variances: Vectors | None = None,
    ) -> Scores:
        """Scores [n] of trials between enrolments, each of several of the `vectors` [m, D], and one of them."""
        ...


class Comparator:
    """Scores pairs of embeddings: by the cosine, after AS-norm where there is a cohort.

    `mean` [D] is taken from all embeddings first, the cohort's too (the mean of in-domain embeddings, in their scale).
    `use` is what is made of the embeddings' own variances (`speaker.uncertainty`).
    """

    def __init__(self, cohort: Cohort | None = None, mean: Vectors | None = None, use: Use = "none") -> None:
        self.cohort = cohort
        self.mean = mean
        self.use = use
        self._against = cohort
        if cohort is not None and mean is not None:
            self._against = replace(cohort, vectors=self._centred(cohort.vectors))

    def using(self, use: Use) -> Comparator:
        """The same cohort and mean with another use of the variances."""
        return Comparator(self.cohort, self.mean, use)

    @property
    def name(self) -> str:
        """How scores were made, in short: `cosine, AS-norm (438 speakers, top 100)`."""
        subtracted = [] if self.mean is None else ["mean subtracted"]
        normalised = [] if self.cohort is None else [self.cohort.name]
        return ", ".join([WORDS[self.use], *subtracted, *normalised])

    @property
    def statement(self) -> str:
        """How scores were made, whole: what is not done is said too, and the cohort is named by its hash."""
        mean = "none" if self.mean is None else f"sha256 {sha256_samples(self.mean)[:12]}"
        parts = [WORDS[self.use], f"mean subtraction: {mean}"]
        if self.cohort is None:
            return "; ".join([*parts, "score normalisation: none", "cohort: none", "K: none"])
        cohort = f"cohort: {self.cohort.size} (sha256 {self.cohort.sha256[:12]})"
        how = f"AS-norm (ddof {self.cohort.ddof})" if self.use == "none" else "uncertainty-aware AS-norm"
        return "; ".join([*parts, f"score normalisation: {how}", cohort, f"K: {self.cohort.used}"])

    def pairs(
        self, enrolment: Vectors, test: Vectors, variances: tuple[Vectors | None, Vectors | None] = (None, None)
    ) -> Scores:
        """Scores [n] of the pairs (enrolment[i], test[i]), symmetric in the two sides; `variances` are of the same
        shapes.

        Raises `MetricError` on unequal shapes, and without variances where they are used.
        """
        if enrolment.shape != test.shape:
            raise MetricError(f"pairs need equal shapes, not {enrolment.shape} and {test.shape}")
        index = np.arange(len(enrolment), dtype=np.int64)
        of_enrolment, of_test = variances
        known = None if of_enrolment is None or of_test is None else np.concatenate([of_enrolment, of_test])
        return self.trials(np.concatenate([enrolment, test]), index, index + len(enrolment), known)

    def trials(
        self,
        vectors: Vectors,
        enrol_index: NDArray[np.int64],
        test_index: NDArray[np.int64],
        variances: Vectors | None = None,
    ) -> Scores:
        """Scores [n] of trials given as indices into `vectors` [m, D] and their `variances`; cohort statistics are made
        once a vector. Raises `MetricError` without variances where they are used."""
        vectors = self._centred(vectors)
        cosine = _cosines(vectors, enrol_index, test_index)
        if self.use != "none":
            return self._with_doubt(cosine, vectors, enrol_index, test_index, variances)
        if self._against is None:
            return cosine
        sides = self._against.statistics(vectors)
        return s_norm(cosine, sides[enrol_index], sides[test_index])

    def enrolled(
        self,
        vectors: Vectors,
        members: Sequence[Sequence[int]],
        enrol_index: NDArray[np.int64],
        test_index: NDArray[np.int64],
        variances: Vectors | None = None,
    ) -> Scores:
        """Scores [n] of trials between enrolments, members[enrol_index[i]], and vectors[test_index[i]]. An enrolment is
        the unit mean of the unit vectors of its members, its variance the mean of theirs."""
        if all(len(places) == 1 for places in members):
            return self.trials(vectors, np.array([places[0] for places in members])[enrol_index], test_index, variances)
        models = np.stack([enrol(vectors[list(places)]) for places in members])
        doubt = None if variances is None else np.stack([variances[list(places)].mean(axis=0) for places in members])
        joined = None if variances is None or doubt is None else np.concatenate([variances, doubt])
        return self.trials(np.concatenate([vectors, models]), enrol_index + len(vectors), test_index, joined)

    def side(self, vectors: Vectors) -> Side:
        """Embeddings [n, D] made ready once, to be compared with any number of others by `every`. Raises `MetricError`
        where the comparison uses variances."""
        if self.use != "none":
            raise MetricError("many voices at once are compared without their variances", fix="Use another model.")
        centred = self._centred(vectors)
        return Side(unit(centred), None if self._against is None else self._against.statistics(centred))

    def every(self, one: Side, other: Side) -> Scores:
        """Scores [n, m] of each of `one` with each of `other`, by one matrix product in single precision."""
        cosines = np.asarray(one.vectors @ other.vectors.T, np.float64)
        if one.statistics is None or other.statistics is None:
            return cosines
        first, second = one.statistics, other.statistics
        scores = (cosines - first.mean[:, None]) / first.deviation[:, None]
        scores += (cosines - second.mean) / second.deviation
        return np.asarray(0.5 * scores)

    def _with_doubt(
        self,
        cosine: Scores,
        vectors: Vectors,
        enrol_index: NDArray[np.int64],
        test_index: NDArray[np.int64],
        variances: Vectors | None,
    ) -> Scores:
        if variances is None:
            raise _unstated("the embeddings have no variance")
        factor = factors(self.use, vectors, variances)
        of_enrolment, of_test = factor[enrol_index], factor[test_index]
        if self._against is None:
            return np.asarray(of_enrolment * of_test * cosine)
        sides = self._against.doubtful(vectors)
        return doubtful_norm(cosine, sides[enrol_index], sides[test_index], of_enrolment, of_test)

    def _centred(self, vectors: Vectors) -> Vectors:
        return vectors if self.mean is None else vectors - self.mean


def _cosines(vectors: Vectors, first: NDArray[np.int64], second: NDArray[np.int64]) -> Scores:
    """Cosines [n] of vectors[first[i]] with vectors[second[i]], summed in double precision."""
    lengths = np.maximum(np.sqrt(np.einsum("md,md->m", vectors, vectors, dtype=np.float64)), 1e-12)
    products = np.empty(len(first), np.float64)
    for part in _parts(len(first)):
        products[part] = np.einsum("nd,nd->n", vectors[first[part]], vectors[second[part]], dtype=np.float64)
    return np.asarray(products / (lengths[first] * lengths[second]))
