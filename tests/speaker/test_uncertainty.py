"""Scoring with the variance of embeddings: the sheet's numbers, and what must hold of any score."""

from __future__ import annotations

import math

import numpy as np
import pytest

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats
from earwitness.speaker.comparison import Cohort, Comparator, Vectors
from earwitness.speaker.uncertainty import (
    amplification,
    doubtful_statistics,
    doubts,
    factors,
    harmonic_variance,
    variance_scale,
)


def drawn(*shape: int, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def one(*values: float) -> Floats:
    return np.array([values], np.float64)


@pytest.mark.shows("xi-plus:6.7")
def test_golden_scores() -> None:
    e, t, ve, vt = one(3, 4), one(4, 3), one(1, 0), one(0, 3)
    assert amplification(e, ve) == pytest.approx(1.10432, abs=5e-6)
    assert amplification(t, vt) == pytest.approx(1.17041, abs=5e-6)
    score = Comparator(use="up_cos").pairs(e.astype("f4"), t.astype("f4"), (ve.astype("f4"), vt.astype("f4")))
    assert score == pytest.approx(1.24080, abs=5e-6)
    lower = Comparator(use="conservative").pairs(e.astype("f4"), t.astype("f4"), (ve.astype("f4"), vt.astype("f4")))
    assert lower == pytest.approx(0.96**2 / 1.24080, abs=5e-6)
    assert amplification(drawn(5, 7), np.ones((5, 7))) == pytest.approx(math.sqrt(2), abs=1e-12)


@pytest.mark.shows("xi-plus:6.7")
@pytest.mark.parametrize("use", ["up_cos", "conservative"])
def test_without_variance_it_is_the_cosine_exactly(use: str) -> None:
    e, t = drawn(20, 8), drawn(20, 8, seed=1)
    nothing = np.zeros_like(e)
    scores = Comparator(use=use).pairs(e, t, (nothing, nothing))  # type: ignore[arg-type]
    assert np.array_equal(scores, Comparator().pairs(e, t))


@pytest.mark.shows("xi-plus:6.7")
@pytest.mark.parametrize("use", ["up_cos", "conservative"])
def test_equal_variances_rank_as_the_cosine_does(use: str) -> None:
    e, t = drawn(50, 8), drawn(50, 8, seed=1)
    same = np.full_like(e, 0.37)
    scores = Comparator(use=use).pairs(e, t, (same, same))  # type: ignore[arg-type]
    assert np.array_equal(np.argsort(scores), np.argsort(Comparator().pairs(e, t)))


def test_which_way_an_uncertain_recording_is_moved() -> None:
    e, t = np.abs(drawn(30, 8)), np.abs(drawn(30, 8, seed=1))
    little, much = np.full_like(e, 0.1), np.abs(drawn(30, 8, seed=2)) + 0.5
    for use, sign in (("up_cos", 1), ("conservative", -1)):
        comparator = Comparator(use=use)  # type: ignore[arg-type]
        difference = comparator.pairs(e, t, (much, little)) - comparator.pairs(e, t, (little, little))
        assert (sign * difference > 0).all()
    assert (factors("conservative", e, much) * factors("up_cos", e, much)) == pytest.approx(1)
    assert amplification(3 * e, much) == pytest.approx(amplification(e, much))  # of any length


def test_the_two_sides_are_alike() -> None:
    e, t, ve, vt = drawn(9, 8), drawn(9, 8, seed=1), drawn(9, 8, seed=2) ** 2, drawn(9, 8, seed=3) ** 2
    cohort = Cohort(drawn(12, 8, seed=4), 5, variances=drawn(12, 8, seed=5) ** 2)
    comparator = Comparator(cohort, use="conservative")
    assert comparator.pairs(e, t, (ve, vt)) == pytest.approx(comparator.pairs(t, e, (vt, ve)), abs=1e-12)


def test_uncertainty_aware_as_norm_by_hand() -> None:
    e, t, ve, vt = drawn(1, 6), drawn(1, 6, seed=1), drawn(1, 6, seed=2) ** 2, drawn(1, 6, seed=3) ** 2
    cohort, doubt = drawn(10, 6, seed=4), drawn(10, 6, seed=5) ** 2

    def unit(x: Vectors) -> Floats:
        return x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=-1, keepdims=True)

    s = float((unit(e) @ unit(t).T)[0, 0])
    expected = 0.0
    for side, v in ((e, ve), (t, vt)):
        cosines = (unit(side) @ unit(cohort).T)[0]
        best = np.argsort(cosines)[-4:]
        p = 1 / ((doubt[best] * unit(cohort)[best] ** 2).sum(axis=1) + 1e-6)
        mean = (p * cosines[best]).sum() / p.sum()
        deviation = math.sqrt((p * (cosines[best] - mean) ** 2).sum() / p.sum() + 1e-6)
        expected += amplification(side, v)[0] * (s - mean) / deviation
    comparator = Comparator(Cohort(cohort, 4, variances=doubt), use="up_cos")
    assert comparator.pairs(e, t, (ve, vt)) == pytest.approx(expected, abs=1e-5)


def test_equally_doubtful_cohorts_weigh_alike() -> None:
    cosines = drawn(5, 20).astype(np.float64)
    found = doubtful_statistics(cosines, np.full(20, 0.3), 6)
    best = np.sort(cosines, axis=1)[:, -6:]
    assert found.mean == pytest.approx(best.mean(axis=1))
    assert found.deviation == pytest.approx(np.sqrt(best.var(axis=1) + 1e-6))
    assert doubts(one(3, 4), one(1, 2)) == pytest.approx(0.36 + 2 * 0.64)


def test_what_is_not_stated_is_refused() -> None:
    e = drawn(2, 4)
    with pytest.raises(MetricError, match="no variance"):
        Comparator(use="up_cos").pairs(e, e)
    with pytest.raises(MetricError, match="cohort"):
        Comparator(Cohort(drawn(9, 4), 5), use="up_cos").pairs(e, e, (e**2, e**2))
    with pytest.raises(MetricError, match="shape"):
        amplification(e, e[:, :2])
    with pytest.raises(MetricError, match="negative"):
        amplification(e, -(e**2))


def test_how_a_comparison_is_told() -> None:
    cohort = Cohort(drawn(9, 4), 5, variances=drawn(9, 4) ** 2)
    said = Comparator(cohort, use="up_cos").statement
    assert "uncalibrated: more variance, stronger score" in said
    assert "uncertainty-aware AS-norm" in said
    assert "weaker score" in Comparator(use="conservative").name
    assert Comparator(cohort).using("conservative").cohort is cohort


def test_chunks_as_released_and_one_chunk_as_it_is() -> None:
    v = np.array([[0.2, 1.0], [0.6, 1e-9]])
    found = harmonic_variance(v, np.array([1.0, 3.0]))
    assert found == pytest.approx([1 / (0.25 / 0.2 + 0.75 / 0.6), 1 / (0.25 / 1.0 + 0.75 / 1e-6)])
    assert harmonic_variance(np.repeat(v[:1], 4, axis=0), np.ones(4)) == pytest.approx(v[0])  # more data, same variance
    assert np.array_equal(harmonic_variance(v[1:], np.ones(1)), v[1].astype(np.float32))


def test_the_scale_of_a_variance_is_found_again() -> None:
    """Embeddings that vary by three times what is stated, five a speaker."""
    rng = np.random.default_rng(0)
    stated = rng.uniform(0.1, 2, (2000, 8))
    speakers = np.repeat([f"s{i}" for i in range(400)], 5)
    centres = np.repeat(10 * rng.standard_normal((400, 8)), 5, axis=0)
    embeddings = centres + np.sqrt(3 * stated) * rng.standard_normal(stated.shape)
    assert variance_scale(embeddings, stated, speakers) == pytest.approx(3, rel=0.05)
    assert variance_scale(embeddings[::5], stated[::5], speakers[::5]) is None
