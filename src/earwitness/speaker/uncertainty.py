"""Scoring with the uncertainty of embeddings, on plain arrays (xi+, arXiv 2509.05993; U3-xi, arXiv 2601.15719).

After arXiv 2403.06404 an embedding e with diagonal variance v has the factor

    a(e, v) = sqrt( e'e / sum_d e_d^2 / (1 + v_d) ) >= 1

    up_cos         a1 a2 cos     as released: an uncertain recording gets a *stronger* score. For parity with published
                                 figures; it is never calibrated
    conservative   cos / (a1 a2) ours: an uncertain recording gets a weaker score

v is of the embedding as the network gives it; e may have any length. The posterior variance falls with duration as 1/T,
and is too small as it stands, since frames are not independent: use its rank, or the scale that `variance_scale` finds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats
from earwitness.speaker.score_normalisation import SideStatistics, t_norm, z_norm

Use = Literal["none", "up_cos", "conservative"]

LEAST_VARIANCE = 1e-6  # of a chunk, as released
DOUBT_FLOOR = 1e-6  # of a cohort speaker, and of the variance of cohort scores, as released

WORDS: dict[Use, str] = {
    "none": "cosine",
    "up_cos": "uncertainty-aware cosine as released (uncalibrated: more variance, stronger score)",
    "conservative": "conservative uncertainty-aware cosine (more variance, weaker score)",
}


def amplification(vectors: NDArray[np.floating], variances: NDArray[np.floating]) -> Floats:
    """a(e, v) of embeddings and variances [n, D], [n]; 1 without variance. Raises `MetricError` for other shapes, and
    for a variance that is negative or not finite."""
    e, v = np.asarray(vectors, np.float64), np.asarray(variances, np.float64)
    if e.shape != v.shape:
        raise MetricError(f"embeddings of shape {list(e.shape)} with variances of {list(v.shape)}")
    if not np.isfinite(v).all() or (v < 0).any():
        raise MetricError("a variance is negative or not finite", where="variances")
    squares = e * e
    whole = squares.sum(axis=-1)
    certain = np.maximum((squares / (1 + v)).sum(axis=-1), np.finfo(np.float64).tiny)
    return np.where(whole > 0, np.sqrt(whole / certain), 1.0)


def factors(use: Use, vectors: NDArray[np.floating], variances: NDArray[np.floating]) -> Floats:
    """What each side's score is multiplied by, [n]: a, or 1 / a."""
    a = amplification(vectors, variances)
    return 1 / a if use == "conservative" else a


def doubts(vectors: NDArray[np.floating], variances: NDArray[np.floating]) -> Floats:
    """q of cohort speakers: the variance along each one's own direction, [C], of means and mean variances [C, D]."""
    c = np.asarray(vectors, np.float64)
    c = c / np.maximum(np.linalg.norm(c, axis=-1, keepdims=True), 1e-12)
    return np.asarray((np.asarray(variances, np.float64) * c * c).sum(axis=-1))


def doubtful_statistics(cosines: Floats, doubt: Floats, top: int) -> SideStatistics:
    """Mean and deviation of each row's `top` highest cohort cosines [n, C], a speaker of doubt q weighing 1 / (q +
    1e-6)."""
    used = min(top, cosines.shape[1])
    best = np.argpartition(cosines, cosines.shape[1] - used, axis=1)[:, cosines.shape[1] - used :]
    scores = np.take_along_axis(cosines, best, axis=1)
    weights = 1 / (doubt[best] + DOUBT_FLOOR)
    weights = weights / weights.sum(axis=1, keepdims=True)
    mean = (weights * scores).sum(axis=1)
    variance = (weights * (scores - mean[:, None]) ** 2).sum(axis=1)
    return SideStatistics(mean, np.sqrt(variance + DOUBT_FLOOR))


def doubtful_norm(
    scores: Floats, enrolment: SideStatistics, test: SideStatistics, of_enrolment: Floats, of_test: Floats
) -> Floats:
    """Uncertainty-aware AS-norm, [n]: the sum (not the mean, as released) of both sides' normalised plain cosines,
    each times its side's factor."""
    return of_enrolment * z_norm(scores, enrolment) + of_test * t_norm(scores, test)


def harmonic_variance(variances: NDArray[np.floating], seconds: NDArray[np.floating]) -> NDArray[np.float32]:
    """The variance [D] of a long recording from those of its chunks [n, D], as released: 1 / sum_i (w_i / v_i), w their
    shares of the time. More chunks don't lower it; the model's exact posterior does (`Posterior.fuse`)."""
    v = np.asarray(variances, np.float64)
    if len(v) == 1:
        return np.asarray(v[0], np.float32)
    weights = np.asarray(seconds, np.float64) / np.sum(seconds)
    return np.asarray(1 / (weights[:, None] / np.maximum(v, LEAST_VARIANCE)).sum(axis=0), np.float32)


def variance_scale(
    embeddings: NDArray[np.floating], variances: NDArray[np.floating], speakers: NDArray[np.str_]
) -> float | None:
    """How many times the squared distance of an embedding from its speaker's centroid is the variance stated for it,
    over all held-out rows [n, D]; None where no speaker has two.

    A centroid of n rows lies nearer to each of them than the speaker's own does; n / (n - 1) corrects for that.
    """
    squared, stated = 0.0, 0.0
    for speaker in np.unique(speakers):
        own = np.asarray(embeddings[speakers == speaker], np.float64)
        if len(own) < 2:
            continue
        squared += float(((own - own.mean(axis=0)) ** 2).sum()) * len(own) / (len(own) - 1)
        stated += float(np.asarray(variances[speakers == speaker], np.float64).sum())
    return squared / stated if stated > 0 else None
