"""Cosine, mean subtraction and AS-norm by a cohort against the written-out definition."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.core.errors import MetricError
from earwitness.speaker.comparison import Cohort, Comparator, enrol, unit


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((60, 12)).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def slow_as_norm(e: np.ndarray, t: np.ndarray, cohort: np.ndarray, top: int) -> float:
    parts = []
    for side in (e, t):
        cosines = sorted((cosine(side, c) for c in cohort), reverse=True)[:top]
        parts.append((cosine(e, t) - np.mean(cosines)) / (np.std(cosines) + 1e-8))
    return float(np.mean(parts))


@pytest.mark.shows("speaker-metrics:9.4")
def test_as_norm_equals_a_double_loop_and_is_symmetric(vectors: np.ndarray) -> None:
    """Every enrolment of 20 with every test of 20, against the nearest 7 of 20 others."""
    cohort, double = vectors[40:], vectors.astype(np.float64)
    comparator = Comparator(Cohort(cohort, top=7))
    e, t = (side.ravel() for side in np.meshgrid(np.arange(20), np.arange(20, 40), indexing="ij"))
    expected = [slow_as_norm(double[i], double[j], double[40:], 7) for i, j in zip(e, t, strict=True)]
    assert comparator.trials(vectors[:40], e, t) == pytest.approx(expected, abs=1e-9)
    assert comparator.trials(vectors[:40], t, e) == pytest.approx(expected, abs=1e-9)


@pytest.mark.shows("speaker-metrics:9.4")
def test_as_norm_over_the_whole_cohort_is_s_norm(vectors: np.ndarray) -> None:
    e, t, cohort = vectors[:20], vectors[20:40], vectors[40:].astype(np.float64)
    s_norm = []
    for a, b in zip(e.astype(np.float64), t.astype(np.float64), strict=True):
        with_a, with_b = [cosine(a, c) for c in cohort], [cosine(b, c) for c in cohort]
        z, t_ = (cosine(a, b) - np.mean(with_a)) / np.std(with_a), (cosine(a, b) - np.mean(with_b)) / np.std(with_b)
        s_norm.append((z + t_) / 2)
    for top in (20, 500):
        assert Comparator(Cohort(vectors[40:], top)).pairs(e, t) == pytest.approx(s_norm, abs=1e-6)


def test_trials_by_index_equal_pairs_over_several_blocks(vectors: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    e, t = rng.integers(0, 40, 5_000), rng.integers(0, 40, 5_000)
    for cohort in (None, Cohort(vectors[40:], 5)):
        comparator = Comparator(cohort)
        assert comparator.trials(vectors[:40], e, t) == pytest.approx(
            comparator.pairs(vectors[e], vectors[t]), abs=1e-9
        )
    assert len(Comparator(Cohort(vectors)).pairs(vectors[:0], vectors[:0])) == 0


def test_the_mean_is_taken_from_all_sides(vectors: np.ndarray) -> None:
    mean = np.full(12, 0.5, np.float32)
    e, t, cohort = vectors[:20], vectors[20:40], vectors[40:]
    plain, with_cohort = Comparator(mean=mean), Comparator(Cohort(cohort, 5), mean)
    assert plain.pairs(e + mean, t + mean) == pytest.approx(Comparator().pairs(e, t), abs=1e-6)
    moved = Comparator(Cohort(cohort + mean, 5), mean)
    assert moved.pairs(e + mean, t + mean) == pytest.approx(Comparator(Cohort(cohort, 5)).pairs(e, t), abs=1e-4)
    assert not np.allclose(with_cohort.pairs(e, t), Comparator(Cohort(cohort, 5)).pairs(e, t), atol=0.1)


def test_statements_name_everything(vectors: np.ndarray) -> None:
    cohort = Cohort(vectors[40:], top=300)
    assert Comparator(cohort).name == "cosine, AS-norm (20 speakers, top 20)"  # as many as there are
    assert Comparator().statement == (
        "cosine; mean subtraction: none; score normalisation: none; cohort: none; K: none"
    )
    said = Comparator(cohort, vectors[0]).statement
    assert "mean subtraction: sha256 " in said
    assert f"cohort: 20 speakers (sha256 {cohort.sha256[:12]}); K: 20" in said
    assert Cohort(vectors[41:]).sha256 != cohort.sha256


def test_enrolment_weighs_recordings_equally(vectors: np.ndarray) -> None:
    assert enrol(vectors[:3] * np.array([[1], [10], [100]], np.float32)) == pytest.approx(enrol(vectors[:3]), abs=1e-6)
    assert np.linalg.norm(enrol(vectors[:3])) == pytest.approx(1, abs=1e-6)
    assert not unit(np.zeros((1, 3), np.float32)).any()


def test_unequal_sides_are_refused(vectors: np.ndarray) -> None:
    with pytest.raises(MetricError, match="equal shapes"):
        Comparator().pairs(vectors[:2], vectors[:3])
