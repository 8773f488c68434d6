"""Schedules against the numbers of the field's published recipes."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from earwitness.training.schedules import (
    ConstantConfig,
    CosineConfig,
    CyclicConfig,
    ExponentialConfig,
    MilestonesConfig,
    RunLength,
    Schedule,
    ScheduleConfig,
    StepConfig,
    WarmupCosineConfig,
)

LONG = RunLength(lr=0.1, epochs=150, steps_per_epoch=100, batch=512)


def at_epoch(schedule: Schedule, epoch: int, steps: int = 100) -> float:
    return schedule(epoch * steps, epoch)


@pytest.mark.shows("speaker-metrics:9.1")
@pytest.mark.parametrize(
    ("epoch", "lr"), [(0, 0.0), (3, 0.3436), (6, 0.5903), (20, 0.2904), (40, 0.1054), (75, 0.0179)]
)
def test_exponential_with_warm_up_as_published(epoch: int, lr: float) -> None:
    assert at_epoch(ExponentialConfig().build(LONG), epoch) == pytest.approx(lr, abs=5e-5)


def test_exponential_peaks_where_the_warm_up_ends() -> None:
    schedule = ExponentialConfig().build(LONG)
    rates = [schedule(step, step // 100) for step in range(15_000)]
    assert max(range(15_000), key=rates.__getitem__) == 600
    assert schedule(15_000, 150) == pytest.approx(8 * 5e-5)
    unscaled = ExponentialConfig(reference_batch=None).build(LONG)
    assert unscaled(600, 6) == pytest.approx(rates[600] / 8)


def test_cosine_per_epoch_swings_down_and_up() -> None:
    run = RunLength(lr=1e-6, epochs=75, steps_per_epoch=10, batch=34)
    schedule = CosineConfig(t_max=5, min_lr=1e-9).build(run)
    rates = [at_epoch(schedule, epoch, 10) for epoch in range(75)]
    lowest = [epoch for epoch, rate in enumerate(rates) if rate == pytest.approx(1e-9)]
    assert lowest == [5, 15, 25, 35, 45, 55, 65]  # from 0; the same rate all through an epoch
    assert rates[0] == rates[10] == pytest.approx(1e-6)
    assert schedule(3, 0) == schedule(9, 0)


def test_cosine_per_step_ends_at_its_minimum() -> None:
    schedule = CosineConfig(per="step", min_lr=1e-7).build(RunLength(1e-6, 10, 100, 64))
    assert schedule(0, 0) == pytest.approx(1e-6)
    assert schedule(500, 5) == pytest.approx(5.5e-7)
    assert schedule(1000, 10) == pytest.approx(1e-7)


def test_warm_up_then_cosine() -> None:
    schedule = WarmupCosineConfig(warmup=0.1, min_lr=0.0).build(RunLength(1e-4, 10, 100, 8))
    assert [schedule(step, 0) for step in (0, 50, 100)] == pytest.approx([0, 5e-5, 1e-4])
    assert schedule(550, 5) == pytest.approx(5e-5)
    assert schedule(1000, 10) == pytest.approx(0, abs=1e-12)


def test_triangular_cycles() -> None:
    schedule = CyclicConfig(min_lr=1e-8, step_size=65_000).build(RunLength(1e-3, 10, 40_000, 32))
    assert schedule(0, 0) == pytest.approx(1e-8)
    assert schedule(65_000, 1) == pytest.approx(1e-3)
    assert schedule(32_500, 0) == pytest.approx((1e-3 + 1e-8) / 2)
    assert schedule(130_000, 3) == pytest.approx(1e-8)
    assert schedule(195_000, 4) == pytest.approx(1e-3)


def test_constant() -> None:
    assert ConstantConfig().build(LONG)(12_345, 123) == 0.1


@pytest.mark.parametrize("kind", ["constant", "cosine", "exponential", "warmup_cosine", "cyclic"])
def test_every_schedule_builds_from_its_name_and_is_a_pure_function(kind: str) -> None:
    config = TypeAdapter(ScheduleConfig).validate_python({"kind": kind})
    first, second = config.build(LONG), config.build(LONG)
    places = [(0, 0), (777, 7), (9_999, 99)]
    assert [first(*place) for place in places] == [second(*place) for place in reversed(places)][::-1]
    assert all(0 <= first(step, step // 100) <= 0.8 for step in range(0, 15_000, 53))


def test_steps_down_at_milestones() -> None:
    schedule = MilestonesConfig().build(RunLength(lr=2.5e-4, epochs=90, steps_per_epoch=10, batch=64))
    rates = [at_epoch(schedule, epoch, 10) for epoch in (0, 59, 60, 79, 80, 89)]
    assert rates == pytest.approx([2.5e-4, 2.5e-4, 2.5e-5, 2.5e-5, 2.5e-6, 2.5e-6])


def test_steps_down_every_few_epochs() -> None:
    schedule = StepConfig(every=10, factor=0.5).build(RunLength(lr=3e-4, epochs=100, steps_per_epoch=10, batch=64))
    rates = [at_epoch(schedule, epoch, 10) for epoch in (0, 9, 10, 25)]
    assert rates == pytest.approx([3e-4, 3e-4, 1.5e-4, 0.75e-4])
