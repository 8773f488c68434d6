"""Named cost models, means over operating points, and trials that count by their partition."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.core.errors import MetricError
from earwitness.metrics import (
    ASVSPOOF5,
    COST_PRESETS,
    SRE10,
    SRE16,
    VOX01,
    DetectionCost,
    PrimaryCost,
    Trials,
    Units,
    act_dcf,
    cllr,
    cost_preset,
    ctrsvdd_min_dcf,
    eer,
    error_rates,
    min_dcf,
    partition_weights,
    weighted_rates,
)
from earwitness.metrics.detection import eer_at, min_dcf_at


class TestPresets:
    @pytest.mark.parametrize(
        ("name", "points"),
        [
            ("asvspoof5", [(0.95, 1, 10)]),
            ("vox01", [(0.01, 1, 1)]),
            ("vox05", [(0.05, 1, 1)]),
            ("sre08", [(0.01, 10, 1)]),
            ("sre10", [(0.001, 1, 1)]),
            ("sre16", [(0.01, 1, 1), (0.005, 1, 1)]),
            ("sre19av", [(0.05, 1, 1)]),
        ],
    )
    def test_operating_points(self, name: str, points: list[tuple[float, float, float]]) -> None:
        cost = cost_preset(name)
        assert cost.name == name
        assert [(p.p_target, p.c_miss, p.c_fa) for p in cost.points] == points
        assert name in str(cost)
        assert all(f"{p:g}" in str(cost) for p, _, _ in points)

    def test_nothing_unverified_is_named(self) -> None:
        assert not {"sre21", "sre24"} & set(COST_PRESETS)
        with pytest.raises(MetricError, match=r"no cost model 'sre24'.*sre16"):
            cost_preset("sre24")

    @pytest.mark.shows("speaker-metrics:9.1")
    def test_bayes_thresholds(self) -> None:
        one, other = SRE16.points
        assert one.bayes_threshold == pytest.approx(4.59512, abs=5e-6)
        assert other.bayes_threshold == pytest.approx(5.29330, abs=5e-6)
        assert cost_preset("sre19av").points[0].bayes_threshold == pytest.approx(2.94444, abs=5e-6)

    def test_normalised_cost_of_the_smaller_side(self) -> None:
        """C_norm = P_miss + beta P_fa."""
        assert VOX01.weights == pytest.approx((1, 99))
        assert SRE10.weights == pytest.approx((1, 999))
        assert ASVSPOOF5.weights == pytest.approx((1.9, 1))

    @pytest.mark.parametrize("values", [(0.0, 1, 1), (1.0, 1, 1), (0.5, -1, 1), (0.5, 1, 0), (0.5, np.inf, 1)])
    def test_no_cost_model(self, values: tuple[float, float, float]) -> None:
        with pytest.raises(MetricError, match="prior lies between"):
            DetectionCost(*values)

    def test_a_mean_of_nothing(self) -> None:
        with pytest.raises(MetricError, match="no operating points"):
            PrimaryCost(())


class TestPrimaryCost:
    @pytest.mark.shows("speaker-metrics:9.1")
    def test_toy(self, toy_llr) -> None:
        """actDCF 0.5 and 0.75 at the two points of SRE16, minDCF 0.25 at both."""
        assert act_dcf(*toy_llr, SRE16) == pytest.approx(0.625, abs=1e-9)
        assert min_dcf(*toy_llr, SRE16).value == pytest.approx(0.25, abs=1e-9)

    def test_each_point_has_its_own_minimum(self, list_a) -> None:
        cost = PrimaryCost((DetectionCost(0.5), DetectionCost(0.05), DetectionCost(0.01)))
        alone = [min_dcf(*list_a, point) for point in cost.points]
        found = min_dcf(*list_a, cost)
        assert found.value == pytest.approx(np.mean([one.value for one in alone]))
        assert found.thresholds == tuple(one.threshold for one in alone)
        assert len(set(found.thresholds)) > 1
        with pytest.raises(MetricError, match="no single threshold"):
            _ = found.threshold

    def test_on_resamples(self, list_a) -> None:
        units = Units.each(1000)
        whole = Trials(*list_a, units).resample(np.ones(1000))
        assert whole.min_dcf(SRE16) == pytest.approx(min_dcf(*list_a, SRE16).value)
        assert whole.act_dcf(SRE16) == pytest.approx(act_dcf(*list_a, SRE16))


@pytest.fixture(scope="module")
def parts() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Three partitions of very different size and difficulty."""
    rng = np.random.default_rng(0)
    sizes = [(20, 300), (200, 100), (60, 40)]
    return (
        [rng.normal(1 + k, 1, n) for k, (n, _) in enumerate(sizes)],
        [rng.normal(-1 - k, 1, n) for k, (_, n) in enumerate(sizes)],
    )


class TestEqualised:
    def test_weights(self) -> None:
        assert partition_weights(["f", "m", "m", "m", "x", "x"]).tolist() == [3, 1, 1, 1, 1.5, 1.5]

    def test_rates_are_the_mean_over_partitions(self, parts) -> None:
        pos, neg = map(np.concatenate, parts)
        weights = [partition_weights(np.repeat(np.arange(3), [len(part) for part in side])) for side in parts]
        rates = weighted_rates(pos, neg, *weights)
        for k in range(0, len(rates.thresholds), 37):
            cut = rates.thresholds[k]
            assert rates.miss[k] == pytest.approx(np.mean([np.mean(part < cut) for part in parts[0]]))
            assert rates.false_alarm[k] == pytest.approx(np.mean([np.mean(part >= cut) for part in parts[1]]))
        assert eer_at(rates).value != pytest.approx(eer(pos, neg).value, abs=1e-3)

    def test_on_resamples(self, parts) -> None:
        """The whole set with weights, and whole weights as if trials had been copied."""
        pos, neg = map(np.concatenate, parts)
        weights = np.concatenate(
            [partition_weights(np.repeat(np.arange(3), [len(part) for part in side])) for side in parts]
        )
        units = Units.each(len(pos) + len(neg))
        whole = Trials(pos, neg, units, weights).resample(np.ones(units.count))
        rates = weighted_rates(pos, neg, weights[: len(pos)], weights[len(pos) :])
        assert whole.min_dcf(SRE16) == pytest.approx(min_dcf_at(rates, SRE16).value)
        assert whole.eer() == pytest.approx(eer_at(rates).value)
        copies = np.random.default_rng(1).integers(1, 4, units.count)
        copied = Trials(pos, neg, units, copies).resample(np.ones(units.count))
        both = np.repeat(pos, copies[: len(pos)]), np.repeat(neg, copies[len(pos) :])
        assert copied.act_dcf(SRE16) == pytest.approx(act_dcf(*both, SRE16))
        assert copied.cllr() == pytest.approx(cllr(*both))
        assert copied.eer("rocch") == pytest.approx(eer(*both, "rocch").value)
        with pytest.raises(MetricError, match="knows no weights"):
            copied.eer("asvspoof")

    def test_equal_weights_change_nothing(self, tied_sets) -> None:
        for pos, neg in tied_sets[::5]:
            plain, weighed = error_rates(pos, neg), weighted_rates(pos, neg, [2.0] * len(pos), [0.5] * len(neg))
            assert np.allclose(plain.miss, weighed.miss)
            assert np.allclose(plain.false_alarm, weighed.false_alarm)
            assert plain.tied_fraction == weighed.tied_fraction

    @pytest.mark.parametrize(
        ("weights", "said"),
        [([1.0], "1 for 2 trials"), ([1.0, -1.0], "negative"), ([0.0, 0.0], "all are zero"), ([1.0, np.nan], "nan")],
    )
    def test_refusals(self, weights: list[float], said: str) -> None:
        with pytest.raises(MetricError, match=said):
            weighted_rates([1.0, 2.0], [0.0], weights, [1.0])


def test_ctrsvdd_cost_is_not_normalised(list_a) -> None:
    pos, neg = list_a
    by_hand = min((np.mean(pos < t) + np.mean(neg >= t)) / 2 for t in [*pos, *neg, np.inf])
    assert ctrsvdd_min_dcf(pos, neg) == pytest.approx(by_hand, abs=1e-12)
    assert ctrsvdd_min_dcf(pos, neg) == pytest.approx(min_dcf(pos, neg, DetectionCost(0.5)).value / 2)
    assert ctrsvdd_min_dcf(np.ones(3), np.ones(5)) == 0.5
