"""Slerp: the golden case, its facts on random vectors, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from earwitness.core.errors import DataError
from earwitness.speaker.identity_expansion.interpolation import angle, lerp, slerp


def units(seed: int, count: int, dim: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.shows("inside:6.1")
def test_the_golden_case() -> None:
    a, b = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    middle = slerp(a, b, 0.5)
    np.testing.assert_allclose(middle, (0.70711, 0.70711), atol=5e-6)
    assert abs(np.linalg.norm(middle) - 1) < 1e-7
    np.testing.assert_array_equal(slerp(a, b, 0), a)
    np.testing.assert_array_equal(slerp(a, b, 1), b)
    for alpha in (0.0, 0.1, 0.3, 0.5, 0.9, 1.0):
        np.testing.assert_allclose(slerp(a, b, alpha), slerp(b, a, 1 - alpha), atol=1e-12)
    first, second = units(4, 2, 7)
    np.testing.assert_array_equal(slerp(first, second, 0), first / np.linalg.norm(first))
    np.testing.assert_allclose(slerp(first, second, 0.2), slerp(second, first, 0.8), atol=1e-12)


@pytest.mark.shows("inside:6.2")
def test_a_thousand_random_pairs() -> None:
    rng = np.random.default_rng(0)
    for first, second in zip(units(1, 1000, 24), units(2, 1000, 24), strict=True):
        alpha = rng.random()
        theta = math.acos(np.clip(first @ second, -1, 1))
        made = slerp(first, second, alpha)
        assert abs(np.linalg.norm(made) - 1) < 1e-6
        assert abs(made @ first - math.cos(alpha * theta)) < 1e-6
        assert abs(made @ second - math.cos((1 - alpha) * theta)) < 1e-6
        mean = first + second
        np.testing.assert_allclose(slerp(first, second, 0.5), mean / np.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize(("cosine", "expected"), [(0.5, 0.866), (0.6, 0.894), (0.7, 0.922), (0.8, 0.949), (0.9, 0.975)])
def test_how_like_its_parents_a_middle_is(cosine: float, expected: float) -> None:
    a, b = np.array([1.0, 0.0]), np.array([cosine, math.sqrt(1 - cosine**2)])
    assert slerp(a, b) @ a == pytest.approx(expected, abs=5e-4)
    assert slerp(a, b) @ b == pytest.approx(math.sqrt((1 + cosine) / 2), abs=1e-12)


def test_near_and_opposite_vectors() -> None:
    a = np.array([1.0, 0.0])
    near = np.array([math.cos(5e-5), math.sin(5e-5)])
    np.testing.assert_allclose(slerp(a, near, 0.3), (a + near) / np.linalg.norm(a + near), atol=1e-15)
    assert angle(a, near) == pytest.approx(5e-5, rel=1e-6)
    with pytest.raises(DataError, match="opposite"):
        slerp(a, [-1.0, 5e-5])
    assert slerp(a, [-1.0, 3e-4], 0.5)[1] == pytest.approx(1, abs=1e-3)


def test_what_has_no_direction_is_refused() -> None:
    for wrong in ([0.0, 0.0], [np.nan, 1.0], [[1.0, 0.0]]):
        with pytest.raises(DataError, match="no direction"):
            slerp([1.0, 0.0], wrong)
    for mix in (slerp, lerp):
        with pytest.raises(DataError, match="outside of the two"):
            mix([1.0, 0.0], [0.0, 1.0], 1.5)


def test_lerp_differs_from_slerp_but_at_one_half() -> None:
    a, b = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    np.testing.assert_allclose(lerp(a, b, 0.3), (0.7, 0.3))
    assert np.linalg.norm(lerp(a, b, 0.3)) < 0.8
    direction = lerp(a, b, 0.3) / np.linalg.norm(lerp(a, b, 0.3))
    assert np.abs(direction - slerp(a, b, 0.3)).max() > 0.02
    np.testing.assert_allclose(lerp(a, b, 0.5) / np.linalg.norm(lerp(a, b, 0.5)), slerp(a, b, 0.5))
