"""Age models: what is learnt and refused, the run from recipe to card, and what an estimate says."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from age_voices import recipe, voice, write_voices

import earwitness
from earwitness.core.config import parse_config
from earwitness.core.errors import AudioError, DataError, LeakError, ModelError, RecipeError
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.batches import sex_class
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.assessing.runs import AnyRecipe, run_recipe
from earwitness.nn.losses.label_distribution import GridConfig, SvldlConfig
from earwitness.paralinguistic.age import (
    CRITERION_FILE,
    AgeEstimate,
    AgeEstimator,
    average,
    fitted_temperature,
    tempered,
)
from earwitness.paralinguistic.age_recipe import AgeRecipe, SexConfig
from earwitness.paralinguistic.age_task import AgeHeard, AgeTask
from earwitness.paralinguistic.age_training import check_ages, read_ages, train_age, with_ages
from earwitness.training.model_folder import read_model_info, verify_model

GRID = GridConfig()


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voices(tmp_path_factory.mktemp("age-voices"))


@pytest.fixture(scope="module")
def run(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("age-run") / "pitch"
    assert run_recipe(recipe(voices), folder) == folder / "model"
    return folder


def gaussian(mean: float, width: float) -> np.ndarray:
    grid = GRID.build().double()
    return grid.distribution(torch.tensor(mean).double(), torch.tensor(width).double()).numpy()


def estimate(mean: float, width: float, seconds: float = 1.0, female: float | None = None) -> AgeEstimate:
    return AgeEstimate.of(GRID.values, gaussian(mean, width), seconds, seconds, female)


def test_a_run_learns_ages_and_says_what_they_are_worth(run: Path) -> None:
    info = verify_model(run / "model")
    rows = {(row["data"], row["metric"]): row for row in json.loads((run / "results" / "age.json").read_text())["rows"]}
    table = pl.read_csv(run / "results" / "test.csv")
    assert table.height == 16
    error = (table["mean"] - table["age"]).abs().mean()
    assert rows["test side", "MAE, years"]["value"] == pytest.approx(error)
    constant = (table["age"] - 26.0).abs().mean()  # training ages lie evenly about 22 and 30
    median = rows["test side", "MAE of always answering the training median, years"]
    assert median["value"] == pytest.approx((table["age"] - info.extra["age"]["median"]).abs().mean())  # type: ignore[index, call-overload]
    assert error < 0.6 * constant  # type: ignore[operator]
    assert rows["test side", "MAE less that of the median, years"]["high"] < 0
    assert rows["test side", "MAE, years"]["unit"] == "speaker"
    inside = ((table["low"] <= table["age"]) & (table["age"] <= table["high"])).mean()
    assert rows["test side", "coverage of the 80 % interval, %"]["value"] == pytest.approx(100 * inside)  # type: ignore[operator]
    assert rows["test side", "NLL of the age, nats"]["value"] == pytest.approx(table["nll"].mean())
    assert rows["test side", "CRPS, years"]["value"] == pytest.approx(table["crps"].mean())
    assert ("test side, male", "MAE, years") in rows
    assert ("test side, adults (18 and over)", "recall, %") in rows
    assert info.extra["inconclusive"] is False
    card = (run / "model" / "CARD.md").read_text()
    assert "MAE of always answering the training median" in card
    assert "deciding whether a person is of age" in card
    assert "temperature" in card


def test_the_log_says_which_widths_were_selected(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "fit" / "log.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert "note/width_mean" not in epochs[0]  # of the warm-up
    assert sum(epochs[1][f"note/width_{width:g}"] for width in SvldlConfig().widths) == pytest.approx(1)
    assert epochs[1]["note/ages_a_batch"] >= 4
    for name in ("mae", "mae_median", "pearson", "ccc", "nll", "crps", "coverage"):
        assert math.isfinite(epochs[1][f"dev/{name}"])
    assert {"loss/ldl", "loss/difference", "loss/variance", "loss/ccc", "loss/sex"} <= set(epochs[1])


def test_the_same_seed_gives_the_same_model(run: Path, voices: Path, tmp_path: Path) -> None:
    again = train_age(recipe(voices), tmp_path / "again")
    assert read_model_info(again).sha256 == read_model_info(run / "model").sha256
    assert AgeEstimator.load(again).reading == AgeEstimator.load(run / "model").reading


def test_a_loaded_model_hears_recordings_by_windows(run: Path, tmp_path: Path) -> None:
    estimator = earwitness.load(run / "model")
    assert isinstance(estimator, AgeEstimator)
    young, old = voice(10, 77, 1.0), voice(58, 78, 1.0)
    heard, other = estimator.estimate(young, 16_000), estimator.estimate(old, 16_000)
    assert heard.mean < other.mean - 15
    assert heard.low <= heard.mean <= heard.high
    assert heard.sd > 0
    assert heard.distribution.sum() == pytest.approx(1)
    assert (heard.seconds_used, heard.seconds_total) == (1.0, 1.0)
    assert heard.female is not None
    assert 0 < heard.female < 1
    soundfile.write(tmp_path / "young.wav", young, 16_000, subtype="FLOAT")
    assert estimator.estimate_file(tmp_path / "young.wav").mean == pytest.approx(heard.mean, abs=1e-6)
    # windows are averaged as distributions, and then brought to the temperature
    estimator.reading = estimator.reading.model_copy(update={"temperature": 1.0})
    halves = [estimator.estimate(part, 16_000).distribution for part in np.split(young, 2)]
    whole = estimator.estimate(young, 16_000).distribution
    np.testing.assert_allclose(whole, np.mean(halves, axis=0), atol=1e-6)
    with pytest.raises(AudioError, match="an age needs at least"):
        estimator.estimate(np.zeros(16_000, np.float32), 16_000)


def test_a_recording_that_cannot_be_judged_is_a_row_with_its_error(run: Path, voices: Path, tmp_path: Path) -> None:
    from earwitness.evaluation.assessing.age import assess_age

    copy = tmp_path / "run"
    copy.mkdir()
    soundfile.write(voices.parent / "silent.wav", np.zeros(8_000, np.float32), 16_000)
    side = pl.read_csv(run / "test.csv", infer_schema_length=None)
    there = Manifest.read(run / "test.csv")
    silent = there.table.head(1).with_columns(id=pl.lit("silent"), path=pl.lit(str(voices.parent / "silent.wav")))
    there.with_table(pl.concat([there.table, silent])).write(copy / "test.csv")
    assess_age(run / "model", copy)
    table = pl.read_csv(copy / "results" / "test.csv", infer_schema_length=None)
    assert table.height == side.height + 1
    (row,) = table.filter(pl.col("id") == "silent").to_dicts()
    assert row["mean"] is None
    assert "holds 0.00 s of sound" in row["error"]
    assert json.loads((copy / "results" / "age.json").read_text())["failed"] == 1


def test_what_a_loss_learns_itself_is_part_of_the_model(voices: Path, tmp_path: Path) -> None:
    loop = {"epochs": 1, "batch_size": 16, "accelerator": "cpu"}
    model = train_age(
        recipe(voices, loss={"kind": "coral"}, sex=None, loop=loop, recalibrate="crps"), tmp_path / "coral"
    )
    assert CRITERION_FILE in verify_model(model).files
    estimator = AgeEstimator.load(model)
    biases = dict(estimator.criterion.named_parameters())["biases"].detach()
    assert not torch.equal(biases, estimator.reading.loss.build().biases)  # type: ignore[union-attr, arg-type]
    heard = estimator.estimate(voice(30, 5), 16_000)
    assert heard.female is None
    assert 0 < heard.mean < 100
    assert estimator.reading.fitted_by == "crps"


def test_recordings_of_a_voice_are_averaged_by_distribution() -> None:
    both = average([estimate(20, 2, 3.0, 0.2), estimate(60, 2, 4.0, 0.4)])
    assert both.mean == pytest.approx(40, abs=1e-6)
    assert both.sd == pytest.approx(math.hypot(20, 2), abs=1e-2)  # as wide as they disagree
    assert (both.low, both.high) == (18, 62)
    assert (both.seconds_used, both.seconds_total, both.female) == (7.0, 7.0, pytest.approx(0.3))
    assert average([estimate(20, 2), estimate(20, 2, female=0.5)]).female is None
    with pytest.raises(ModelError, match="no estimates"):
        average([])
    short = AgeEstimate.of((0.0, 1.0), np.array([0.5, 0.5]), 1, 1)
    with pytest.raises(ModelError, match="different ages"):
        average([short, estimate(20, 2)])


def test_the_interval_is_the_one_that_coverage_is_of() -> None:
    one = estimate(40, 5)
    cdf = np.cumsum(gaussian(40, 5))
    assert one.low == np.argmax(cdf >= 0.1)
    assert one.high == np.argmax(cdf >= 0.9)
    assert (one.mean, one.sd) == (pytest.approx(40), pytest.approx(5, abs=1e-3))


def test_a_temperature_makes_the_width_a_standard_deviation() -> None:
    """Distributions of width 2 about truths that scatter by 4: the variance must grow fourfold, and so T = 4."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(30, 70, 800)
    ages = np.rint(centres + 4 * rng.standard_normal(800))
    bare = np.stack([gaussian(centre, 2) for centre in centres])
    for by in ("nll", "crps"):
        found = fitted_temperature(ages, GRID.values, bare, by)  # type: ignore[arg-type]
        assert found == pytest.approx(4, rel=0.1)
    np.testing.assert_allclose(tempered(bare[:2], 4.0), [gaussian(centre, 4) for centre in centres[:2]], atol=1e-4)
    assert fitted_temperature(ages, GRID.values, bare, "none") == 1
    assert tempered(bare, 1.0) is bare


def heard(outputs: torch.Tensor, sexes: torch.Tensor) -> tuple[AgeHeard, Batch]:
    ages = torch.full((len(outputs),), 30.0)
    targets = Targets(age=ages, sex=sexes)
    batch = Batch(torch.zeros(len(outputs), 8), torch.full((len(outputs),), 8), targets, ("x",) * len(outputs))
    return AgeHeard(torch.zeros(len(outputs), 4), outputs[:, :101], outputs[:, 101:]), batch


def test_items_without_a_sex_are_masked() -> None:
    torch.manual_seed(0)
    task = AgeTask(SvldlConfig().build(), SexConfig(weight=0.1), 30.0)
    outputs = torch.randn(4, 103)
    outputs[0, 101:] = torch.tensor([math.log(0.8), math.log(0.2)])
    known = task.terms(*heard(outputs, torch.tensor([0, -1, -1, -1])))["sex"]
    assert known.item() == pytest.approx(0.1 * 0.0089257, abs=1e-7)
    assert task.terms(*heard(outputs, torch.tensor([-1, -1, -1, -1])))["sex"].item() == 0
    assert "sex" not in AgeTask(SvldlConfig().build(), None, 30.0).terms(*heard(outputs, torch.tensor([0, 1, 0, 1])))


def test_sexes_as_corpora_write_them() -> None:
    words = ("f", "F", "female", "female_feminine", "m", "Male", "male_masculine", "other", "", None)
    assert [sex_class(word) for word in words] == [0, 0, 0, 0, 1, 1, 1, -1, -1, -1]


def test_a_row_without_an_age_cannot_be_learnt_from() -> None:
    task = AgeTask(SvldlConfig().build(), None, 30.0)
    said, batch = heard(torch.randn(2, 101), torch.tensor([0, 1]))
    with pytest.raises(DataError, match="with an age only"):
        task.terms(said, Batch(batch.waveforms, batch.lengths, Targets(age=torch.tensor([math.nan, 1])), batch.ids))


def rows_of(ages: list[float | None], **columns: list[Any]) -> Manifest:
    table = {"path": [f"{place}.wav" for place in range(len(ages))], "age": ages}
    return Manifest(pl.DataFrame(table | columns, strict=False), Path())


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (0.0, "row '1.wav' says an age of 0 years"),
        (140.0, "row '1.wav' says an age of 140 years"),
        (104.0, "row '1.wav' is 104 years old, beyond the grid of 0 to 100"),
    ],
)
def test_ages_that_nobody_has_are_refused(age: float, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        check_ages(rows_of([30.0, age]), GRID)
    check_ages(rows_of([30.0, 100.0]), GRID)


def test_rows_that_are_not_learnt_from_are_counted() -> None:
    labels, corpora = ["bonafide", "spoof", None, None, None], ["a", "a", "a", "a", "b"]
    rows, notes = with_ages(rows_of([30.0, 31.0, 32.0, None, 34.0], label=labels, corpus=corpora), ["a"])
    assert rows.table["age"].to_list() == [30.0, 32.0]
    assert [note.split(" ")[0] for note in notes] == ["1", "1", "1"]
    with pytest.raises(DataError, match="there is no corpus 'c'"):
        with_ages(rows_of([30.0], corpus=["a"]), ["c"])
    with pytest.raises(DataError, match="no row has an age"):
        with_ages(rows_of([None, None]))


def test_a_speaker_on_two_sides_is_refused(voices: Path, tmp_path: Path) -> None:
    sides = pl.read_csv(voices.parent / "sides.csv").with_columns(split=pl.lit("train"))
    sides[0, "split"] = "dev"
    sides.write_csv(tmp_path / "sides.csv")
    data = {"manifests": [str(voices)], "split_file": str(tmp_path / "sides.csv")}
    with pytest.raises(LeakError, match="speaker '8-0'"):
        read_ages(recipe(voices, data=data))


def test_bands_of_age_and_what_the_ends_of_the_grid_do(voices: Path) -> None:
    data = read_ages(recipe(voices))
    bands = dict(zip(data.train.table["age"], data.train.table["age_band"], strict=True))
    assert bands[8.0] == "5"
    assert bands[60.0] == "60"
    assert any("near the end of the grid" in note for note in data.notes)  # targets of width 10 at 8 years


def test_a_change_of_speed_is_warned_of(voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nested = [{"kind": "one_of", "components": [{"kind": "speed"}, {"kind": "gain"}]}]
    assert not recipe(voices).changes_speed
    loop = {"epochs": 1, "batch_size": 64, "accelerator": "cpu"}
    model = train_age(recipe(voices, perturbations=nested, loop=loop), tmp_path / "fast")
    assert "warning: a perturbation of this recipe changes speed and pitch" in capsys.readouterr().err
    assert any("changes speed" in str(note) for note in read_model_info(model).training["notes"])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"loss": {"kind": "svldl", "grid": {"low": 0, "high": 100, "step": 0.5}}},
            "grid of ages is one of whole years",
        ),
        ({"network.outputs": 7}, "needs `network.outputs: 103`"),
        ({"paths": "dual", "perturbations": [{"kind": "gain"}]}, "are for detectors and speaker models"),
        ({"loss": {"kind": "svldl", "widhts": [2.0]}}, "did you mean 'widths'"),
    ],
)
def test_recipes_that_cannot_be(voices: Path, changes: dict[str, Any], words: str) -> None:
    data = recipe(voices).model_dump(mode="json")
    if "network.outputs" in changes:
        data["network"]["outputs"] = changes["network.outputs"]
    else:
        data |= changes
    with pytest.raises(RecipeError, match=re.escape(words)):
        parse_config(AnyRecipe, data)


def test_the_default_recipe_is_one(voices: Path) -> None:
    from earwitness.training.recipe import read_recipe

    path = Path(__file__).resolve().parents[2] / "recipes" / "default" / "age-small.yaml"
    found: AgeRecipe = read_recipe(path, AnyRecipe)
    assert found.outputs == 103
    assert not found.changes_speed
