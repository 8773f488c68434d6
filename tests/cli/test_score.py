"""`earwitness score`: exit codes, what it says, and that it agrees with the Python API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile

import earwitness
from earwitness.cli.main import exit_code
from tiny_models import make_detector, make_embedder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speechlike: Callable[..., Any]) -> Path:
    """The current folder: two models, three recordings, a list of trials."""
    make_detector(tmp_path / "detector")
    make_embedder(tmp_path / "embedder")
    (tmp_path / "calls").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "calls" / f"{number}.wav", speechlike(2, seed=number), 16_000)
    (tmp_path / "trials.txt").write_text("1 0.wav 1.wav\n0 2.wav 1.wav\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def score(*words: str) -> int:
    return exit_code(["score", *" ".join(words).split()])


def test_deepfake_scores_are_those_of_the_api(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("calls --task deepfake --model detector -o out.csv") == 0
    assert "3 done, 0 already there, 0 with an error: out.csv" in capsys.readouterr().err
    detector = earwitness.load("detector")
    for row in pl.read_csv(home / "out.csv").to_dicts():
        samples, rate = soundfile.read(home / "calls" / row["path"], dtype="float32")
        found = detector.score(samples, rate)
        assert row["score"] == pytest.approx(found.score, abs=1e-6)
        assert row["llr"] == pytest.approx(found.llr, abs=1e-6)


def test_bad_files_are_listed_and_give_exit_code_1(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "calls" / "bad\x1b[31m\n.wav").write_text("no sound")
    assert score("calls --task deepfake --model detector -o out.jsonl --workers 2") == 1
    shown = capsys.readouterr().err
    assert "bad\\x1b[31m\\n.wav: is not audio" in shown
    assert "4 done, 0 already there, 1 with an error" in shown
    rows = [json.loads(line) for line in (home / "out.jsonl").read_text().splitlines()]
    assert [row["error"] is None for row in rows] == [True, True, True, False]
    assert score("calls --task deepfake --model detector -o out.jsonl --resume") == 1  # the failure still stands there
    assert "0 done, 4 already there, 1 with an error" in capsys.readouterr().err


def test_speakers_by_trials_and_by_references(home: Path) -> None:
    assert score("calls --task speaker --model embedder --trials trials.txt -o trials.csv") == 0
    assert pl.read_csv("trials.csv")["label"].to_list() == ["target", "nontarget"]
    assert score("calls --task speaker --model embedder -o refs.csv --reference calls/0.wav calls/1.wav") == 1
    rows = pl.read_csv("refs.csv")
    assert rows["score"].is_null().to_list() == [True, True, False]  # a reference is not compared with itself
    assert rows["references"][0].startswith("2 recording(s)")
    assert score("calls --task speaker --model embedder -o again.csv --reference calls/[01].wav") == 1
    assert pl.read_csv("again.csv").equals(rows)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "calls --task ages -o out.csv",
            "unknown task 'ages'. This version scores: deepfake, speaker, age, emotion, quality.",
        ),
        ("calls --task speaker -o out.csv", "needs either --trials or --reference"),
        ("calls --task speaker --trials trials.txt --reference calls/0.wav -o out.csv", "needs either"),
        ("calls --task deepfake --trials trials.txt -o out.csv", "--trials belongs to --task speaker"),
        ("calls --task deepfake --engine spark -o out.csv", "unknown engine 'spark'. This version runs: local, ray."),
        ("missing.wav --task deepfake --model detector -o out.csv", "missing.wav: there is no such file"),
        ("missing/*.wav --task deepfake --model detector -o out.csv", "holds no recording"),
        ("calls --task deepfake --model nowhere -o out.csv", "nowhere: there is no such model"),
        ("calls --task deepfake --model embedder -o out.csv", "answers 'speaker', not 'deepfake'"),
        ("calls --task deepfake --model detector -o out.xlsx", "is not a table format"),
        ("calls --task speaker --model embedder --trials none.txt -o out.csv", "no such trial list"),
        ("calls --task speaker --model embedder --reference trials.txt -o out.csv", "cannot serve as a reference"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    home: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(words) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not list(home.glob("out*"))


def test_unfinished_rows_are_refused_by_name(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "out.csv.part.jsonl").write_text("")
    assert score("calls --task deepfake --model detector -o out.csv") == 2
    assert "out.csv.part.jsonl: an unfinished run left rows here. Add --resume" in capsys.readouterr().err
    assert score("calls --task deepfake --model detector -o out.csv --resume") == 0


def test_paths_outside_of_the_data_root_are_errors_of_their_rows(home: Path) -> None:
    (home / "list.csv").write_text("path\ncalls/0.wav\n../secret.wav\n")
    assert score("list.csv --task deepfake --model detector -o out.csv --data-root", str(home)) == 1
    assert pl.read_csv("out.csv")["error"].to_list()[0] is None
    assert "outside of the data root" in pl.read_csv("out.csv")["error"].to_list()[1]


def test_ratios_by_a_calibration_of_ones_own(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = earwitness.load("detector").info.reference
    rows = [
        {"id": f"u{i}", "score": i % 7 + 2.0 * (i < 30), "label": "bonafide" if i < 30 else "spoof"} for i in range(60)
    ]
    pl.DataFrame(rows).with_columns(model=pl.lit(model)).write_csv("ours.csv")
    assert exit_code(["calibrate", "deepfake", "ours.csv", "-o", "ours.json", "--resamples", "50"]) == 0
    assert score("calls --task deepfake --model detector -o out.csv --calibration ours.json") == 0
    fitted = json.loads((home / "ours.json").read_text())["calibration"]
    for row in pl.read_csv("out.csv").to_dicts():
        llr = fitted["scale"] * row["score"] + fitted["offset"]
        assert row["llr"] == pytest.approx(min(max(llr, fitted["low"]), fitted["high"]), abs=1e-6)
        assert row["calibration"].startswith("ours.json (sha256 ")
    capsys.readouterr()
    assert (
        score("calls --task deepfake --model detector -o out.csv --resume") == 2
    )  # rows of two calibrations don't mix
    assert score("calls --task speaker --model embedder --trials trials.txt -o t.csv --calibration ours.json") == 2
    assert "was made for scores of" in capsys.readouterr().err
    assert score("calls --task speaker --trials trials.txt -o t.csv --calibration ours.json --cohort calls") == 2
