"""With `--data-root` no recording outside of that folder is read, whatever names it; a refusal stands with its row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile
import yaml

from earwitness.cli.main import exit_code
from earwitness.core.errors import AudioError, UsageError
from earwitness.core.paths import confined_to, inside
from earwitness.corpora.manifest import Manifest
from tiny_models import make_detector, make_embedder

OUTSIDE = ("../secret.wav", "link.wav", "linked/secret.wav", "SECRET")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speechlike: Callable[..., Any]) -> Path:
    """A data root with two recordings, and four ways out of it to a recording that can be read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    data, away = tmp_path / "data", tmp_path / "away"
    data.mkdir()
    away.mkdir()
    for number, path in enumerate((data / "a.wav", data / "b.wav", tmp_path / "secret.wav", away / "secret.wav")):
        soundfile.write(path, speechlike(1.5, seed=number), 16_000)
    (data / "link.wav").symlink_to(tmp_path / "secret.wav")
    (data / "linked").symlink_to(away)
    outside = [str(tmp_path / "secret.wav") if name == "SECRET" else name for name in OUTSIDE]
    rows = [
        {
            "id": f"r{n}",
            "path": path,
            "label": ["bonafide", "spoof"][n % 2],
            "speaker": f"s{n}",
            "system": ["", "x"][n % 2],
        }
        for n, path in enumerate(["a.wav", "b.wav", *outside])
    ]
    pl.DataFrame(rows).write_csv(data / "rows.csv")
    make_detector(tmp_path / "detector")
    make_embedder(tmp_path / "embedder")
    return tmp_path


def test_the_rule_itself(home: Path) -> None:
    data = home / "data"
    assert inside(data, "a.wav") == (data / "a.wav").resolve()
    assert inside(data, "new/../b.wav") == (data / "b.wav").resolve()
    (data / "ring").symlink_to(data / "ring")
    for name in (*OUTSIDE[:3], str(home / "secret.wav"), "ring/x", "a\0b", "..", "/"):
        with pytest.raises(AudioError, match=r"outside of the data root|not a possible file name"):
            inside(data, name)
    (home / "database").mkdir()
    with pytest.raises(AudioError):
        inside(data, home / "database")  # begins with the same letters


def test_it_holds_for_every_manifest_and_ends(home: Path) -> None:
    manifest = home / "data" / "rows.csv"
    with confined_to(home / "data"):
        held = Manifest.read(manifest)
    free = Manifest.read(manifest)
    for made, refused in ((held, 4), (held.filter(pl.col("id") != "x"), 4), (held.rebased(home), 4), (free, 0)):
        found = 0
        for row in made.rows():
            try:
                made.resolve(row)
            except AudioError:
                found += 1
        assert found == refused
    with pytest.raises(UsageError, match="no such folder"), confined_to(home / "nowhere"):
        pass


def test_score_records_each_refusal(home: Path) -> None:
    words = "score data/rows.csv --task deepfake --model detector -o s.csv --data-root data"
    assert exit_code(words.split()) == 1
    table = pl.read_csv("s.csv")
    assert table["id"].to_list() == [f"r{n}" for n in range(6)]
    assert [score is not None for score in table["score"]] == [True] * 2 + [False] * 4
    assert all("outside of the data root" in error for error in table["error"].to_list()[2:])
    assert exit_code(["score", "data/rows.csv", "--task", "deepfake", "--model", "detector", "-o", "all.csv"]) == 0


def test_references_and_known_voices_are_confined_too(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score = "score data/a.wav --task speaker --model embedder -o s.csv --data-root data"
    assert exit_code([*score.split(), "--reference", "secret.wav"]) == 2
    assert "outside of the data root" in capsys.readouterr().err
    assert exit_code([*score.split(), "--known", "away"]) == 2
    assert "outside of the data root" in capsys.readouterr().err


def test_check_lists_each_refusal(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["corpus", "check", "data/rows.csv", "--data-root", "data", "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    refused = [problem["id"] for problem in problems if "outside of the data root" in problem["what"]]
    assert refused == ["r2", "r3", "r4", "r5"]


def test_evaluate_does_not_hear_them(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code(["score", "data/rows.csv", "--task", "deepfake", "--model", "detector", "-o", "s.csv"])
    judge = (
        "evaluate deepfake s.csv --key data/rows.csv --perturb gain+6db --perturbed p --model detector --control none"
    )
    code = exit_code([*judge.split(), "--data-root", "data"])
    said = capsys.readouterr()
    tables = list((home / "p").rglob("*.csv"))
    assert tables, said
    assert code in (0, 1)
    for table in tables:
        errors = pl.read_csv(table)["error"].to_list()
        assert sum("outside of the data root" in (error or "") for error in errors) == 4


def test_training_stops_before_anything_is_learnt(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = {"id": [f"r{n}" for n in range(6)], "split": ["train", "train", "dev", "dev", "test", "test"]}
    pl.DataFrame(sides).write_csv("sides.csv")
    recipe = {
        "name": "t",
        "task": "deepfake",
        "data": {"manifests": ["data/rows.csv"], "split_file": "sides.csv"},
        "network": {
            "branches": [{"frontend": {"kind": "log_mel", "n_mels": 20}, "pooling": {"kind": "statistics"}}],
            "outputs": 2,
        },
        "loop": {"epochs": 1, "batch_size": 2, "accelerator": "cpu"},
        "windows": {"kind": "sliding", "length_s": 0.6, "hop_s": 0.6},
    }
    (home / "r.yaml").write_text(yaml.safe_dump(recipe))
    assert exit_code(["train", "r.yaml", "-o", "run", "--data-root", "data", "--allow-leak"]) == 2
    assert "outside of the data root" in capsys.readouterr().err
    assert not list(home.glob("run/**/*.safetensors"))


def test_a_data_root_that_is_not_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["corpus", "check", "data/rows.csv", "--data-root", "nowhere"]) == 2
    assert "nowhere: there is no such folder" in capsys.readouterr().err
