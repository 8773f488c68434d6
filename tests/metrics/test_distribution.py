"""Distributions over ages: values by hand, and scores that are best where the prediction is the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from earwitness.core.errors import MetricError
from earwitness.metrics.distribution import (
    GridDistributions,
    coverage,
    crps,
    crps_each,
    distribution_figures,
    nll,
    nll_each,
)

AGES = np.arange(0.0, 101.0)


def bells(means, sd) -> GridDistributions:
    edges = np.append(AGES, AGES[-1] + 1) - 0.5
    cdf = stats.norm.cdf((edges - np.asarray(means)[:, None]) / np.reshape(sd, (-1, 1)))
    mass = np.diff(cdf, axis=1)
    return GridDistributions.of(AGES, mass / mass.sum(axis=1, keepdims=True))


@pytest.mark.shows("paralinguistic-metrics:6.1")
def test_values_of_the_definitions() -> None:
    three = GridDistributions.of([20, 21, 22], [[0.2, 0.5, 0.3], [0, 0, 1]])
    assert three.mean.tolist() == pytest.approx([21.1, 22])
    assert three.sd.tolist() == pytest.approx([0.7, 0])
    assert nll([21, 22], three) == pytest.approx(-math.log(0.5) / 2, rel=0, abs=1e-6)
    assert nll_each([20.5, 20], three).tolist() == pytest.approx([-math.log(0.5), -math.log(1e-12)])  # half upwards
    assert nll_each([90, 22.4], three).tolist() == pytest.approx([-math.log(1e-12), 0])  # off the grid
    # F = .2 .7 1 against 0 1 1, and 0 0 1 against 1 1 1
    assert crps_each([21, 20], three).tolist() == pytest.approx([0.04 + 0.09, 2], abs=1e-6)
    assert [end.tolist() for end in three.central(0.6)] == [[20, 22], [22, 22]]
    found = coverage([21, 30, 22, 10], [20, 20, 20, 20], [22, 24, 22, 22])
    assert (found.share, found.width, found.reliability) == pytest.approx((0.5, 2.5, -0.3))


def test_crps_of_a_point_is_the_absolute_error() -> None:
    points = GridDistributions.of(AGES, np.eye(101)[[20, 50, 70]])
    assert crps_each([25, 50, 61], points).tolist() == [5, 0, 9]
    assert crps([25, 50, 61], points) == pytest.approx(14 / 3)


def test_the_true_width_scores_best_and_covers_its_level() -> None:
    rng = np.random.default_rng(1)
    means = rng.uniform(30, 70, 4000)
    truth = np.round(means + rng.normal(0, 6, 4000))
    narrow, right, wide = (distribution_figures(truth, bells(means, sd)) for sd in (2.0, 6.0, 18.0))
    assert right.nll < min(narrow.nll, wide.nll)
    assert right.crps < min(narrow.crps, wide.crps)
    assert abs(right.coverage.reliability) < 0.05
    assert narrow.coverage.reliability < -0.3
    assert wide.coverage.reliability > 0.15
    assert right.coverage.width == pytest.approx(2 * 1.2816 * 6, abs=1)


def test_spread_that_follows_the_error_is_seen() -> None:
    rng = np.random.default_rng(2)
    means, sds = rng.uniform(40, 60, 2000), rng.uniform(1, 10, 2000)
    truth = np.round(means + sds * rng.standard_normal(2000))
    assert distribution_figures(truth, bells(means, sds)).sharpness > 0.4
    assert abs(distribution_figures(truth, bells(means, rng.permutation(sds))).sharpness) < 0.1
    assert math.isnan(distribution_figures([20, 21], GridDistributions.of(AGES, np.eye(101)[[20, 50]])).sharpness)


def test_refused() -> None:
    for grid, rows, why in (
        ([20, 21], [[0.5, 0.4]], "sum to 1"),
        ([21, 20], [[0.5, 0.5]], "does not rise"),
        ([20, 21], [[1.5, -0.5]], "negative"),
        ([20, 21], [0.5, 0.5], "shape"),
    ):
        with pytest.raises(MetricError, match=why):
            GridDistributions.of(grid, rows)
    two = GridDistributions.of([20, 22], [[0.5, 0.5]])
    with pytest.raises(MetricError, match="steps other than 1"):
        crps([20], two)
    with pytest.raises(MetricError, match="1 distributions for 2 rows"):
        nll([20, 21], two)
    with pytest.raises(MetricError, match="no share"):
        two.central(80)
