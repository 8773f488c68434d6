"""The perturbations that tests know by name: each has its own name and does what its words say."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from earwitness.audio.perturb.suite import BY_NAME, PERTURBATIONS, NamedPerturbation

RATE = 16_000


def perturbed(one: NamedPerturbation, samples: np.ndarray) -> np.ndarray:
    return one.config.build()(samples, RATE, np.random.default_rng(0))


def test_names_are_unique_and_fit_a_file_name() -> None:
    assert len(BY_NAME) == len(PERTURBATIONS) >= 30
    assert all(re.fullmatch(r"[a-z0-9.+-]+", name) for name in BY_NAME)
    assert len({one.words for one in PERTURBATIONS}) == len(PERTURBATIONS)


@pytest.mark.parametrize("one", PERTURBATIONS, ids=BY_NAME)
def test_each_changes_the_sound_and_keeps_it_a_sound(one: NamedPerturbation, speechlike: Callable[..., Any]) -> None:
    before = speechlike(1.0)
    after = perturbed(one, before)
    assert after.dtype == np.float32
    assert np.isfinite(after).all()
    if not one.name.startswith("speed"):
        assert len(after) == len(before)
    assert len(after) != len(before) or np.abs(after - before).max() > 1e-3
    assert np.array_equal(after, perturbed(one, before))


@pytest.mark.parametrize("snr_db", [20, 10, 5, 0])
def test_noise_is_as_far_below_as_its_name_says(snr_db: int, speechlike: Callable[..., Any]) -> None:
    before = speechlike(2.0)
    noise = perturbed(BY_NAME[f"white-noise-{snr_db}db"], before) - before
    assert 10 * np.log10((before**2).mean() / (noise**2).mean()) == pytest.approx(snr_db, abs=3)


def test_levels_are_as_their_names_say(speechlike: Callable[..., Any]) -> None:
    before = 0.4 * speechlike(1.0)
    for name, gain_db in (("gain-20db", -20), ("gain-6db", -6), ("gain+6db-uncut", 6)):
        assert perturbed(BY_NAME[name], before) == pytest.approx(before * 10 ** (gain_db / 20), abs=1e-6)
    peak = np.abs(before).max()
    assert np.abs(perturbed(BY_NAME["clip-12db"], before)).max() == pytest.approx(peak / 10 ** (12 / 20), rel=1e-3)
    assert np.abs(perturbed(BY_NAME["gain+6db"], before)).max() == pytest.approx(peak, rel=1e-2)


@pytest.mark.parametrize("cutoff", [7000, 4000, 3400])
def test_nothing_is_left_above_the_cutoff(cutoff: int) -> None:
    before = np.random.default_rng(1).standard_normal(RATE).astype(np.float32) * 0.1
    power = np.abs(np.fft.rfft(perturbed(BY_NAME[f"low-pass-{cutoff}hz"], before))) ** 2
    hertz = np.fft.rfftfreq(RATE, 1 / RATE)
    assert power[hertz > cutoff + 300].mean() < 1e-3 * power[hertz < cutoff - 300].mean()
