"""Z-, T-, S- and AS-norm on the written example, and what a normalisation must not do."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.core.errors import MetricError
from earwitness.speaker.score_normalisation import s_norm, side_statistics, t_norm, z_norm

S_E = np.array([[0.5, 0.4, 0.3, 0.2, 0.1]])
S_T = np.array([[0.6, 0.1, 0.0, -0.1, -0.2]])
SCORE = np.array([0.7])


@pytest.mark.shows("speaker-metrics:9.1")
@pytest.mark.parametrize(
    ("top", "ddof", "expected"), [(3, 0, 2.72612), (3, 1, 2.22587), (5, 0, 2.52705), (5, 1, 2.26026)]
)
def test_as_norm_of_the_written_example(top: int, ddof: int, expected: float) -> None:
    enrolment, test = (side_statistics(side, top, ddof) for side in (S_E, S_T))
    assert s_norm(SCORE, enrolment, test) == pytest.approx(expected, abs=5e-6)
    assert s_norm(SCORE, test, enrolment) == pytest.approx(expected, abs=5e-6)
    shuffled = side_statistics(S_T[:, [3, 0, 4, 2, 1]], top, ddof)
    assert s_norm(SCORE, enrolment, shuffled) == pytest.approx(expected, abs=5e-6)


def test_z_and_t_norm_by_hand() -> None:
    enrolment, test = side_statistics(S_E), side_statistics(S_T)
    assert z_norm(SCORE, enrolment) == pytest.approx((0.7 - 0.3) / np.sqrt(0.02), abs=1e-6)
    assert t_norm(SCORE, test) == pytest.approx((0.7 - 0.08) / np.std(S_T), abs=1e-6)
    assert s_norm(SCORE, enrolment, test) == pytest.approx((z_norm(SCORE, enrolment) + t_norm(SCORE, test)) / 2)


@pytest.mark.shows("speaker-metrics:9.4")
def test_k_of_the_whole_cohort_is_s_norm() -> None:
    rng = np.random.default_rng(0)
    cosines, scores = rng.uniform(-1, 1, (2, 50, 30)), rng.uniform(-1, 1, 50)
    whole = [side_statistics(side) for side in cosines]
    for top in (30, 1000):
        adaptive = [side_statistics(side, top) for side in cosines]
        assert np.array_equal(s_norm(scores, *adaptive), s_norm(scores, *whole))


def test_rises_with_the_score_of_a_pair_and_stays_finite() -> None:
    side = side_statistics(np.full((3, 4), 0.25), 2)
    scores = s_norm(np.array([0.1, 0.25, 0.9]), side, side)
    assert np.isfinite(scores).all()
    assert scores[0] < scores[1] == 0 < scores[2]
    assert side[np.array([2, 0])].mean.tolist() == [0.25, 0.25]


def test_too_small_a_cohort_is_refused() -> None:
    with pytest.raises(MetricError, match="give no deviation"):
        side_statistics(S_E, 1, ddof=1)
    with pytest.raises(MetricError, match="give no deviation"):
        side_statistics(np.empty((3, 0)))
