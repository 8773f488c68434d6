"""`earwitness train` end to end: from recordings to a model whose card states what a command prints again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest
import yaml

from earwitness.cli.main import exit_code, run
from earwitness.evaluation.loading import load_detector
from earwitness.training.model_folder import read_model_info, verify_model
from toy_sides import make_sides

RECIPE = {
    "name": "tiny",
    "task": "deepfake",
    "notes": "A network that is far too small.",
    "data": {"manifests": ["MANIFEST"], "split_file": "SPLIT"},
    "split": {"shared_voices": ["known"]},
    "audio": {"crop_s": 0.6, "trim_silence": False},
    "network": {
        "branches": [
            {
                "frontend": {"kind": "log_mel", "n_mels": 20, "mean_norm": True},
                "encoder": {"kind": "resnet", "widths": [4, 6], "blocks": [1, 1], "strides": [2, 2]},
                "pooling": {"kind": "statistics"},
            }
        ],
        "embedding": {"dim": 8},
        "outputs": 2,
    },
    "optimiser": {"kind": "adamw", "lr": 0.01},
    "loop": {"epochs": 2, "batch_size": 8, "accelerator": "cpu", "select": {"metric": "eer"}},
    "windows": {"kind": "sliding", "length_s": 0.6, "hop_s": 0.6},
}


def earwitness(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        run([str(word) for word in words])
    return int(stop.value.code or 0)


def make_corpus(folder: Path, speechlike) -> Path:
    manifest, split = make_sides(folder, speechlike)
    recipe = RECIPE | {"data": {"manifests": [str(manifest)], "split_file": str(split)}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, speechlike) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), speechlike)


@pytest.fixture(scope="module")
def trained(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert earwitness("train", recipe, "-o", folder) == 0
    return folder


VALUE = r'"value": (-?[0-9.e-]+)'


def rows_of(run: Path, name: str) -> list[dict]:
    return json.loads((run / "results" / f"{name}.json").read_text())["rows"]


def test_a_run_leaves_tables_results_and_a_model(trained: Path) -> None:
    info = verify_model(trained / "model")
    assert {"train.csv", "dev.csv", "test.csv", "fit", "results", "model"} <= {path.name for path in trained.iterdir()}
    names = {path.name for path in (trained / "results").iterdir()}
    assert {"test.scores.csv", "telephone.scores.csv", "control.scores.csv", "dev.scores.csv"} <= names
    assert {"test.json", "twins.json", "telephone.json", "false_alarms.json"} <= names
    assert pl.read_csv(trained / "results" / "twins.scores.csv").height == 12
    scores = pl.read_csv(trained / "results" / "test.scores.csv")
    assert scores.height == 16
    assert set(scores["model"]) == {info.reference}
    detector = load_detector(trained / "model")
    first = pl.read_csv(trained / "test.csv").row(0, named=True)
    again = detector.score_file(trained / first["path"]).score
    assert scores.filter(pl.col("id") == first["id"])["score"][0] == pytest.approx(again, abs=1e-6)


def test_every_figure_of_the_card_can_be_reproduced(trained: Path, capfd) -> None:
    card = (trained / "model" / "CARD.md").read_text()
    rows = read_model_info(trained / "model").extra["results"]
    pooled = next(row for row in rows if row["source"] == "results/test.json")
    assert (pooled["metric"], pooled["files"], pooled["unit"]) == ("EER (interpolated), %", 16, "speaker x system")
    assert f"| {pooled['data']} | EER (interpolated), % | {pooled['value']:.4g} |" in card
    assert "never heard before" in pooled["data"]
    assert "family world against all real speech" in card
    assert "model minus trivial control" in card
    for name in ("test", "twins", "telephone"):
        capfd.readouterr()
        assert earwitness("reproduce", trained / "results" / f"{name}.json") == 0
        assert "difference 0" in capfd.readouterr().out
        written = (trained / "results" / f"{name}.json").read_text()
        for row in (row for row in rows if row["source"] == f"results/{name}.json"):
            scale = 100 if row["metric"].endswith("%") else 1
            assert any(abs(scale * float(text) - row["value"]) < 1e-9 for text in re.findall(VALUE, written)), row


def test_the_telephone_band_is_heard_as_such(trained: Path) -> None:
    plain, narrow = (pl.read_csv(trained / "results" / f"{name}.scores.csv") for name in ("test", "telephone"))
    assert list(plain["id"]) == list(narrow["id"])
    assert (plain["score"] - narrow["score"]).abs().min() > 1e-4


def test_false_alarms_of_voices_that_training_knew(trained: Path) -> None:
    rows = {row["data"]: row for row in rows_of(trained, "false_alarms")}
    threshold = read_model_info(trained / "model").thresholds["dev EER"]
    scores = pl.read_csv(trained / "results" / "test.scores.csv").join(
        pl.read_csv(trained / "test.csv").select("id", "speaker"), on="id"
    )
    known = scores.filter((pl.col("label") == "bonafide") & (pl.col("speaker") == "known"))
    found = rows["real speech, voice known (also in training)"]
    assert (found["files"], found["unit"]) == (2, "file")
    assert found["value"] == pytest.approx(100 * float((known["score"] < threshold).mean()))
    assert rows["real speech of the test side"]["files"] == 8


def test_a_model_that_is_not_better_than_the_control_says_so(trained: Path) -> None:
    info = read_model_info(trained / "model")
    better = [row for row in info.extra["results"] if "minus" in row["data"]]
    assert info.extra["inconclusive"] is bool(info.extra["inconclusive_because"])
    assert info.extra["inconclusive"] is (not better or any(row["high"] >= 0 for row in better))
    if info.extra["inconclusive"]:
        assert "Answers 'inconclusive' whatever the score" in (trained / "model" / "CARD.md").read_text()
    assert info.tested.languages == ("de", "pl")
    assert any("trained on 0 minutes: 8 real files" in note for note in info.tested.notes)


def test_resuming_a_finished_run_changes_nothing(trained: Path, recipe: Path) -> None:
    before = read_model_info(trained / "model")
    stamp = (trained / "results" / "test.scores.csv").read_bytes()
    assert earwitness("train", recipe, "-o", trained) == 2  # a run lies there already
    assert earwitness("train", recipe, "-o", trained, "--resume") == 0
    after = read_model_info(trained / "model")
    assert after.sha256 == before.sha256
    assert after.extra == before.extra
    assert (trained / "results" / "test.scores.csv").read_bytes() == stamp


def test_the_card_can_be_made_again(trained: Path) -> None:
    before = (trained / "model" / "CARD.md").read_text()
    (trained / "results" / "test.json").unlink()
    assert earwitness("model", "card", trained) == 0
    assert (trained / "model" / "CARD.md").read_text() == before
    assert (trained / "results" / "test.json").is_file()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("loop.epoch=3", "did you mean 'epochs'"),
        ("optimiser.kind=adamww", "Did you mean 'adamw'"),
        ("loop.epochs", "not of the form"),
    ],
)
def test_a_typo_is_answered_with_the_nearest_name(recipe: Path, tmp_path: Path, capfd, setting: str, said: str) -> None:
    assert earwitness("train", recipe, "--set", setting, "-o", tmp_path / "run") == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_missing_recipe_is_one_line(tmp_path: Path, capfd) -> None:
    assert earwitness("train", tmp_path / "none.yaml") == 2
    assert "there is no such file" in capfd.readouterr().err


def test_a_complementary_model_is_not_to_be_used_alone(tmp_path: Path, capsys, monkeypatch) -> None:
    recipe = Path(__file__).resolve().parents[2] / "recipes" / "published" / "acorl-ecapa-c512.yaml"
    monkeypatch.setattr("earwitness.evaluation.assessing.runs.run_recipe", lambda *_, **__: tmp_path)
    said = []
    for change in ([], ["--set", "complementary=null"]):
        assert exit_code(["train", str(recipe), *change]) == 0
        said.append("not to use alone" in capsys.readouterr().err)
    assert said == [True, False]
