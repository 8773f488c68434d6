"""Cosine and AS-norm against the written-out definition."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.core.errors import MetricError
from earwitness.speaker.comparison import Cohort, Comparator, enrol, unit


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((40, 12)).astype(np.float32)


def slow_as_norm(e: np.ndarray, t: np.ndarray, cohort: np.ndarray, top: int) -> float:
    cosine = float(e @ t / np.linalg.norm(e) / np.linalg.norm(t))
    parts = []
    for side in (e, t):
        cosines = sorted((float(side @ c / np.linalg.norm(side) / np.linalg.norm(c)) for c in cohort), reverse=True)[
            :top
        ]
        parts.append((cosine - np.mean(cosines)) / np.std(cosines))
    return float(np.mean(parts))


def test_as_norm_equals_a_double_loop_and_is_symmetric(vectors: np.ndarray) -> None:
    cohort = unit(vectors[20:])
    comparator = Comparator(Cohort(cohort, top=7))
    left, right = vectors[:10], vectors[10:20]
    expected = [slow_as_norm(e, t, cohort, 7) for e, t in zip(left, right, strict=True)]
    assert comparator.pairs(left, right) == pytest.approx(expected, abs=1e-4)
    assert comparator.pairs(right, left) == pytest.approx(expected, abs=1e-4)


def test_as_norm_of_the_written_example() -> None:
    """S_e = (.5 .4 .3 .2 .1), S_t = (.6 .1 0 -.1 -.2), s = 0.7: 2.72612 for K = 3 and 2.52705 for K = 5 (ddof 0)."""
    s_e, s_t = np.array([0.5, 0.4, 0.3, 0.2, 0.1]), np.array([0.6, 0.1, 0.0, -0.1, -0.2])

    class Given(Cohort):
        def statistics(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            side = np.sort(s_e if vectors[0, 0] > 0.99 else s_t)[-self.top :]
            return np.array([side.mean()]), np.array([side.std() + 1e-8])

    e, t = np.array([[1.0, 0.0]], np.float32), np.array([[0.7, np.sqrt(1 - 0.49)]], np.float32)
    for top, expected in ((3, 2.72612), (5, 2.52705)):
        assert Comparator(Given(np.eye(2, dtype=np.float32), top)).pairs(e, t)[0] == pytest.approx(expected, abs=1e-4)


def test_trials_by_index_equal_pairs(vectors: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    e, t = rng.integers(0, 20, 50), rng.integers(0, 20, 50)
    for cohort in (None, Cohort(unit(vectors[20:]), 5)):
        comparator = Comparator(cohort)
        assert comparator.trials(vectors, e, t) == pytest.approx(comparator.pairs(vectors[e], vectors[t]), abs=1e-5)


def test_enrolment_weighs_recordings_equally(vectors: np.ndarray) -> None:
    assert enrol(vectors[:3] * np.array([[1], [10], [100]], np.float32)) == pytest.approx(enrol(vectors[:3]), abs=1e-6)
    assert np.linalg.norm(enrol(vectors[:3])) == pytest.approx(1, abs=1e-6)


def test_unequal_sides_are_refused(vectors: np.ndarray) -> None:
    with pytest.raises(MetricError, match="equal shapes"):
        Comparator().pairs(vectors[:2], vectors[:3])
