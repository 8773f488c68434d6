"""Error rates, EER and detection cost against hand-computed values, brute force and scikit-learn."""

from __future__ import annotations

import math
import time
import tracemalloc
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from earwitness.core.errors import MetricError
from earwitness.metrics import (
    ASVSPOOF5,
    EER_DEFINITIONS,
    VOX01,
    DetectionCost,
    EerMethod,
    act_dcf,
    auc,
    cllr,
    eer,
    error_rates,
    min_cllr,
    min_dcf,
)

METHODS = list(EER_DEFINITIONS)
scores = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=40)


def brute_points(pos: np.ndarray, neg: np.ndarray) -> list[tuple[float, float]]:
    """(miss, false alarm) at every score and at infinity, counted trial by trial."""
    thresholds = [*sorted({*pos.tolist(), *neg.tolist()}), math.inf]
    return [(sum(p < t for p in pos) / len(pos), sum(n >= t for n in neg) / len(neg)) for t in thresholds]


def brute_eer(pos: np.ndarray, neg: np.ndarray) -> float:
    points = brute_points(pos, neg)
    for (m1, f1), (m2, f2) in pairwise(points):
        if m1 < f1 and m2 >= f2:
            part = (f1 - m1) / ((f1 - m1) + (m2 - f2))
            return m1 + part * (m2 - m1)
    raise AssertionError("no crossing")


def brute_rocch(pos: np.ndarray, neg: np.ndarray) -> float:
    """Lowest crossing of the diagonal by any straight line between two operating points."""
    points = brute_points(pos, neg)
    lowest = 1.0
    for (m1, f1), (m2, f2) in product(points, points):
        if m1 <= f1 and m2 >= f2 and (f1 - m1) + (m2 - f2) > 0:
            lowest = min(lowest, m1 + (f1 - m1) / ((f1 - m1) + (m2 - f2)) * (m2 - m1))
        elif m1 == f1:
            lowest = min(lowest, m1)
    return lowest


class TestEer:
    @pytest.mark.shows("speaker-metrics:9.1")
    @pytest.mark.parametrize(
        ("method", "value"),
        [("interpolated", 0.25), ("nearest_mean", 0.29166667), ("nearest_max", 0.33333333), ("rocch", 1 / 7)],
    )
    def test_toy(self, toy, method: EerMethod, value: float) -> None:
        assert eer(*toy, method).value == pytest.approx(value, abs=1e-8)

    @pytest.mark.shows("detection-metrics:9.D")
    def test_constant_separated_zero_and_swapped(self, list_a) -> None:
        constant = np.full(7, 0.3)
        assert eer(constant, constant[:3], "asvspoof").value == 1.0
        assert eer(constant, constant[:3]).value == 0.5
        assert eer([2, 3, 4], [-1, 0, 1], "asvspoof").value == 0.0
        assert eer([2, 3, 4], [-1, 0, 1]).value == 0.0
        assert cllr(np.zeros(4), np.zeros(9)) == 1.0
        pos, neg = list_a
        assert eer(-neg, -pos).value == pytest.approx(eer(pos, neg).value, abs=1e-12)
        assert eer(-neg, -pos, "asvspoof").value == pytest.approx(0.16, abs=1 / 200)

    @pytest.mark.shows("speaker-metrics:9.3")
    def test_brute_force(self, tied_sets) -> None:
        assert len(tied_sets) == 200
        for pos, neg in tied_sets:
            assert eer(pos, neg).value == pytest.approx(brute_eer(pos, neg), abs=1e-12)
            assert eer(pos, neg, "rocch").value == pytest.approx(brute_rocch(pos, neg), abs=1e-12)

    def test_nearest_is_the_nearest(self, tied_sets) -> None:
        for pos, neg in tied_sets:
            points = brute_points(pos, neg)
            gap = min(abs(m - f) for m, f in points)
            near = [(m, f) for m, f in points if abs(m - f) < gap + 1e-12]
            assert any(eer(pos, neg, "nearest_mean").value == pytest.approx((m + f) / 2) for m, f in near)
            assert any(eer(pos, neg, "nearest_max").value == pytest.approx(max(m, f)) for m, f in near)

    def test_official_is_a_stable_sort(self, tied_sets) -> None:
        for pos, neg in tied_sets:
            pooled = [(s, 0) for s in pos] + [(s, 1) for s in neg]
            pooled.sort(key=lambda trial: trial[0])
            rejected, best = [0, 0], (1.0, 0.5)
            for _, label in pooled:
                rejected[label] += 1
                miss, false_alarm = rejected[0] / len(pos), (len(neg) - rejected[1]) / len(neg)
                if abs(miss - false_alarm) < best[0]:  # rounding decides, as there
                    best = (abs(miss - false_alarm), (miss + false_alarm) / 2)
            assert eer(pos, neg, "asvspoof").value == pytest.approx(best[1], abs=1e-12)

    def test_threshold_gives_the_rate(self, list_a) -> None:
        pos, neg = list_a
        found = eer(pos, neg)
        assert np.mean(pos < found.threshold) == pytest.approx(found.value, abs=1 / 200)
        assert np.mean(neg >= found.threshold) == pytest.approx(found.value, abs=1 / 200)

    @given(scores, scores)
    def test_between_the_classes_swapped(self, pos: list[float], neg: list[float]) -> None:
        value = eer(pos, neg).value
        assert 0 <= value <= 1
        assert eer(pos, neg, "rocch").value <= min(value, 0.5) + 1e-12
        assert eer(neg, pos).value == pytest.approx(1 - value, abs=1e-12)

    def test_ties_are_counted_across_classes_only(self) -> None:
        assert eer([1, 1, 2], [0, 0, 3]).tied_fraction == 0
        found = eer([1, 1, 2], [1, 0, 3])
        assert found.tied_fraction == 0.5
        assert found.many_ties
        assert eer([1, 1, 2], [1, 0, 3], "asvspoof").tied_fraction == 0.5

    @pytest.mark.shows("speaker-metrics:9.3")
    def test_many_trials_are_quick_and_small(self) -> None:
        """580,000 trials, as many as Vox1-E has: below 2 s and 200 MB."""
        rng = np.random.default_rng(0)
        pos, neg = rng.normal(1, 1, 40_000), rng.normal(-1, 1, 540_000)
        start = time.perf_counter()
        eer(pos, neg)
        assert time.perf_counter() - start < 2
        tracemalloc.start()
        try:
            for method in METHODS:
                eer(pos, neg, method)
            min_dcf(pos, neg, VOX01)
            min_cllr(pos, neg)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 200e6


class TestErrorRates:
    def test_ends_and_counts(self, toy) -> None:
        rates = error_rates(*toy)
        assert (rates.miss[0], rates.false_alarm[0]) == (0, 1)
        assert (rates.miss[-1], rates.false_alarm[-1]) == (1, 0)
        assert rates.thresholds[-1] == np.inf
        assert list(zip(rates.miss, rates.false_alarm, strict=True)) == brute_points(*map(np.array, toy))

    def test_equal_to_scikit_learn(self, list_a) -> None:
        pos, neg = list_a
        truth, pooled = np.append(np.ones(len(pos)), np.zeros(len(neg))), np.concatenate(list_a)
        fpr, tpr, _ = roc_curve(truth, pooled, drop_intermediate=False)
        rates = error_rates(pos, neg)
        assert np.allclose(rates.false_alarm[::-1], fpr, atol=1e-12)
        assert np.allclose(1 - rates.miss[::-1], tpr, atol=1e-12)

    def test_auc_equals_scikit_learn(self, tied_sets) -> None:
        for pos, neg in tied_sets:
            truth = np.append(np.ones(len(pos)), np.zeros(len(neg)))
            assert auc(pos, neg) == pytest.approx(roc_auc_score(truth, np.append(pos, neg)), abs=1e-9)


class TestCost:
    @pytest.mark.shows("speaker-metrics:9.1")
    @pytest.mark.parametrize(
        ("prior", "actual", "minimum"),
        [(0.5, 1 / 6, 1 / 6), (0.05, 3.41666667, 0.25), (0.01, 0.5, 0.25), (0.005, 0.75, 0.25)],
    )
    def test_toy(self, toy_llr, prior: float, actual: float, minimum: float) -> None:
        assert act_dcf(*toy_llr, DetectionCost(prior)) == pytest.approx(actual, abs=1e-8)
        assert min_dcf(*toy_llr, DetectionCost(prior)).value == pytest.approx(minimum, abs=1e-8)

    def test_threshold_lies_above_what_is_rejected(self, list_a) -> None:
        """One of the two neighbouring conventions: the official scripts print the next lower score."""
        pos, neg = list_a
        found = min_dcf(pos, neg, ASVSPOOF5)
        assert 1.9 * np.mean(pos < found.threshold) + np.mean(neg >= found.threshold) == pytest.approx(found.value)

    def test_bayes_threshold(self) -> None:
        assert ASVSPOOF5.bayes_threshold == pytest.approx(-0.641853886, abs=1e-9)

    def test_brute_force(self, tied_sets) -> None:
        for pos, neg in tied_sets:
            lowest = min(1.9 * miss + false_alarm for miss, false_alarm in brute_points(pos, neg))
            assert min_dcf(pos, neg, ASVSPOOF5).value == pytest.approx(lowest, abs=1e-12)


@pytest.mark.parametrize(
    "metric", [eer, auc, cllr, min_cllr, lambda p, n: min_dcf(p, n, VOX01), lambda p, n: act_dcf(p, n, VOX01)]
)
@pytest.mark.parametrize(
    ("pos", "neg", "said"),
    [
        ([], [1.0], "positive scores: there are none"),
        ([1.0], [], "negative scores: there are none"),
        ([1.0, math.nan], [0.0], "nan at index 1"),
        ([1.0], [math.inf], "inf at index 0"),
        ([[1.0]], [0.0], "shape"),
        (["high"], [0.0], "are not numbers"),
    ],
)
def test_refusals(metric, pos, neg, said: str) -> None:
    with pytest.raises(MetricError, match=said):
        metric(pos, neg)


def test_unknown_method() -> None:
    with pytest.raises(MetricError, match="interpolated"):
        eer([1.0], [0.0], "best")  # type: ignore[arg-type]


def test_rates_count_every_trial_whichever_class_is_on_top() -> None:
    for pos, neg in (([1.0, 4.0, 5.0], [0.0, 2.0]), ([1.0, 2.0, 3.0], [0.0, 9.0])):
        rates = error_rates(pos, neg)
        assert (rates.positives, rates.negatives) == (3, 2)
        assert (rates.miss[0], rates.miss[-1]) == (0, 1)
        assert (rates.false_alarm[0], rates.false_alarm[-1]) == (1, 0)
