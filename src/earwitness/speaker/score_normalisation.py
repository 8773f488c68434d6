"""Score normalisation against a cohort of other speakers: Z-norm, T-norm, S-norm and AS-norm, on plain arrays.

With S_e and S_t the cosines of the enrolment and of the test side with the cohort:

    Z-norm    (s - mean S_e) / std S_e            T-norm    (s - mean S_t) / std S_t
    S-norm    the mean of both                    AS-norm   the same over each side's own K highest cohort cosines

S-norm and AS-norm are symmetric in the two sides. For one pair a normalised score rises with s; between pairs it does
not, which is why an EER changes. Public toolkits differ in the deviation: WeSpeaker (arXiv 2210.17016) divides by K
(ddof 0, the default here), SpeechBrain (arXiv 2106.04624) by K - 1 (ddof 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats

EPSILON = 1e-8  # keeps a cohort of equal cosines finite


@dataclass(frozen=True)
class SideStatistics:
    """What one side of n trials has in common with the cohort: mean and standard deviation (with EPSILON), [n] each."""

    mean: Floats
    deviation: Floats

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> SideStatistics:
        return SideStatistics(self.mean[rows], self.deviation[rows])


def side_statistics(cosines: Floats, top: int | None = None, ddof: int = 0) -> SideStatistics:
    """Statistics of cohort cosines [n, C] over the `top` highest of each row (all of them: None, or top >= C).

    Raises `MetricError` where that leaves too few cosines for a deviation.
    """
    count = cosines.shape[1]
    used = count if top is None else min(top, count)
    if used <= ddof:
        raise MetricError(f"{used} cohort speaker(s) give no deviation (ddof {ddof})", fix="Use a larger cohort or K.")
    highest = cosines if used == count else np.partition(cosines, count - used, axis=1)[:, count - used :]
    return SideStatistics(highest.mean(axis=1), highest.std(axis=1, ddof=ddof) + EPSILON)


def z_norm(scores: Floats, enrolment: SideStatistics) -> Floats:
    """Scores [n] against what the enrolment side scores with strangers."""
    return (scores - enrolment.mean) / enrolment.deviation


def t_norm(scores: Floats, test: SideStatistics) -> Floats:
    """Scores [n] against what the test side scores with strangers."""
    return (scores - test.mean) / test.deviation


def s_norm(scores: Floats, enrolment: SideStatistics, test: SideStatistics) -> Floats:
    """The mean of Z-norm and T-norm, [n]; over statistics of the K highest cohort cosines it is AS-norm."""
    return 0.5 * (z_norm(scores, enrolment) + t_norm(scores, test))
