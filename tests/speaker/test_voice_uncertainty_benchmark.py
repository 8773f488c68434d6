"""Whether a voice print's variance means anything: the toy of `benchmarks/voice_uncertainty.py`, small and whole."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    monkeypatch.delitem(sys.modules, "voice_uncertainty", raising=False)
    return importlib.import_module("voice_uncertainty")


SEEDS = (0, 1, 2)
ARMS = ("off", "detached")
NAMES = ("values", "distance", "duration")


def assert_it_means_something(toy: ModuleType, size: Any) -> None:
    """Without the variance loss, and with it moving the variance alone: correlations, in the mean over seeds."""
    found = [dict(toy.run(size, seed, ARMS)) for seed in SEEDS]
    for arms in found:
        print(arms)
    assert all(np.isfinite(value) for arms in found for arm in arms.values() for value in asdict(arm).values())
    off, held = ({name: np.mean([asdict(arms[arm])[name] for arms in found]) for name in NAMES} for arm in ARMS)
    assert held["values"] > off["values"] + 0.05
    assert held["distance"] > off["distance"]
    assert held["duration"] < -0.5  # with and without: a posterior's variance falls with what is heard
    assert off["duration"] < -0.9


@pytest.mark.shows("xi-plus:6.8")
def test_the_variance_loss_raises_the_correlation_with_the_error(toy: ModuleType) -> None:
    size = toy.Toy(speakers=5, steps=60, epochs=6, takes=3, held_out=2, batch=10, channels=16)
    assert_it_means_something(toy, size)


@pytest.mark.soak
@pytest.mark.shows("xi-plus:6.8")
def test_the_same_with_ten_speakers_64_channels_and_200_steps(toy: ModuleType) -> None:
    assert_it_means_something(toy, toy.Toy())


def test_a_synthetic_speaker_keeps_the_voice_and_changes_the_words(toy: ModuleType) -> None:
    a, again, b = toy.voice(1, 0, 1.0), toy.voice(1, 0, 1.0), toy.voice(1, 1, 1.0)
    assert np.array_equal(a, again)
    assert not np.array_equal(a, b)
    noisy = toy.with_noise(a, 10.0, np.random.default_rng(0))
    ratio = 10 * np.log10(np.mean(a.astype(float) ** 2) / np.mean((noisy - a).astype(float) ** 2))
    assert ratio == pytest.approx(10, abs=0.01)


def test_an_interrupted_run_goes_on(toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, tuple[str, ...]]] = []

    def run(size: Any, seed: int, arms: Any) -> Any:
        asked.append((seed, tuple(arms)))
        return [(arm, toy.Meaning(*[0.5] * 9)) for arm in arms]

    monkeypatch.setattr(toy, "run", run)
    for arms in (["off"], ["off", "sum"]):
        monkeypatch.setattr(sys, "argv", ["x", "-o", str(tmp_path / "out.json"), "--arms", *arms])
        toy.main()
    assert asked == [(0, ("off",)), (0, ("sum",))]
    kept = json.loads((tmp_path / "out.json").read_text())
    assert [arm["variance_loss"] for arm in kept["arms"]] == ["off", "sum"]
