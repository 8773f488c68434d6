"""From a detector's recipe to a model folder that answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch

from earwitness.core.errors import LeakError, RecipeError, UsageError
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.training import train_detector
from earwitness.training.model_folder import load_weights, verify_model


def test_the_model_folder_is_whole_and_says_what_it_is(run: Path) -> None:
    info = verify_model(run / "model")
    assert (info.task, info.polarity, info.stored) == ("deepfake", "higher = bona fide", "float16")
    assert info.windows.name == "sliding 0.5 s / 0.5 s"
    assert [(source.name, source.licence, source.use) for source in info.data] == [
        ("c", "CC0-1.0", "training and calibration")
    ]
    assert info.training["command"] == "train tiny"
    assert any("dev window eer" in str(note) for note in info.training["notes"])  # type: ignore[union-attr]


def test_calibration_covers_every_condition_and_counts_the_dev_rows(run: Path) -> None:
    calibration = verify_model(run / "model").calibration
    dev = Manifest.read(run / "dev.csv").table["label"]
    assert calibration is not None
    assert [c.condition for c in calibration.conditions] == ["clean", "short", "narrow_band", "noisy"]
    counts = ((dev == "bonafide").sum(), (dev == "spoof").sum())
    assert {(c.positives, c.negatives) for c in calibration.conditions} == {counts}


def test_it_learnt_which_class_is_which(run: Path) -> None:
    """Sound without anything above 2 kHz is spoof here: every dev score of one class lies above the other's."""
    detector, dev = Detector.load(run / "model"), Manifest.read(run / "dev.csv")
    scores = [detector.score_file(dev.resolve(row)).score for row in dev.rows()]
    table = dev.table.with_columns(score=pl.Series(scores))
    real, made = (table.filter(pl.col("label") == label)["score"] for label in ("bonafide", "spoof"))
    assert real.min() > made.max()  # type: ignore[operator]


def test_families_of_dev_were_not_trained_on(run: Path) -> None:
    train, dev = Manifest.read(run / "train.csv").table, Manifest.read(run / "dev.csv").table
    assert set(dev["family"].drop_nulls()) == {"f1"}
    assert "f1" not in set(train["family"])
    assert not set(dev["speaker"].drop_nulls()) & set(train["speaker"].drop_nulls())


def test_a_finished_run_is_resumed_to_the_same_weights(run: Path, recipe: DetectionRecipe, tmp_path: Path) -> None:
    again = shutil.copytree(run, tmp_path / "again")
    shutil.rmtree(again / "model")
    with pytest.raises(UsageError, match="holds a run already"):
        train_detector(recipe, again)
    model = train_detector(recipe, again, resume=True)
    before, after = load_weights(run / "model"), load_weights(model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert verify_model(model).files == verify_model(run / "model").files


def test_a_field_that_came_later_does_not_stop_a_resume(run: Path, recipe: DetectionRecipe, tmp_path: Path) -> None:
    """As if the run had been started before the front-end had a `fmax`, which is off; a value that differs is named."""
    again = shutil.copytree(run, tmp_path / "again")
    note = again / "fit" / "recipe.json"
    plan = json.loads(note.read_text())
    frontend = plan["network"]["branches"][0]["frontend"]
    assert frontend.pop("fmax") is None
    note.write_text(json.dumps(plan))
    train_detector(recipe, again, resume=True)
    frontend["n_mels"] = 21
    note.write_text(json.dumps(plan))
    with pytest.raises(RecipeError, match=r"network\.branches\.0\.frontend\.n_mels was 21, is 20"):
        train_detector(recipe, again, resume=True)


def test_a_leak_stops_the_run_unless_it_is_allowed(corpus: Path, recipe: DetectionRecipe, tmp_path: Path) -> None:
    table = pl.read_csv(corpus)
    sides = ["train", "dev"] * 12  # every speaker's and system's number has one parity, and one side; families don't
    table.select(id="path").with_columns(split=pl.Series(sides)).write_csv(tmp_path / "sides.csv")
    data = recipe.data.model_copy(update={"split_file": tmp_path / "sides.csv"})
    torn = recipe.model_copy(update={"data": data, "loop": recipe.loop.model_copy(update={"epochs": 1})})
    with pytest.raises(LeakError, match="family 'f0'"):
        train_detector(torn, tmp_path / "run")
    model = train_detector(torn, tmp_path / "run", allow_leak=True)
    notes = verify_model(model).training["notes"]
    assert any("leak allowed by name: family 'f0'" in str(note) for note in notes)  # type: ignore[union-attr]
