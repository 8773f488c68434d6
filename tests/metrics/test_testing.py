"""Tests, corrections and errors of means, against the figures of the sheet, by hand and against scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from earwitness.core.errors import MetricError
from earwitness.metrics.resampled import Resampling, p_value
from earwitness.metrics.testing import bias_corrected_accuracy, clustered_mean, holm, items_needed, mcnemar_exact


@pytest.mark.shows("speech-llm-landscape:7.5")
def test_bias_corrected_accuracy_of_the_sheet() -> None:
    found = bias_corrected_accuracy(0.62, 1000, sensitivity=0.9, specificity=0.8, right=100, wrong=100)
    assert found.value == pytest.approx(0.600)
    assert found.se == pytest.approx(0.0408, abs=5e-5)
    assert bias_corrected_accuracy(0.05, 10, sensitivity=0.9, specificity=0.8, right=9, wrong=9).value == 0.0
    with pytest.raises(MetricError, match="no better than chance"):
        bias_corrected_accuracy(0.5, 10, sensitivity=0.5, specificity=0.5, right=9, wrong=9)


@pytest.mark.shows("speech-llm-landscape:7.5")
def test_power_of_the_sheet() -> None:
    assert items_needed(0.5, 0.05) == 785


@pytest.mark.shows("speech-llm-landscape:7.5")
def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


@pytest.mark.shows("speech-llm-landscape:7.5")
def test_mcnemar_is_the_binomial_test() -> None:
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5, 5) == 1.0
    for first, second in ((1, 9), (9, 1), (0, 6), (12, 20)):
        assert mcnemar_exact(first, second) == pytest.approx(binomtest(first, first + second).pvalue)


@pytest.mark.shows("speech-llm-landscape:7.5")
def test_the_clustered_error_is_the_sum_over_pairs() -> None:
    rng = np.random.default_rng(1)
    x, clips = rng.normal(size=12), [f"c{i // 3}" for i in range(12)]
    off = x - x.mean()
    pairs = sum(off[i] * off[j] for i, j in itertools.product(range(12), repeat=2) if i != j and clips[i] == clips[j])
    assert clustered_mean(x, clips).se == pytest.approx(math.sqrt(x.var() / 12 + pairs / 144))
    assert clustered_mean(x, range(12)).se == pytest.approx(x.std() / math.sqrt(12))


def test_means_of_all_resamples_are_those_of_each() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(30, 2))
    values[:12, 1] = np.nan
    clips = [i // 3 for i in range(30)]
    resampling = Resampling.over(clips, n=50, seed=3)
    means = resampling.means(values)
    for draw, found in zip(resampling.draws, means, strict=True):
        weights = draw[resampling.codes]
        assert found[0] == pytest.approx(np.average(values[:, 0], weights=weights))
        assert found[1] == pytest.approx(np.average(values[12:, 1], weights=weights[12:]))
    assert resampling.carrying(np.isfinite(values[:, 1])) == 6
    interval = resampling.interval(float(values[:, 0].mean()), means[:, 0], 10)
    assert interval is not None
    assert interval.low < interval.value < interval.high
    assert (interval.n_units, interval.n_resamples) == (10, 50)


def test_a_value_of_one_clip_has_no_interval_where_it_is_hardly_drawn() -> None:
    drawn = np.full(2000, np.nan)
    drawn[:50] = 1.0
    resampling = Resampling.over([1, 2], n=10)
    assert resampling.interval(1.0, drawn, 2) is None
    assert resampling.interval(1.0, np.ones(2000), 1) is None
    assert resampling.interval(1.0, np.ones(2000), 2) is not None


def test_p_values_from_resamples() -> None:
    assert p_value(np.zeros(100)) == 1.0
    assert p_value(np.ones(1999)) == pytest.approx(2 / 2000)
    assert p_value(np.array([-1.0, 1.0, 1.0])) == 1.0


@pytest.mark.parametrize(
    "given",
    [(-0.1, 1, 0.05, 0.8), (1, 0, 0.05, 0.8), (1, 1, 0, 0.8), (1, 1, 1, 0.8), (1, 1, 0.05, 0), (1, 1, 0.05, 1)],
)
def test_each_value_out_of_range_is_refused(given: tuple[float, float, float, float]) -> None:
    sd, effect, alpha, power = given
    with pytest.raises(MetricError, match="items needed"):
        items_needed(sd, effect, alpha=alpha, power=power)
    assert items_needed(0, 1) == 1


def test_probabilities_may_be_0_and_1() -> None:
    assert holm([0.0, 1.0]).tolist() == [0.0, 1.0]
    for wrong in (-0.01, 1.01):
        with pytest.raises(MetricError, match="between 0 and 1"):
            holm([0.5, wrong])


def test_one_item_of_a_kind_is_enough_and_none_is_not() -> None:
    assert bias_corrected_accuracy(1.0, 1, sensitivity=1.0, specificity=1.0, right=1, wrong=1).value == 1.0
    for counts in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(MetricError, match="no items of a kind"):
            bias_corrected_accuracy(1.0, counts[0], sensitivity=1.0, specificity=1.0, right=counts[1], wrong=counts[2])
