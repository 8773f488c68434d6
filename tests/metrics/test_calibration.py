"""Cllr, calibration, bounds and words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from earwitness.core.errors import MetricError
from earwitness.metrics import (
    AffineCalibration,
    bounded,
    cllr,
    elub_bounds,
    fit_logistic,
    min_cllr,
    verbal_scale,
)


class TestCllr:
    @pytest.mark.shows("speaker-metrics:9.1")
    def test_known_values(self, toy, toy_llr) -> None:
        assert cllr(*toy) == pytest.approx(0.91005, abs=5e-6)
        assert cllr(*toy_llr) == pytest.approx(0.43463, abs=5e-6)
        assert min_cllr(*toy) == pytest.approx(0.287358, abs=5e-7)

    def test_no_overflow(self) -> None:
        assert cllr([-1e6], [0.0]) == pytest.approx((1e6 / math.log(2) + 1) / 2)

    def test_minimum_by_scikit_learn(self, tied_sets) -> None:
        """The isotonic posterior of an outside library, turned into likelihood ratios."""
        for pos, neg in tied_sets:
            truth, pooled = np.append(np.ones(len(pos)), np.zeros(len(neg))), np.append(pos, neg)
            weight = np.append(np.full(len(pos), 1 / len(pos)), np.full(len(neg), 1 / len(neg)))
            p = IsotonicRegression().fit(pooled, truth, sample_weight=weight).predict(pooled)
            cost = np.where(truth == 1, -np.log2(np.clip(p, 1e-300, 1)), -np.log2(np.clip(1 - p, 1e-300, 1)))
            assert min_cllr(pos, neg) == pytest.approx(float(weight @ cost) / 2, abs=1e-9)

    def test_minimum_below_any_affine_map(self, list_a) -> None:
        pos, neg = list_a
        lowest = min_cllr(pos, neg)
        assert lowest == pytest.approx(min_cllr(np.exp(pos), np.exp(neg)), abs=1e-12)
        assert all(lowest <= cllr(a * pos + b, a * neg + b) for a in (0.3, 1, 2, 5) for b in (-1, 0, 1))


class TestLogistic:
    @pytest.mark.parametrize("prior", [0.5, 0.05, 0.95])
    def test_equals_an_outside_optimiser(self, list_a, prior: float) -> None:
        pos, neg = list_a
        shift = math.log(prior / (1 - prior))

        def loss(theta: np.ndarray) -> float:
            p, n = theta[0] * pos + theta[1] + shift, theta[0] * neg + theta[1] + shift
            return float(prior * np.logaddexp(0, -p).mean() + (1 - prior) * np.logaddexp(0, n).mean())

        found = fit_logistic(pos, neg, prior)
        best = minimize(loss, [1.0, 0.0], method="BFGS", options={"gtol": 1e-10})
        assert (found.scale, found.offset) == pytest.approx(tuple(best.x), abs=1e-5)

    def test_equals_scikit_learn(self, list_a) -> None:
        pos, neg = list_a
        model = LogisticRegression(C=1e10, class_weight="balanced", tol=1e-10)
        model.fit(np.concatenate(list_a)[:, None], np.append(np.ones(len(pos)), np.zeros(len(neg))))
        found = fit_logistic(pos, neg)
        assert found.scale == pytest.approx(model.coef_[0, 0], abs=1e-4)
        assert found.offset == pytest.approx(model.intercept_[0], abs=1e-4)

    def test_recovers_likelihood_ratios(self) -> None:
        """Unit normals at +-1: the true ratio is 2 s; scores come squeezed and shifted."""
        rng = np.random.default_rng(0)
        pos, neg = rng.normal(1, 1, 20_000), rng.normal(-1, 1, 20_000)
        found = fit_logistic(0.01 * pos + 7, 0.01 * neg + 7)
        assert found.llr([7.01, 6.98]) == pytest.approx([2, -4], abs=0.15)
        held = rng.normal(1, 1, 5_000), rng.normal(-1, 1, 5_000)
        loss = cllr(found.llr(0.01 * held[0] + 7), found.llr(0.01 * held[1] + 7)) - min_cllr(*held)
        assert 0 <= loss < 0.02

    def test_refuses_wrong_polarity(self, list_a) -> None:
        with pytest.raises(MetricError, match="do not favour the positive class"):
            fit_logistic(list_a[1], list_a[0])
        with pytest.raises(MetricError, match="do not favour"):
            fit_logistic([0, 1], [2, 3])

    def test_separated_classes(self) -> None:
        with pytest.raises(MetricError, match="do not overlap"):
            fit_logistic([2, 3, 4], [-1, 0, 1])
        found = fit_logistic([2, 3, 4], [-1, 0, 1], misleading=1)
        assert 0 < found.scale < 10

    def test_constant_scores(self) -> None:
        with pytest.raises(MetricError, match="all scores are equal"):
            fit_logistic(np.ones(3), np.ones(3))


def normal_llrs(seed: int, distance: float, n_pos: int, n_neg: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scale = distance**2 / 2
    return rng.normal(scale, distance, n_pos), rng.normal(-scale, distance, n_neg)


class TestElub:
    @pytest.mark.parametrize("seed", range(20))
    def test_definition_on_a_grid(self, seed: int) -> None:
        """Bounds found by trying thresholds: within them listening pays, just beyond them it does not."""
        pos, neg = normal_llrs(seed, 1 + seed / 5, 60, 90)

        def pays(llr: float) -> bool:
            threshold = math.exp(llr)
            miss = (np.sum(pos <= llr) + 1) / (len(pos) + 1)
            false_alarm = (np.sum(neg > llr) + 1) / (len(neg) + 1)
            return bool(miss + threshold * false_alarm <= min(1, threshold))

        low, high = elub_bounds(pos, neg)
        assert all(pays(x) for x in np.linspace(0, high - 1e-9, 300)) or high == 0
        assert not pays(high + 1e-9)
        assert all(pays(-x) for x in np.linspace(1e-9, -low - 1e-9, 300)) or low == 0
        assert not pays(low - 1e-9)

    def test_one_misleading_trial_sets_the_limit(self) -> None:
        low, high = elub_bounds(np.full(99, 30.0), np.full(199, -30.0))
        assert high == pytest.approx(math.log(0.99 * 200))
        assert low == pytest.approx(-math.log(0.995 * 100))

    def test_useless_ratios_are_not_supported(self) -> None:
        assert elub_bounds([-3.0, -2.0], [2.0, 3.0]) == (0, 0)

    def test_mirror(self) -> None:
        pos, neg = normal_llrs(3, 2, 80, 50)
        low, high = elub_bounds(pos, neg)
        assert elub_bounds(-neg, -pos) == pytest.approx((-high, -low))
        assert bounded([-99, 0.1, 99], (low, high)) == pytest.approx([low, 0.1, high])


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1, "no support either way"),
        (1.99, "no support either way"),
        (2, "weak support"),
        (10, "moderate support"),
        (100, "moderately strong support"),
        (1_000, "strong support"),
        (10_000, "very strong support"),
        (999_999, "very strong support"),
        (1_000_001, "extremely strong support"),
    ],
)
def test_verbal_scale(ratio: float, words: str) -> None:
    assert verbal_scale(math.log(ratio)) == words
    assert verbal_scale(-math.log(ratio)) == words


def test_verbal_scale_has_no_words_for_nan() -> None:
    with pytest.raises(MetricError):
        verbal_scale(math.nan)
    assert verbal_scale(math.inf) == "extremely strong support"


def test_affine() -> None:
    assert AffineCalibration(2.0, -1.0).llr([0.0, 1.5]) == pytest.approx([-1, 2])
