"""The parts of `benchmarks/data_free_shipped.py`: what students are given, what is kept, and how they are judged."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from earwitness.corpora.manifest import Manifest
from earwitness.speaker.comparison import Comparator, unit
from earwitness.training.inversion import open_teacher

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TINY_VOICES = (
    "frames=24",
    "synthesis.batch_size=4",
    "synthesis.steps=2",
    "synthesis.width=4",
    "contrast.bank=8",
    "contrast.negatives=4",
    "distillation.batch_size=4",
    "loop.rounds=2",
    "loop.steps=2",
    "loop.device=cpu",
)
MODULES = ("data_free_shipped", "judging", "material")  # the last two are names of several benchmarks


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark, imported with its neighbours and forgotten again."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("data_free_shipped")
    for name in MODULES:
        sys.modules.pop(name, None)


def case(shipped: ModuleType, *more: str) -> Any:
    """Students of speaker-small that learn hardly anything."""
    return shipped.Case("speaker-small", "frami-speaker-small.yaml", (*TINY_VOICES, *more), ())


def recordings(folder: Path) -> Manifest:
    """A long and a very short tone."""
    for name, seconds in (("long", 1.0), ("short", 0.05)):
        time = np.arange(round(16_000 * seconds)) / 16_000
        soundfile.write(folder / f"{name}.wav", 0.3 * np.sin(2 * np.pi * 440 * time), 16_000)
    rows = [{"path": f"{name}.wav", "speaker": name, "licence": "CC0-1.0"} for name in ("long", "short")]
    pl.DataFrame(rows).write_csv(folder / "manifest.csv")
    return Manifest.read(folder / "manifest.csv")


def test_every_arm_ends_in_a_model_that_is_read_again(shipped: ModuleType, tmp_path: Path) -> None:
    bench = shipped.Bench(tmp_path, tmp_path / "work", case(shipped))
    recipe = bench.recipe(0)
    teacher = open_teacher(recipe.teacher, recipe.input_range)
    train = recordings(tmp_path)
    weights = {}
    for arm in ("frami", "noise", "recordings", "untrained"):
        model = shipped.made(bench, teacher, arm, 0, train)
        weights[arm] = (model / "weights.safetensors").read_bytes()
        changed = (model / "weights.safetensors").stat().st_mtime_ns
        assert shipped.made(bench, teacher, arm, 0, train) == model
        assert (model / "weights.safetensors").stat().st_mtime_ns == changed
        assert shipped.size_of(model)["parameters"] == 104_940
    assert len(set(weights.values())) == 4
    assert bench.folder("frami", 0) != bench.folder("frami", 1)
    other = shipped.Bench(tmp_path, tmp_path / "work", case(shipped, "loop.steps=3"))
    assert other.folder("frami", 0).parent != bench.folder("frami", 0).parent  # other settings find nothing that is old


def test_cuts_of_recordings_have_the_asked_frames(shipped: ModuleType, tmp_path: Path) -> None:
    recipe = shipped.Bench(tmp_path, tmp_path, case(shipped)).recipe(0)
    draw = shipped.cuts(open_teacher(recipe.teacher, recipe.input_range), recordings(tmp_path), 24)
    torch.manual_seed(0)
    drawn = draw(6, 20)
    assert drawn.shape == (6, 1, 80, 20)
    assert torch.isfinite(drawn).all()


def test_arms_are_judged_on_the_same_trials(shipped: ModuleType) -> None:
    chance = np.random.default_rng(0)
    clips = [
        shipped.Clip(f"{speaker}-{take}", f"s{speaker}", "one", "f", None, None, np.zeros(32_000, np.float32))
        for speaker in range(10)
        for take in range(4)
    ]
    voices = np.repeat(chance.standard_normal((10, 32)), 4, axis=0)

    def heard(noise: float) -> list[object]:
        return [unit((voices + noise * chance.standard_normal(voices.shape)).astype(np.float32)) for _ in range(2)]

    prints = {"teacher": heard(0.1), "frami": heard(1.5), "untrained": heard(30.0)}
    (row,) = shipped.judged(clips, prints, {"cosine": Comparator()})
    assert (row["group"], row["speakers"], row["same"], row["different"]) == ("all", 10, 60, 720)
    rates = {arm: found["eer"]["value"] for arm, found in row["arms"].items()}
    assert rates["teacher"] == 0
    assert 5 < rates["frami"] < 40 < rates["untrained"] < 60
    for arm, found in row["arms"].items():
        assert found["eer"]["low"] <= found["eer"]["value"] <= found["eer"]["high"]
        assert found["eer"]["value"] == pytest.approx(np.mean(found["seeds"]))
        assert ("minus_frami" in found) == (arm != "frami")
    assert row["arms"]["teacher"]["minus_frami"]["high"] < 0 < row["arms"]["untrained"]["minus_frami"]["low"]


def test_a_detectors_students_are_told_apart(shipped: ModuleType, tmp_path: Path) -> None:
    """By people and by systems, and by how alike their scores are to their teacher's."""
    chance, count = np.random.default_rng(0), 40
    real = np.arange(2 * count) < count
    table = {
        "path": [f"{place}.wav" for place in range(2 * count)],
        "label": ["bonafide" if human else "spoof" for human in real],
        "speaker": [f"s{place}" if human else None for place, human in enumerate(real)],
        "system": [None if human else f"engine-{place % 10}" for place, human in enumerate(real)],
        "licence": ["CC0-1.0"] * 2 * count,
    }
    pl.DataFrame(table).write_csv(tmp_path / "manifest.csv")
    rows = Manifest.read(tmp_path / "manifest.csv")
    sure = real + 0.3 * chance.standard_normal(2 * count)
    found = {
        "teacher": [sure],
        "frami": [sure + chance.standard_normal(2 * count) for _ in range(2)],
        "untrained": [chance.standard_normal(2 * count) for _ in range(2)],
    }
    row = shipped.judged_detections(rows, found)
    assert (row["bona_fide"], row["spoof"], row["speakers"], row["systems"]) == (40, 40, 40, 10)
    teacher, student, untrained = (row["arms"][arm] for arm in ("teacher", "frami", "untrained"))
    assert teacher["eer"]["value"] < student["eer"]["value"] < untrained["eer"]["value"]
    assert teacher["like_teacher"] == [pytest.approx(1)]
    assert min(student["like_teacher"]) > 0.3 > max(untrained["like_teacher"])
    assert untrained["minus_frami"]["value"] > 0


def test_the_cases_are_published_recipes(shipped: ModuleType, tmp_path: Path) -> None:
    for one in shipped.CASES:
        for smallest in (False, True):
            recipe = shipped.Bench(tmp_path, tmp_path, one, smallest).recipe(2)
            assert (recipe.teacher, recipe.seed) == (one.teacher, 2)
            assert recipe.contrast.bank % recipe.synthesis.batch_size == 0
