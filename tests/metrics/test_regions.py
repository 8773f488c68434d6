"""Regions of imbalanced regression: who counts, where the thresholds lie, and what is averaged over what."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.core.errors import MetricError
from earwitness.metrics.regions import DIR, SPEECH, RegionRule, TrainingLabels, region_errors


def test_a_region_goes_by_the_training_count_of_the_label() -> None:
    labels = np.repeat([20, 30, 40, 50], [101, 100, 20, 19])
    training = TrainingLabels.of(labels)
    assert training.rule == DIR
    assert training.count([20, 30, 40, 50, 60, 0]).tolist() == [101, 100, 20, 19, 0, 0]
    assert training.regions([20, 30, 40, 50, 60, 0]).tolist() == ["many", "medium", "medium", "few", "few", "few"]


def test_speakers_count_once_in_a_bin_of_five_years() -> None:
    ages = np.repeat([20.0, 22.5, 24.9, 25.0], [50, 50, 50, 50])
    speakers = [f"{number // 25}" for number in range(200)]  # two voices an age
    training = TrainingLabels.of(ages, SPEECH, speakers)
    assert training.bins.tolist() == [4, 5]
    assert training.counts.tolist() == [6, 2]
    assert training.regions([21, 26, 30]).tolist() == ["medium", "few", "few"]
    assert TrainingLabels.of(ages, SPEECH).counts.tolist() == [150, 50]


def test_tenths_fall_into_their_own_bin() -> None:
    tenths = np.arange(0, 51) / 10
    assert RegionRule(bin_width=0.1).bins(tenths).tolist() == list(range(51))


def test_items_and_labels_are_averaged_differently() -> None:
    training = TrainingLabels.of(np.repeat([10, 11, 12], [3, 3, 1]), RegionRule(many=3, medium=2))
    truth = np.array([10, 10, 10, 11, 12])
    predicted = truth + np.array([1.0, -1.0, 1.0, 5.0, 0.0])
    many, medium, few = region_errors(truth, predicted, training)
    assert (many.items, many.labels) == (4, 2)
    assert many.mae == pytest.approx(2.0)
    assert many.label_mae == pytest.approx(3.0)
    assert many.gm == pytest.approx(5**0.25)
    assert many.label_gm == pytest.approx(5**0.5)
    assert (medium.items, medium.labels) == (0, 0)
    assert np.isnan([medium.mae, medium.gm, medium.label_mae, medium.label_gm]).all()
    assert few.mae == 0
    assert few.gm == pytest.approx(1e-10)
    assert region_errors(truth, predicted, training, guard=0)[2].gm == 0
    drawn = region_errors(truth, predicted, training, weights=[0, 0, 1, 3, 0])
    assert drawn[0].mae == pytest.approx(4.0)
    assert np.isnan(drawn[2].mae)


@pytest.mark.shows("paralinguistic-metrics:6.3")
def test_agedb_dir_has_51_16_and_25_ages_in_its_regions() -> None:
    """Images of each age whose margins are AgeDB-DIR's: from each age min(floor(n / 3), 30) test images and as many of
    validation; 2,140 of either, 12,208 of training; the published ages of each region. The counts of single ages are
    made up, with 19, 20, 100 and 101 among those of training."""
    few = [3, *range(5, 17), 83, 84, *range(86, 96)]
    medium = [17, 18, 19, 69, 71, *range(73, 83), 85]
    many = [*range(20, 69), 70, 72]
    images = dict(zip(few, [57, 4, 5, *[18] * 13, *[22] * 9], strict=True))
    images |= dict(zip(medium, [160, 60, *[90] * 9, 78, 79, 80, 75, 77], strict=True))
    images |= {1: 1, 4: 2, 96: 2, 98: 1, 101: 1} | dict.fromkeys(many, 161)
    spread = 16488 - sum(images.values())
    images |= {age: 161 + spread // 50 + (place < spread % 50) for place, age in enumerate(many[1:])}
    test = {age: min(count // 3, 30) for age, count in images.items()}
    train = {age: count - 2 * test[age] for age, count in images.items()}
    assert (sum(train.values()), sum(test.values())) == (12208, 2140)
    assert {19, 20, 100, 101} <= set(train.values())

    truth = np.repeat(list(test), list(test.values())).astype(float)
    training = TrainingLabels.of(np.repeat(list(train), list(train.values())))
    found = region_errors(truth, truth + 2, training)
    assert [region.region for region in found] == ["many", "medium", "few"]
    assert [region.labels for region in found] == [51, 16, 25]
    assert [region.items for region in found] == [1530, 448, 162]
    assert [region.mae for region in found] == [2, 2, 2]
    assert {int(age) for age in truth[training.regions(truth) == "few"]} == set(few)


@pytest.mark.parametrize("rule", [{"many": 3, "medium": 4}, {"many": 3, "medium": 0}, {"bin_width": 0.0}])
def test_rules_that_make_no_sense_are_refused(rule: dict[str, float]) -> None:
    with pytest.raises(MetricError):
        RegionRule(**rule)  # type: ignore[arg-type]


def test_bad_input_is_refused() -> None:
    training = TrainingLabels.of([1.0, 2.0])
    with pytest.raises(MetricError, match="not finite"):
        training.regions([np.nan])
    with pytest.raises(MetricError, match="2 predictions for 1 labels"):
        region_errors([1.0], [1.0, 2.0], training)
    with pytest.raises(MetricError, match="speakers"):
        TrainingLabels.of([1.0, 2.0], SPEECH, ["a"])
