"""Probabilistic linear discriminant analysis in its two-covariance form, as WeSpeaker trains it (arXiv 2210.17016).

    x = mu + y + e      y ~ N(0, B) once a speaker      e ~ N(0, W) once a recording

EM finds B and W; a transform T with T W T' = I and T B T' = diag(psi) then makes every dimension a comparison of its
own. The usual chain before it (`PldaBackEnd`): subtract the mean, length norm, LDA, length norm. With margin-trained
embeddings the cosine is usually better; PLDA serves other domains and telephone data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, eigh

from earwitness.core.errors import DataError, MetricError
from earwitness.metrics.scores import Floats

ITERATIONS = 10


@dataclass(frozen=True)
class Plda:
    """`mean` [D]; `transform` T [D, D]; `psi` [D], the variance between speakers in units of that within, falling."""

    mean: Floats
    transform: Floats
    psi: Floats

    def project(self, vectors: ArrayLike, length_norm: bool = False) -> Floats:
        """u = T (x - mu), [n, D] -> [n, D]; with `length_norm` scaled to sqrt(D)."""
        projected = (np.asarray(vectors, np.float64) - self.mean) @ self.transform.T
        return length_normalised(projected) * np.sqrt(projected.shape[1]) if length_norm else projected

    def llr(self, enrolment: ArrayLike, test: ArrayLike, count: ArrayLike = 1) -> Floats:
        """Natural-log likelihood ratios [n] of projected pairs [n, D]; each enrolment is a mean of `count` utterances.

        Raises `MetricError` on unequal shapes and on counts below 1.
        """
        known, other = np.atleast_2d(np.asarray(enrolment, np.float64)), np.atleast_2d(np.asarray(test, np.float64))
        n = np.broadcast_to(np.asarray(count, np.float64), (len(known),))[:, None]
        if known.shape != other.shape or known.shape[1] != len(self.psi):
            raise MetricError(f"pairs need the shape [n, {len(self.psi)}], not {known.shape} and {other.shape}")
        if n.size and n.min() < 1:
            raise MetricError("an enrolment is the mean of at least one utterance", where="count")
        shrunk = n * self.psi / (n * self.psi + 1)
        variance = 1 + self.psi / (n * self.psi + 1)
        same = np.log(variance) + (other - shrunk * known) ** 2 / variance
        different = np.log(1 + self.psi) + other**2 / (1 + self.psi)
        return np.asarray(0.5 * (different - same).sum(axis=1))


@dataclass(frozen=True)
class PldaFit:
    """`between` B and `within` W [D, D] about `mean` [D]; `log_likelihoods` before the first iteration and after each
    one, a recording's mean in natural logs."""

    mean: Floats
    between: Floats
    within: Floats
    log_likelihoods: tuple[float, ...]

    def diagonalised(self) -> Plda:
        """The model that scores; a psi below 0 is set to 0. Raises `DataError` where W is singular."""
        psi, directions = _joint_eigen(self.between, self.within)
        return Plda(self.mean, directions.T, np.maximum(psi, 0.0))


def fit_plda(vectors: ArrayLike, speakers: ArrayLike, iterations: int = ITERATIONS) -> PldaFit:
    """EM over vectors [N, D] of speakers [N] (any labels).

    Begins with the scatter within and between the speakers. Raises `DataError` where there are fewer than two speakers,
    or too few recordings for a covariance of D dimensions.
    """
    data = _Speakers.of(vectors, speakers)
    between, within = data.between(), data.scatter / max(1, data.recordings - len(data.means))
    _joint_eigen(between, within)  # refuses a singular W
    found = [data.log_likelihood(between, within)]
    for _ in range(iterations):
        between, within = data.step(between, within)
        found.append(data.log_likelihood(between, within))
    return PldaFit(data.mean, between, within, tuple(found))


@dataclass(frozen=True)
class _Speakers:
    """What EM needs of the data: `means` [K, D] about `mean` [D], `counts` [K], the summed `scatter` within [D, D]."""

    mean: Floats
    means: Floats
    counts: NDArray[np.int64]
    scatter: Floats

    @classmethod
    def of(cls, vectors: ArrayLike, speakers: ArrayLike) -> _Speakers:
        x = _checked(vectors)
        names, place, counts = np.unique(np.asarray(speakers), return_inverse=True, return_counts=True)
        if len(place) != len(x) or len(names) < 2:
            what = f"{len(x)} vectors of {len(names)} speaker(s) with {len(place)} labels"
            raise DataError(what, where="PLDA", fix="Give one label a vector, of two speakers or more.")
        if len(x) - len(names) < x.shape[1]:
            what = f"{len(x)} vectors of {len(names)} speakers are too few for {x.shape[1]} dimensions"
            raise DataError(what, where="PLDA", fix="Use more recordings, or fewer dimensions (LDA).")
        sums = np.zeros((len(names), x.shape[1]))
        np.add.at(sums, place, x)
        means = sums / counts[:, None]
        apart = x - means[place]
        centre = means.mean(axis=0)
        return cls(centre, means - centre, counts.astype(np.int64), apart.T @ apart)

    @property
    def recordings(self) -> int:
        return int(self.counts.sum())

    def between(self) -> Floats:
        """Covariance of the speakers' means."""
        return np.asarray(self.means.T @ self.means / len(self.means))

    def step(self, between: Floats, within: Floats) -> tuple[Floats, Floats]:
        """One iteration: B <- mean(V + w w'), W <- (scatter + sum n (V + r r')) / N, with r = m - w.

        w and V are mean and covariance of a speaker's y given her recordings.
        """
        new_between, new_within = np.zeros_like(between), self.scatter.copy()
        for n, means in self._by_count():
            gain = np.linalg.solve(between + within / n, between).T  # B (B + W/n)^-1: B itself may be singular
            v = between - gain @ between
            w = means @ gain.T
            r = means - w
            new_between += len(means) * v + w.T @ w
            new_within += n * (len(means) * v + r.T @ r)
        return new_between / len(self.means), new_within / self.recordings

    def log_likelihood(self, between: Floats, within: Floats) -> float:
        """Mean over recordings of ln p(x): of the means, N(0, B + W / n), and of what lies about them."""
        dim, free = len(within), self.recordings - len(self.means)
        total = -0.5 * (free * (dim * np.log(2 * np.pi) + np.linalg.slogdet(within)[1]))
        total -= 0.5 * float(np.trace(np.linalg.solve(within, self.scatter)))
        for n, means in self._by_count():
            covariance = between + within / n
            quadratic = float(np.einsum("kd,kd->", means, np.linalg.solve(covariance, means.T).T))
            constant = dim * np.log(2 * np.pi * n) + np.linalg.slogdet(covariance)[1]
            total -= 0.5 * (len(means) * constant + quadratic)
        return float(total / self.recordings)

    def _by_count(self) -> Iterator[tuple[int, Floats]]:
        """Speakers with equally many recordings share their covariances: (n, their means)."""
        for n in np.unique(self.counts):
            yield int(n), self.means[self.counts == n]


@dataclass(frozen=True)
class PldaBackEnd:
    """Mean subtraction, length norm, LDA, length norm, PLDA. `mean` [D], `lda` [D, P], `plda` over P dimensions."""

    mean: Floats
    lda: Floats
    plda: Plda

    @classmethod
    def fit(cls, vectors: ArrayLike, speakers: ArrayLike, dim: int, iterations: int = ITERATIONS) -> PldaBackEnd:
        """From embeddings [N, D] of speakers [N]; LDA keeps `dim` directions. Raises `DataError` as `fit_plda` does,
        and where LDA has no `dim` directions."""
        x = _checked(vectors)
        mean = x.mean(axis=0)
        unit = length_normalised(x - mean)
        data = _Speakers.of(unit, speakers)
        most = min(len(data.means) - 1, x.shape[1])
        if not 1 <= dim <= most:
            raise DataError(f"LDA to {dim} dimensions", where="PLDA", fix=f"Choose 1 to {most}.")
        weighted = (data.means * data.counts[:, None]).T @ data.means / data.recordings
        _, directions = _joint_eigen(weighted, data.scatter / data.recordings)
        lda = directions[:, :dim]
        reduced = length_normalised(unit @ lda)
        return cls(mean, lda, fit_plda(reduced, speakers, iterations).diagonalised())

    def project(self, vectors: ArrayLike) -> Floats:
        """Embeddings [n, D] to the space of the PLDA [n, P]; several of one enrolment are averaged there."""
        unit = length_normalised(_checked(vectors) - self.mean)
        return self.plda.project(length_normalised(unit @ self.lda))

    def pairs(self, enrolment: ArrayLike, test: ArrayLike) -> Floats:
        """Likelihood ratios [n] of pairs of single embeddings [n, D]."""
        return self.plda.llr(self.project(enrolment), self.project(test))

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """By name, for a tensor file."""
        plda = self.plda
        named = {"mean": self.mean, "lda": self.lda, "plda_mean": plda.mean, "transform": plda.transform}
        # a tensor file takes the memory as it lies: a transposed view would come back as another matrix
        return {name: np.ascontiguousarray(values) for name, values in (named | {"psi": plda.psi}).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.float64]]) -> PldaBackEnd:
        """What `arrays` gave. Raises `DataError` where one is missing or the shapes don't agree."""
        names = ("mean", "lda", "plda_mean", "transform", "psi")
        if missing := [name for name in names if name not in arrays]:
            raise DataError(f"holds no array '{missing[0]}'", where="PLDA", fix="Was it written by `arrays`?")
        mean, lda, centre, transform, psi = (np.asarray(arrays[name], np.float64) for name in names)
        shapes = (lda.shape, centre.shape, transform.shape, psi.shape)
        dim = lda.shape[-1]
        if shapes != ((len(mean), dim), (dim,), (dim, dim), (dim,)):
            raise DataError(f"arrays of shapes {[list(shape) for shape in shapes]} do not fit", where="PLDA")
        return cls(mean, lda, Plda(centre, transform, psi))


def length_normalised(vectors: Floats) -> Floats:
    """Rows [n, D] scaled to length 1; a zero row stays zero."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _checked(vectors: ArrayLike) -> Floats:
    x = np.asarray(vectors, np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise DataError(f"vectors of shape {list(x.shape)} must be finite and [n, D]", where="PLDA")
    return x


def _joint_eigen(between: Floats, within: Floats) -> tuple[Floats, Floats]:
    """psi [D], falling, and directions V [D, D] with V' W V = I and V' B V = diag(psi)."""
    try:
        psi, directions = eigh(between, within)
    except LinAlgError:
        fix = "Use more recordings, or fewer dimensions."
        raise DataError("the scatter within speakers is singular", where="PLDA", fix=fix) from None
    return psi[::-1].copy(), directions[:, ::-1].copy()
