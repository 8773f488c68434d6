"""Intervals: equal to resampling by copying, honest coverage, sensible refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from earwitness.core.errors import MetricError
from earwitness.metrics import (
    ASVSPOOF5,
    EER_DEFINITIONS,
    Trials,
    Units,
    act_dcf,
    auc,
    bootstrap,
    cllr,
    eer,
    min_cllr,
    min_dcf,
    paired,
)


def auc_by_units(pos, neg, units: int, each: int):
    """AUC of counts from a table of wins of unit against unit, for sets of `units` x `each` trials without ties."""
    wins = pos.reshape(units, 1, each, 1) > neg.reshape(1, units, 1, each)
    table = wins.mean(axis=(2, 3))

    def auc_of(counts):
        return [float(counts[:units] @ table @ counts[units:]) / units**2]

    return auc_of


def by_copying(pos, neg, pos_counts, neg_counts):
    return np.repeat(pos, pos_counts.astype(int)), np.repeat(neg, neg_counts.astype(int))


class TestTrials:
    def test_every_statistic_equals_copied_trials(self, tied_sets) -> None:
        rng = np.random.default_rng(1)
        for pos, neg in tied_sets[::4]:
            units = Units.each(len(pos) + len(neg))
            trials = Trials(pos, neg, units)
            counts = rng.integers(0, 4, units.count).astype(float)
            counts[[0, -1]] += 1  # both classes stay
            copied = by_copying(pos, neg, counts[: len(pos)], counts[len(pos) :])
            resample = trials.resample(counts)
            for method in EER_DEFINITIONS:
                assert resample.eer(method) == pytest.approx(eer(*copied, method).value, abs=1e-12), method
            assert resample.min_dcf(ASVSPOOF5) == pytest.approx(min_dcf(*copied, ASVSPOOF5).value, abs=1e-12)
            assert resample.act_dcf(ASVSPOOF5) == pytest.approx(act_dcf(*copied, ASVSPOOF5), abs=1e-12)
            assert resample.cllr() == pytest.approx(cllr(*copied), abs=1e-12)
            assert resample.min_cllr() == pytest.approx(min_cllr(*copied), abs=1e-12)
            assert resample.auc() == pytest.approx(auc(*copied), abs=1e-12)

    def test_turns_only(self) -> None:
        trials = Trials(np.arange(1000.0) + 500, np.arange(1000.0) - 600.5, Units.each(2000))
        assert len(trials.thresholds) == 3

    def test_rows_must_match(self) -> None:
        with pytest.raises(MetricError, match="3 rows have a unit, 2 have a score"):
            Trials([1.0], [0.0], Units.each(3))


class TestUnits:
    def test_a_unit_takes_all_its_rows(self) -> None:
        units = Units.of(["b", "a", "b"], "speaker")
        assert units.count == 2
        assert units.weights(np.array([5.0, 7.0])).tolist() == [7, 5, 7]

    def test_crossed(self) -> None:
        units = Units.stacked(Units.of(["x", "y", "x"], "speaker"), Units.of(["A07", "A08"], "system"))
        assert units.name == "speaker x system"
        assert units.blocks == (2, 2)
        assert units.weights(np.array([1.0, 2, 3, 4])).tolist() == [1, 2, 1, 3, 4]
        counts = units.draw(np.random.default_rng(0))
        assert counts[:2].sum() == counts[2:].sum() == 2

    def test_pairs(self) -> None:
        units = Units.pairs(["a", "a", "b"], ["a", "b", "c"], "speaker")
        assert units.weights(np.array([2.0, 3.0, 5.0])).tolist() == [2, 6, 15]
        assert units.take(np.array([2, 0])).weights(np.array([2.0, 3.0, 5.0])).tolist() == [15, 2]

    def test_draws_have_mean_one_and_variance_one(self) -> None:
        rng = np.random.default_rng(0)
        drawn = np.stack([Units.each(200).draw(rng) for _ in range(500)])
        assert (drawn.sum(1) == 200).all()
        assert drawn.var() == pytest.approx(1, abs=0.03)


class TestBootstrap:
    def test_same_seed_same_interval(self, clustered) -> None:
        pos, neg, a, b = clustered(0)
        units = Units.stacked(Units.of(a, "speaker"), Units.of(b, "system"))
        trials = Trials(pos, neg, units)

        def run(seed: int):
            return bootstrap(lambda counts: [trials.resample(counts).eer()], units, 100, seed)[0]

        assert run(3) == run(3)
        assert run(3) != run(4)
        found = run(3)
        assert found.value == pytest.approx(eer(pos, neg).value, abs=1e-12)
        assert found.low < found.value < found.high
        assert (found.n_units, found.unit, found.n_resamples) == (40, "speaker x system", 100)
        assert not found.few_units

    def test_wider_by_unit_than_by_trial(self, clustered) -> None:
        pos, neg, a, b = clustered(0)

        def width(units: Units) -> float:
            trials = Trials(pos, neg, units)
            found = bootstrap(lambda counts: [trials.resample(counts).auc()], units, 300)[0]
            return found.high - found.low

        by_unit = width(Units.stacked(Units.of(a, "speaker"), Units.of(b, "speaker")))
        assert by_unit > 1.4 * width(Units.stacked(Units.each(400), Units.each(400)))

    def test_coverage(self) -> None:
        """The truth lies in 95 % +- 2 % of the intervals: AUC of 600 small sets with effects of speaker and system."""
        units, each, apart, effect = 40, 5, 1.2, 0.7
        truth = ndtr(2 * apart / np.sqrt(2 * (1 + effect**2)))
        ids = np.repeat(np.arange(units), each)
        crossed = Units.stacked(Units.of(ids, "speaker"), Units.of(ids, "system"))
        inside = below = 0
        for seed in range(600):
            rng = np.random.default_rng(seed)
            pos, neg = (
                side + effect * rng.standard_normal(units)[ids] + rng.standard_normal(200) for side in (apart, -apart)
            )
            auc_of = auc_by_units(pos, neg, units, each)
            if not seed:
                counts = crossed.draw(rng)
                assert auc_of(counts)[0] == pytest.approx(Trials(pos, neg, crossed).resample(counts).auc())
            found = bootstrap(auc_of, crossed, 150, seed)[0]
            inside += found.low <= truth <= found.high
            below += found.high < truth
        assert 0.93 <= inside / 600 <= 0.97
        assert 0.005 <= below / 600 <= 0.045  # misses on both sides

    def test_coverage_of_the_eer(self, clustered) -> None:
        """The same for the EER through `Trials`, on fewer and larger sets: 95 % +- 3 standard errors of 100 sets."""
        truth = ndtr(-1.2 / np.hypot(1, 0.7))  # classes at +-1.2, symmetric: the EER is one tail
        inside = 0
        for seed in range(100):
            pos, neg, a, b = clustered(seed)
            units = Units.stacked(Units.of(a, "speaker"), Units.of(b, "system"))
            trials = Trials(pos, neg, units)
            found = bootstrap(lambda counts, t=trials: [t.resample(counts).eer()], units, 100, seed)[0]
            inside += found.low <= truth <= found.high
        assert 0.885 <= inside / 100 < 1

    def test_many_units_are_drawn_alike(self) -> None:
        """Draws by the bucket are as plain ones: n in all, each unit once on average, one variance, no seams."""
        size = 100_000
        counts = np.stack([Units.each(size).draw(np.random.default_rng(seed)) for seed in range(40)])
        assert (counts.sum(axis=1) == size).all()
        assert counts.var() == pytest.approx(1 - 1 / size, abs=0.01)
        halves = counts[:, : size // 2].sum(axis=1)
        assert halves.var() == pytest.approx(size / 4, rel=0.7)  # a binomial's, not that of fixed shares
        by_place = counts.mean(axis=0)
        assert abs(by_place[::1000].mean() - 1) < 0.1
        assert np.abs(by_place.reshape(-1, 1000).mean(axis=1) - 1).max() < 0.025

    def test_few_units_are_wider(self) -> None:
        """Percentiles of Student's t with few units: nearly the whole range for three of them."""

        def width(units: int) -> float:
            values = np.random.default_rng(0).permutation(np.linspace(-1, 1, units))
            found = bootstrap(lambda counts: [counts @ values / counts.sum()], Units.each(units), 2000)[0]
            return (found.high - found.low) / (values.std() / np.sqrt(units))

        assert width(100) == pytest.approx(2 * 1.96, rel=0.08)
        assert width(10) == pytest.approx(2 * 2.26 * np.sqrt(10 / 9), rel=0.08)

    def test_interval_holds_its_value(self) -> None:
        """A statistic that every resample pushes down: the largest of the values that were drawn."""
        values = np.arange(20.0)
        found = bootstrap(lambda counts: [values[counts > 0].max()], Units.each(20), 300)[0]
        assert found.low < found.value == found.high == 19

    def test_paired_differences_cancel_what_is_shared(self, clustered) -> None:
        pos, neg, a, b = clustered(5)
        units = Units.stacked(Units.of(a, "speaker"), Units.of(b, "system"))
        rng = np.random.default_rng(0)
        one = Trials(pos, neg, units)
        other = Trials(pos + 0.1 * rng.standard_normal(400) - 0.2, neg + 0.1 * rng.standard_normal(400) + 0.2, units)
        found = paired(lambda c: other.resample(c).eer(), lambda c: one.resample(c).eer(), units, 300)
        assert found.difference.value == pytest.approx(found.first.value - found.second.value)
        assert found.difference.low > 0
        assert found.first.low < found.second.high  # apart only when paired
        same = paired(lambda c: one.resample(c).eer(), lambda c: one.resample(c).eer(), units, 50)
        assert (same.difference.low, same.difference.high) == (0, 0)

    def test_any_statistic(self) -> None:
        """A mean of ages by speaker: nothing here is about two classes."""
        rng = np.random.default_rng(0)
        values = rng.normal(40, 5, 500)
        units = Units.each(500)
        found = bootstrap(lambda counts: [units.weights(counts) @ values / counts.sum()], units, 1000)[0]
        assert (found.high - found.low) / 2 == pytest.approx(1.96 * values.std() / np.sqrt(500), rel=0.1)

    def test_a_resample_without_a_class_is_drawn_again(self) -> None:
        units = Units.of(["a", "b"], "speaker")
        trials = Trials([1.0], [0.0], units)
        found = bootstrap(lambda counts: [trials.resample(counts).auc()], units, 50)[0]
        assert (found.low, found.high) == (1, 1)

    def test_refusals(self) -> None:
        lone = Units.of(["a", "a"], "speaker")
        trials = Trials([1.0], [0.0], lone)
        with pytest.raises(MetricError, match="only 1 unit of 'speaker'"):
            bootstrap(lambda counts: [trials.resample(counts).eer()], lone)
        with pytest.raises(MetricError, match="0 resamples"):
            bootstrap(lambda counts: [1.0], Units.each(4), 0)

        def never(counts):
            if (counts == 1).all():
                return [1.0]
            raise MetricError("one class is empty")

        with pytest.raises(MetricError, match="in a row held only one class"):
            bootstrap(never, Units.each(400), 5)
