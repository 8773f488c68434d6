"""Heads on kept vectors: every speaker is judged by a head that never heard them; what ships heard everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from earwitness.core.config import parse_config
from earwitness.core.errors import DataError, RecipeError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import read_table
from earwitness.evaluation.assessing.runs import AnyRecipe, run_recipe
from earwitness.evaluation.loading import load_age, load_emotions
from earwitness.paralinguistic.age_recipe import AgeRecipe
from earwitness.paralinguistic.emotion_recipe import EmotionRecipe
from earwitness.training.left_out import LEFT_OUT, KeptRows, LeftOutConfig
from earwitness.training.model_folder import read_model_info

RATE = 16_000
SPEAKERS = 6
AGED = {"loss": {"kind": "dldl_v2"}, "recalibrate": "none"}  # six speakers are too few to recalibrate by
SMALL = {
    "branches": [{"frontend": {"kind": "fbank", "n_mels": 16, "mean_norm": False}, "pooling": {"kind": "statistics"}}],
    "embedding": {"dim": 8},
}


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of buzzes: the older the deeper, the angrier the louder in its upper half."""
    folder = tmp_path_factory.mktemp("voices")
    rng = np.random.default_rng(0)
    rows = []
    time = np.arange(RATE) / RATE
    for speaker in range(SPEAKERS):
        age = 10 + 8 * speaker
        for take in range(6):
            angry = take % 2
            wave = np.sin(2 * np.pi * (400 - 6 * age) * time) + (0.05 + 0.5 * angry) * np.sin(2 * np.pi * 3000 * time)
            wave = 0.2 * wave + rng.normal(0, 0.005, RATE)
            name = f"{speaker}-{take}.wav"
            soundfile.write(folder / name, wave.astype(np.float32), RATE)
            rows.append(
                {
                    "path": name,
                    "speaker": f"s{speaker}",
                    "age": float(age),
                    "sex": "fm"[speaker % 2],
                    "emotion": "anger" if angry else "neutral",
                    "corpus": "emodb",
                    "licence": "CC0-1.0",
                }
            )
    Manifest.from_table(pl.DataFrame(rows), folder, folder / "m.csv").write(folder / "m.csv")
    return folder / "m.csv"


def recipe_of(task: str, voices: Path, **more: object) -> AgeRecipe | EmotionRecipe:
    data = {
        "name": task,
        "task": task,
        "data": {"manifests": [str(voices)]},
        "network": SMALL,
        "left_out": {"folds": 3, "views": ["clean", "narrow_band", 0]},
        "audio": {"crop_s": 1.0, "trim_silence": False},
        "windows": {"kind": "sliding", "length_s": 1.0, "hop_s": 1.0},
        "loop": {"epochs": 30, "batch_size": 12, "accelerator": "cpu"},
        "optimiser": {"kind": "adamw", "lr": 0.02},
        **more,
    }
    recipe: AgeRecipe | EmotionRecipe = parse_config(AnyRecipe, data)
    return recipe


@pytest.fixture(scope="module")
def aged(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aged")
    run_recipe(recipe_of("age", voices, **AGED), folder)
    return folder


def test_folds_hold_whole_speakers(voices: Path) -> None:
    rows = Manifest.read(voices)
    folds = LeftOutConfig(folds=3).assign(rows)
    assert set(folds) == {0, 1, 2}
    of = {(speaker, int(fold)) for speaker, fold in zip(rows.table["speaker"], folds, strict=True)}
    assert len(of) == SPEAKERS
    np.testing.assert_array_equal(LeftOutConfig(folds=SPEAKERS).assign(rows) >= 0, True)
    with pytest.raises(DataError, match="6 speakers cannot be put into 7 folds"):
        LeftOutConfig(folds=7).assign(rows)


def test_every_row_is_judged_under_every_condition(aged: Path) -> None:
    table = read_table(aged / LEFT_OUT)
    assert table.height == 2 * 6 * SPEAKERS
    assert set(table["condition"]) == {"clean", "narrow_band"}
    for row in table["distribution"]:
        assert sum(row) == pytest.approx(1)
    info = read_model_info(aged / "model")
    metrics = {(row["data"], row["metric"]) for row in info.extra["results"]}  # type: ignore[union-attr, index, call-overload]
    assert ("each speaker left out once", "MAE, years") in metrics
    assert ("the same in a telephone band (300-3400 Hz)", "MAE, years") in metrics


def test_what_ships_estimates_as_it_learnt(aged: Path, voices: Path) -> None:
    model, rows = load_age(aged / "model"), Manifest.read(voices)
    errors = [abs(model.estimate_file(rows.resolve(row)).mean - (row.age or 0)) for row in rows.rows()]
    median = np.abs(rows.table["age"].to_numpy() - rows.table["age"].median())
    assert np.mean(errors) < 0.7 * np.mean(median)


def test_killed_and_resumed_it_ends_with_the_same_weights(aged: Path, voices: Path) -> None:
    before = read_model_info(aged / "model").sha256
    run_recipe(recipe_of("age", voices, **AGED), aged, resume=True)
    assert read_model_info(aged / "model").sha256 == before


def test_emotions_too(voices: Path, tmp_path: Path) -> None:
    recipe = recipe_of(
        "emotion",
        voices,
        heads={"hidden": 0, "dropout": 0.0},
        losses={"gender": 0, "phonemes": 0, "intensity": 0},
        balance=["emotion"],
    )
    run_recipe(recipe, tmp_path)
    table = read_table(tmp_path / LEFT_OUT).filter(pl.col("condition") == "clean")
    called = np.array([int(np.argmax(row)) for row in table["probabilities"]])
    assert (called == table["category"].to_numpy()).mean() > 0.9
    model, rows = load_emotions(tmp_path / "model"), Manifest.read(voices)
    right = [
        model.estimate_file(rows.resolve(row)).likeliest == {"anger": "angry"}.get(str(row.emotion), row.emotion)
        for row in rows.rows()
    ]
    assert np.mean(right) > 0.9


def test_batches_follow_from_seed_and_place(voices: Path) -> None:
    from earwitness.corpora.samplers import BalancedSampler

    rows = Manifest.read(voices)
    vectors = np.random.default_rng(0).normal(size=(len(rows), 3, 5)).astype(np.float16)
    kept = KeptRows.of(rows, vectors, BalancedSampler(rows, ("speaker",), 8, 3))
    first, again = (next(iter(kept.load(2, [1]))) for _ in range(2))
    assert torch.equal(first.waveforms, again.waveforms)
    assert first.ids == again.ids
    assert first.targets.age is not None
    ages = {row.id: row.age for row in rows.rows()}
    assert first.targets.age.tolist() == [ages[name] for name in first.ids]
    assert not torch.equal(first.waveforms, next(iter(kept.load(3, [1]))).waveforms)


@pytest.mark.parametrize(
    ("task", "more", "what"),
    [
        ("age", {"left_out": {"views": ["narrow_band"]}}, "first of the views is `clean`"),
        ("age", {"regularise": {"views": 2}}, "cannot draw anew"),
        ("emotion", {"losses": {"phonemes": 0.1}}, "no frames for phonemes"),
    ],
)
def test_what_does_not_fit_is_refused(voices: Path, task: str, more: dict[str, object], what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        recipe_of(task, voices, **more)


def test_branches_that_learn_are_refused(voices: Path, tmp_path: Path) -> None:
    learning = {**SMALL, "branches": [{"frontend": {"kind": "fbank"}, "encoder": {"kind": "ecapa", "channels": 16}}]}
    with pytest.raises(RecipeError, match="weights that are trained"):
        run_recipe(recipe_of("age", voices, network=learning), tmp_path)
