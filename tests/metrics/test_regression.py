"""Errors of predicted numbers: values by hand, scipy and scikit-learn on random cases, weights as copies, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn
from scipy import stats
from sklearn import metrics as sk

from earwitness.core.errors import MetricError
from earwitness.metrics.bootstrap import Units, bootstrap
from earwitness.metrics.regression import (
    balanced_mae,
    ccc,
    cumulative_score,
    geometric_mean_error,
    group_accuracy,
    interval_errors,
    mae,
    mse,
    pearson,
    r2,
    regression_figures,
    rmse,
    speaker_errors,
    spearman,
)

EXACT = {"rel": 0, "abs": 1e-6}


@pytest.mark.shows("paralinguistic-metrics:6.1")
def test_values_of_the_definitions() -> None:
    truth = np.array([20.0, 30, 40, 50])
    off = truth + np.array([1, -2, 4, -8])
    assert mae(truth, off) == pytest.approx(3.75, **EXACT)
    assert geometric_mean_error(truth, off) == pytest.approx(2.828427, **EXACT)
    assert mse(truth, off) == pytest.approx(21.25, **EXACT)
    assert rmse(truth, off) == pytest.approx(math.sqrt(21.25), **EXACT)
    assert r2(truth, off) == pytest.approx(1 - 21.25 / 125, **EXACT)
    assert ccc(truth, [22, 29, 43, 48]) == pytest.approx(0.980810, **EXACT)
    assert ccc(truth, truth + 5) == pytest.approx(0.909091, **EXACT)
    assert ccc(truth, truth.mean() + (truth - truth.mean()) / 2) == pytest.approx(0.8, **EXACT)
    assert pearson(truth, truth + 5) == pytest.approx(1, **EXACT)
    assert cumulative_score(truth, off, limit=4) == 0.75
    # 20.2 and 20.9 are one completed year: (mean(1, 3) + 5) / 2
    assert balanced_mae([20.2, 20.9, 31], [21.2, 23.9, 26]) == pytest.approx(3.5, **EXACT)
    # 18 | 20 .. 29 | 30 ..: the edge itself is of the group above
    found = group_accuracy([18, 25, 30, 41], [19.99, 30, 30, 29], (20, 30))
    assert found.value == pytest.approx(0.5, **EXACT)
    assert found.counts.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 1]]
    assert "edges 20, 30" in str(found)


@pytest.mark.shows("paralinguistic-metrics:6.7")
def test_one_exact_hit_in_a_geometric_mean() -> None:
    assert geometric_mean_error([20, 30], [20, 31], guard=0) == 0
    assert geometric_mean_error([20, 30], [20, 31]) == pytest.approx(1e-5, rel=1e-6)
    assert geometric_mean_error([20, 30], [20 + 1e-12, 31]) == pytest.approx(1e-6, rel=1e-2)  # only exact zeros


@pytest.mark.shows("paralinguistic-metrics:6.2")
def test_equal_to_scipy_and_scikit_learn_on_a_thousand_cases() -> None:
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(3, 40))
        y = rng.integers(6, 90, n).astype(float)
        f = y + rng.normal(0, rng.uniform(0.1, 20), n) if seed % 2 else rng.integers(6, 90, n).astype(float)
        with sklearn.config_context(skip_parameter_validation=True):
            outside = (sk.mean_absolute_error(y, f), sk.mean_squared_error(y, f), sk.r2_score(y, f))
        assert mae(y, f) == pytest.approx(outside[0], abs=1e-9)
        assert mse(y, f) == pytest.approx(outside[1], abs=1e-9)
        if len(set(y)) > 1 and len(set(f)) > 1:
            assert r2(y, f) == pytest.approx(outside[2], abs=1e-9)
            assert pearson(y, f) == pytest.approx(stats.pearsonr(y, f).statistic, abs=1e-9)
            assert spearman(y, f) == pytest.approx(stats.spearmanr(y, f).statistic, abs=1e-9)
            assert abs(ccc(y, f)) <= abs(pearson(y, f)) + 1e-12
        if (y != f).all():
            assert geometric_mean_error(y, f) == pytest.approx(stats.gmean(np.abs(y - f)), rel=1e-9)


def test_weights_count_as_copies() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        y, f = rng.integers(10, 30, 20).astype(float), rng.integers(10, 30, 20).astype(float)
        counts = rng.integers(0, 4, 20)
        copied = regression_figures(np.repeat(y, counts), np.repeat(f, counts))
        weighted = regression_figures(y, f, counts)
        for name in ("mae", "mse", "rmse", "pearson", "spearman", "ccc", "r2", "gm", "bmae", "cs"):
            assert getattr(weighted, name) == pytest.approx(getattr(copied, name), abs=1e-9), name


def test_what_is_not_defined_is_nan() -> None:
    assert math.isnan(pearson([1, 2, 3], [0.1, 0.1, 0.1]))
    assert math.isnan(pearson([5, 5], [1, 2]))
    assert math.isnan(spearman([1, 2, 3], [4, 4, 4]))
    assert math.isnan(r2([5, 5], [1, 2]))
    assert math.isnan(ccc([5, 5], [5, 5]))
    assert ccc([1, 2, 3], [2, 2, 2]) == 0
    assert ccc([5, 5], [6, 6]) == 0


def test_distance_from_an_age_band() -> None:
    assert interval_errors([25, 33, 18.5], [20, 20, 20], [29, 29, 29]).tolist() == [0, 4, 1.5]
    with pytest.raises(MetricError, match="index 1 ends before"):
        interval_errors([1, 1], [0, 3], [2, 2])


def test_by_speaker_the_mean_prediction_counts() -> None:
    found = speaker_errors([20, 20, 40], [16, 24, 45], ["b", "b", "a"])
    assert found.speakers == ("a", "b")
    assert found.errors.tolist() == [5, 0]
    assert found.mae == 2.5
    with pytest.raises(MetricError, match="'b' is 20 and 21 years old"):
        speaker_errors([20, 21], [20, 20], ["b", "b"])


@pytest.mark.shows("paralinguistic-metrics:6.8")
def test_intervals_over_speakers_are_wider_where_speakers_have_an_effect() -> None:
    """20 speakers of 10 clips, an error of the speaker (SD 6) and one of the clip (SD 2): by clip the interval of the
    bias pretends to 200 independent errors. Without an effect of the speaker the two are about equally wide."""
    rng = np.random.default_rng(8)
    speakers = np.repeat(np.arange(20), 10)
    ages = np.repeat(rng.uniform(20, 70, 20), 10)

    def widths(effect: float) -> tuple[float, float]:
        predicted = ages + effect * rng.standard_normal(20)[speakers] + 2 * rng.standard_normal(200)
        found = []
        for units in (Units.of(speakers, "speaker"), Units.each(200, "clip")):
            (interval,) = bootstrap(lambda counts, u=units: [mae(ages, predicted, u.weights(counts))], units, n=1000)
            found.append(interval.high - interval.low)
        return found[0], found[1]

    by_speaker, by_clip = widths(6.0)
    assert by_speaker > 1.5 * by_clip
    by_speaker, by_clip = widths(0.0)
    assert by_speaker < 1.5 * by_clip


def test_refused() -> None:
    for truth, predicted in (([], []), ([1, 2], [1]), ([1, float("nan")], [1, 2])):
        with pytest.raises(MetricError):
            mae(truth, predicted)
    with pytest.raises(MetricError, match="do not rise"):
        group_accuracy([1], [1], (30, 20))
