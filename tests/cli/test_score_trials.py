"""`earwitness score --trials`: a cohort of one's own, trials of known speakers, and what is said about the list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile

from earwitness.cli.main import exit_code
from earwitness.speaker.identities import TRAINING_SPEAKERS, speaker_keys
from earwitness.training.model_folder import read_model_info, revise_model
from tiny_models import make_embedder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speechlike: Callable[..., Any]) -> Path:
    """A model that was trained on anna; recordings of anna and bert, and of three others."""
    make_embedder(tmp_path / "model")
    info = read_model_info(tmp_path / "model")
    revise_model(tmp_path / "model", info.model_copy(update={"extra": {TRAINING_SPEAKERS: speaker_keys(["anna"])}}))
    for number in range(7):
        soundfile.write(tmp_path / f"{number}.wav", speechlike(1.5, seed=number), 16_000)
    (tmp_path / "test.csv").write_text("path,speaker\n0.wav,anna\n1.wav,bert\n2.wav,bert\n3.wav,carl\n")
    (tmp_path / "others.csv").write_text("path,speaker\n4.wav,x\n5.wav,y\n6.wav,z\n")
    (tmp_path / "clean.txt").write_text("1 1.wav 2.wav\n0 1.wav 3.wav\n")
    (tmp_path / "known.txt").write_text("1 1.wav 2.wav\n0 1.wav 0.wav\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def score(words: str) -> int:
    return exit_code(["score", *words.split()])


def test_a_cohort_stands_in_the_table_and_the_list_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "test.csv --task speaker --model model --trials clean.txt --cohort others.csv --top 2 -o out.csv"
    assert score(words) == 0
    shown = capsys.readouterr().err
    assert "clean.txt: 2 trials, 1 target, 2 speakers; no published VoxCeleb1 list" in shown
    assert "leak check: none of 2 speakers is known from training or cohort" in shown
    table = pl.read_csv("out.csv", infer_schema=False)
    assert table["comparison"][0].endswith("; K: 2")
    assert score(f"{words} --subtract-mean --resume") == 0
    assert "mean subtraction: sha256" in pl.read_csv("out.csv", infer_schema=False)["comparison"][0]


def test_trials_of_known_speakers_are_refused_unless_allowed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "test.csv --task speaker --model model --trials known.txt -o out.csv"
    assert score(words) == 2
    assert "1 speaker(s) ('anna') of the trials are speakers of its training" in capsys.readouterr().err
    assert not list(home.glob("out*"))
    assert score(f"{words} --allow-leak") == 0
    assert pl.read_csv("out.csv")["leak_check"][0].startswith("leak allowed by name: 1 speaker(s) ('anna')")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--cohort others.csv --reference 0.wav", "--cohort belongs to --trials"),
        ("--allow-leak --reference 0.wav", "--allow-leak belongs to --trials"),
        ("--trials clean.txt --top 5", "--top belongs to --cohort"),
        ("--trials clean.txt --subtract-mean", "--subtract-mean belongs to --cohort"),
        ("--trials clean.txt --cohort nowhere.csv", "nowhere.csv: there is no such file"),
        ("--trials trials.txt --uncertainty up-cos", "unknown use"),
        ("--reference calls/0.wav --uncertainty up_cos", "belongs to --trials"),
        ("--trials trials.txt --uncertainty up_cos --calibration c.json", "model's own comparison"),
        ("--trials trials.txt --uncertainty conservative", "states no variance"),
    ],
)
def test_options_that_do_not_fit(home: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(f"test.csv --task speaker --model model {words} -o out.csv") == 2
    assert said in capsys.readouterr().err
