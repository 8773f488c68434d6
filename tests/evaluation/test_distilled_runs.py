"""From recordings to a teacher, and from the teacher alone to a student: `earwitness train` with both recipes."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
import yaml

import earwitness
from earwitness.audio import reading
from earwitness.cli.main import exit_code
from earwitness.core.errors import DataError, LeakError, ModelError
from earwitness.corpora import batches as corpus_batches
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.assessing import distilled, sounds
from earwitness.evaluation.assessing.runs import assess_run, read_any_recipe, run_recipe
from earwitness.evaluation.assessing.sounds import answers
from earwitness.evaluation.loading import load
from earwitness.training import inversion
from earwitness.training.inversion.recipe import InversionRecipe
from earwitness.training.model_folder import read_model_info, verify_model
from earwitness.training.sound_classes import SoundClassifier, SoundClassRecipe
from earwitness.training.tensors import read_tensors

BRANCH = {
    "frontend": {"kind": "log_mel", "n_mels": 16},
    "encoder": {"kind": "conv2d", "widths": [6, 8, 8], "strides": [1, 2, 2]},
    "pooling": {"kind": "statistics"},
}
WORDS = {"low": 300.0, "middle": 900.0, "high": 2700.0}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four speakers say three words, which are tones of their own pitch, four times each."""
    home = tmp_path_factory.mktemp("words")
    chance, rows = np.random.default_rng(0), []
    time = np.arange(6_400) / 16_000
    for speaker in range(4):
        for word, hz in WORDS.items():
            for take in range(4):
                name = f"s{speaker} {word} {take}.wav"
                tone = 0.3 * np.sin(2 * np.pi * hz * (1 + 0.05 * speaker) * time + chance.uniform(0, 6))
                soundfile.write(home / name, tone + 0.02 * chance.standard_normal(len(time)), 16_000)
                rows.append(
                    {"path": name, "speaker": f"s{speaker}", "word": word, "duration_s": 0.4, "licence": "CC0-1.0"}
                )
    pl.DataFrame(rows).write_csv(home / "manifest.csv")
    return home


def teacher_recipe(home: Path) -> dict[str, Any]:
    return {
        "name": "words",
        "task": "sound-class",
        "data": {"manifests": [str(home / "manifest.csv")]},
        "column": "word",
        "split": {"kind": "given_folds", "column": "speaker", "test": ["s3"]},
        "audio": {"crop_s": 0.4, "trim_silence": False},
        "windows": {"kind": "tile", "length_s": 0.4},
        "network": {"branches": [BRANCH]},
        "optimiser": {"kind": "adam", "lr": 0.01},
        "loop": {"epochs": 12, "batch_size": 12, "accelerator": "cpu"},
    }


@pytest.fixture(scope="module")
def teacher(home: Path) -> Path:
    """The run of a teacher."""
    run = home / "teacher"
    run_recipe(SoundClassRecipe.model_validate(teacher_recipe(home)), run)
    return run


def student_recipe(home: Path, run: Path, **more: Any) -> dict[str, Any]:
    network = read_model_info(run / "model").network
    frontend = {"kind": "log_mel", "n_mels": 16}  # its standard is the teacher's
    branch = {
        **network["branches"][0],
        "frontend": frontend,
        "encoder": {"kind": "conv2d", "widths": [4, 4, 6], "strides": [1, 2, 2]},
    }  # type: ignore[index, call-overload, dict-item]
    return {
        "name": "words-small",
        "task": "inversion",
        "teacher": str(run / "model"),
        "student": {"branches": [branch]},
        "frames": 40,
        "synthesis": {"kind": "generator", "batch_size": 24, "steps": 8, "lr": 0.01, "width": 8, "z": 16},
        "contrast": {"bank": 48, "negatives": 24, "head": 8},
        "distillation": {"batch_size": 24},
        "optimiser": {"kind": "adam", "lr": 0.01},
        "schedule": {"kind": "constant"},
        "loop": {"rounds": 2, "steps": 8, "device": "cpu"},
        "test": {"data": {"manifests": [str(home / "manifest.csv")]}, "column": "word", "where": {"speaker": ["s3"]}},
        **more,
    }


def test_a_sound_classifier_is_trained_tested_and_answers(home: Path, teacher: Path) -> None:
    info = verify_model(teacher / "model")
    assert info.task == "sound-class"
    assert info.extra["classes"] == ["high", "low", "middle"]
    assert info.extra["input_range"] == {"low": -2.5, "high": 2.5}
    mean, deviation = info.network["branches"][0]["frontend"]["standard"]  # type: ignore[index, call-overload, misc]
    assert -14 < float(mean) < 0 < float(deviation)  # type: ignore[arg-type]
    row = json.loads((teacher / "results" / "accuracy.json").read_text())["rows"][0]
    assert row["value"] > 90
    assert row["files"] == 12
    assert row["low"] is None  # one speaker alone gives no interval over speakers
    assert "accuracy (top-1)" in (teacher / "model" / "CARD.md").read_text(encoding="utf-8")
    model = load(teacher / "model")
    assert isinstance(model, SoundClassifier)
    samples, rate = soundfile.read(home / "s3 high 0.wav")
    named = model.classify(samples, rate)
    assert named.name == "high"
    assert named.probabilities.sum() == pytest.approx(1)


def test_standardised_features_have_no_mean_and_unit_deviation(home: Path, teacher: Path) -> None:
    model = SoundClassifier.load(teacher / "model")
    train = Manifest.read(teacher / "train.csv")
    heard = [torch.from_numpy(soundfile.read(train.resolve(row), dtype="float32")[0])[None] for row in train.rows()]
    values = torch.cat([model.network.branches[0].frontend(samples).values for samples in heard])  # type: ignore[operator, union-attr]
    assert float(values.mean()) == pytest.approx(0, abs=1e-3)
    assert float(values.std()) == pytest.approx(1, abs=1e-3)


def test_the_teacher_resumes_and_refuses_what_is_not_there(home: Path, teacher: Path) -> None:
    run_recipe(SoundClassRecipe.model_validate(teacher_recipe(home)), teacher, resume=True)
    wrong = SoundClassRecipe.model_validate({**teacher_recipe(home), "column": "words"})
    with pytest.raises(DataError, match="no column `words`"):
        run_recipe(wrong, home / "wrong")
    torn = {**teacher_recipe(home), "split": {"kind": "given_folds", "column": "word", "test": ["high"]}}
    with pytest.raises(LeakError, match="speaker 's0'"):
        run_recipe(SoundClassRecipe.model_validate(torn), home / "torn")
    with pytest.raises(DataError, match="a class that training does not know"):
        run_recipe(SoundClassRecipe.model_validate(torn), home / "torn", allow_leak=True)


def test_a_bad_recording_is_an_error_of_its_own_and_counts_as_wrong(home: Path, teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "good.wav", soundfile.read(home / "s3 low 1.wav")[0], 16_000)
    rows = Manifest(pl.DataFrame({"path": ["bad.wav", "good.wav"], "sound": ["low", "low"]}), tmp_path)
    said = answers(SoundClassifier.load(teacher / "model"), rows)
    assert said.table["error"][0]
    assert said.table["named"].to_list() == [None, "low"]
    assert said.accuracy == 0.5
    interval = said.interval()
    assert interval is not None
    assert interval.unit == "recording"


@pytest.fixture(scope="module")
def student(home: Path, teacher: Path) -> Path:
    """The run of a student, through the command line."""
    recipe = home / "student.yaml"
    recipe.write_text(yaml.safe_dump(student_recipe(home, teacher)), encoding="utf-8")
    assert exit_code(["train", str(recipe), "-o", str(home / "student")]) == 0
    return home / "student"


def test_a_student_is_distilled_judged_and_described(home: Path, student: Path) -> None:
    info = verify_model(student / "model")
    assert info.task == "sound-class"
    assert info.calibration is None
    assert info.training["notes"][0] == "no recording was heard in training"  # type: ignore[index, call-overload]
    assert info.training["seconds_heard"] == 0.0
    assert [source.use for source in info.data] == ["training of its teacher"]
    row = json.loads((student / "results" / "accuracy.json").read_text())["rows"][0]
    assert (row["metric"], row["files"], row["data"]) == ("accuracy (top-1), %", 12, "test side")
    found = json.loads((student / "fit" / "diversity.json").read_text())
    assert found["samples"] == 48
    assert 1 <= found["covered"] <= found["classes"] == 3
    assert len(list((student / "fit" / "pool").iterdir())) == 2
    assert {path.name for path in (student / "model").iterdir()} == {"model.json", "weights.safetensors", "CARD.md"}
    events = [json.loads(line) for line in (student / "fit" / "log.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "epoch" for event in events) == 2
    assert {"note/bn", "note/asked", "note/agreement", "loss/kd", "loss/pre", "loss/post"} <= set(events[-1])
    assert assess_run(student).name == "words-small"
    assert isinstance(earwitness.load(student / "model"), SoundClassifier)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run / "model" / "weights.safetensors")[0]


@pytest.mark.shows("frami:6.7")
def test_no_real_sample_reaches_the_training(
    home: Path, teacher: Path, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training hears nothing while every way to a recording is shut, and ends with the bits that it has with test data
    named; only the judging afterwards opens files."""

    def shut(*given: Any, **more: Any) -> Any:
        raise AssertionError("a recording was opened")

    opened: list[Path] = []
    true_load = sounds.load

    def noted(path: Path, *given: Any) -> Any:
        opened.append(path)
        return true_load(path, *given)

    for module, name in ((reading, "load"), (reading, "stream"), (corpus_batches, "load"), (sounds, "load")):
        monkeypatch.setattr(module, name, shut)
    plain = student_recipe(home, teacher)
    with_test = InversionRecipe.model_validate(plain)
    without = InversionRecipe.model_validate({**plain, "test": None})
    distilled.run_inversion(with_test, tmp_path / "with")
    distilled.run_inversion(without, tmp_path / "without")
    with pytest.raises(AssertionError, match="a recording was opened"):
        assess_run(tmp_path / "with")
    assert weights(tmp_path / "with").keys() == weights(tmp_path / "without").keys()
    for name, value in weights(tmp_path / "with").items():
        assert torch.equal(value, weights(tmp_path / "without")[name])
        assert torch.equal(value, weights(student)[name])
    monkeypatch.undo()
    monkeypatch.setattr(sounds, "load", noted)
    assess_run(tmp_path / "with")
    assert len(opened) == 12
    card = assess_run(tmp_path / "without")
    assert card.known_failures[0].startswith("Answers 'inconclusive' whatever the score: It was not tested")


@pytest.mark.shows("frami:6.7")
def test_the_inversion_imports_no_loader_of_recordings() -> None:
    folder = Path(inversion.__file__).parent
    modules = sorted(folder.glob("*.py"))
    assert len(modules) > 10
    found = set()
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                found |= {f"{node.module}.{name.name}" for name in node.names}
            elif isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
    assert "earwitness.training.model_folder.load_network" in found  # the walk sees what is imported
    loaders = ("earwitness.audio", "earwitness.corpora", "earwitness.training.data", "soundfile", "av")
    assert [name for name in sorted(found) if name.startswith(loaders)] == []


def test_a_judge_between_rounds_changes_nothing(home: Path, teacher: Path, student: Path, tmp_path: Path) -> None:
    plan = InversionRecipe.model_validate(student_recipe(home, teacher))
    opened = inversion.open_teacher(plan.teacher)
    calls = []

    def judge(network: Any) -> dict[str, float]:
        torch.rand(5)  # it may draw as it likes
        calls.append(network.training)
        return {"accuracy": 0.5}

    done = inversion.distil(opened, plan, tmp_path, judge=judge)
    assert calls == [False] * 2
    assert done.rounds[0].judged == {"accuracy": 0.5}
    for name, value in weights(student).items():
        assert torch.equal(value, done.student.state_dict()[name])


def test_resume_goes_on_by_command(home: Path, teacher: Path, student: Path) -> None:
    recipe = str(home / "student.yaml")
    before = weights(student)
    assert exit_code(["train", recipe, "-o", str(student)]) == 2
    assert exit_code(["train", recipe, "-o", str(student), "--resume"]) == 0
    assert all(torch.equal(value, before[name]) for name, value in weights(student).items())


def test_a_wrong_recipe_is_answered_by_name(home: Path, teacher: Path, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump({**student_recipe(home, teacher), "weights": {"advv": 1}}), encoding="utf-8")
    assert exit_code(["train", str(file)]) == 2
    assert "did you mean 'adv'" in capsys.readouterr().err


def test_real_recordings_judge_sounds_only(home: Path, teacher: Path, tmp_path: Path) -> None:
    plain = student_recipe(home, teacher, teacher="speaker-small", input_range={"low": -9, "high": 9})
    with pytest.raises(ModelError, match="`test` judges sound classifiers"):
        run_recipe(InversionRecipe.model_validate(plain), tmp_path)


def test_a_speaker_model_is_distilled_without_data(tmp_path: Path) -> None:
    network = read_model_info(Path(earwitness.__file__).parent / "models" / "speaker-small").network
    branch = {**network["branches"][0], "encoder": {"kind": "ecapa", "channels": 16, "outputs": 24}}  # type: ignore[index, call-overload, dict-item]
    plain = {
        "name": "smaller-voice",
        "task": "inversion",
        "teacher": "speaker-small",
        "student": {"branches": [branch], "embedding": {"dim": 192}},
        "input_range": {"low": -9, "high": 9},
        "frames": 24,
        "synthesis": {"kind": "generator", "batch_size": 8, "steps": 2, "width": 4, "z": 8},
        "contrast": {"bank": 16, "negatives": 8, "head": 8},
        "distillation": {"batch_size": 8},
        "loop": {"rounds": 2, "steps": 2, "device": "cpu"},
    }
    model = run_recipe(InversionRecipe.model_validate(plain), tmp_path)
    info = verify_model(model)
    assert (info.task, info.polarity, info.cohort) == ("speaker", "higher = same speaker", None)
    assert info.known_failures[0].startswith("Answers 'inconclusive' whatever the score: It was distilled without data")
    print_ = earwitness.load(model).embed(0.1 * np.random.default_rng(0).standard_normal(32_000), 16_000)  # type: ignore[union-attr]
    assert print_.vector.shape == (192,)


def test_every_task_of_a_recipe_is_known(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("task: inversions\nname: x\n", encoding="utf-8")
    with pytest.raises(Exception, match="Did you mean 'inversion'"):
        read_any_recipe(file)
