"""Score lists that the metrics are checked on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Scores = NDArray[np.float64]
M = 65521


def _sequence(n: int, a: int, b: int, mean: float, spread: float) -> Scores:
    """Integer-seeded scores of a bell-like shape, the same on every machine."""
    j = np.arange(1, n + 1)
    u, v, w = ((a * j + b * j * j) % M) / M, ((b * j + a * j * j) % M) / M, (((a + b) * j + 7 * j * j) % M) / M
    return np.asarray(mean + 2 * spread * (u + v + w - 1.5))


@pytest.fixture(scope="session", name="sequence")
def sequence_fixture() -> Callable[[int, int, int, float, float], Scores]:
    """sequence(n, a, b, mean, spread): made-up scores."""
    return _sequence


@pytest.fixture(scope="session")
def list_a() -> tuple[Scores, Scores]:
    """200 bona fide and 800 spoof scores whose official figures are known."""
    return _sequence(200, 7919, 31, 1, 1), _sequence(800, 10473, 17, -1, 1)


@pytest.fixture(scope="session")
def toy() -> tuple[list[float], list[float]]:
    """Targets and non-targets of a hand-computed example."""
    return [0.9, 0.8, 0.7, 0.4], [0.6, 0.5, 0.3, 0.2, 0.1, 0.05]


@pytest.fixture(scope="session")
def toy_llr() -> tuple[list[float], list[float]]:
    """Log-likelihood ratios of a hand-computed example."""
    return [6, 5, 4, 2], [3, -1, -4, -6, -7, -8]


@pytest.fixture(scope="session")
def tied_sets() -> list[tuple[Scores, Scores]]:
    """200 random sets of few trials with many ties."""

    def one(seed: int) -> tuple[Scores, Scores]:
        rng = np.random.default_rng(seed)
        levels = int(rng.integers(2, 12))
        shift = int(rng.integers(-1, 4))
        pos = rng.integers(0, levels, rng.integers(1, 30)) + shift
        return pos.astype(float), rng.integers(0, levels, rng.integers(1, 30)).astype(float)

    return [one(seed) for seed in range(200)]


@pytest.fixture(scope="session")
def clustered() -> Callable[[int], tuple[Scores, Scores, Scores, Scores]]:
    """clustered(seed): scores and unit ids of positives and negatives, 40 units a class with an effect of the unit."""

    def make(seed: int) -> tuple[Scores, Scores, Scores, Scores]:
        rng = np.random.default_rng(seed)
        ids = np.repeat(np.arange(40), 10)
        pos = 1.2 + 0.7 * rng.standard_normal(40)[ids] + rng.standard_normal(400)
        neg = -1.2 + 0.7 * rng.standard_normal(40)[ids] + rng.standard_normal(400)
        return pos, neg, ids, ids

    return make
