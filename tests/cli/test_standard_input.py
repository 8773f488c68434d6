"""`-` is the recording that comes through standard input: scored and examined like its file, and gone afterwards."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import soundfile

from earwitness.cli.main import exit_code
from tiny_models import make_detector

SCORE = "score - --task deepfake --model made -o out.csv"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speechlike: Callable[..., Any]) -> Path:
    monkeypatch.chdir(tmp_path)
    soundfile.write(tmp_path / "a.flac", speechlike(2.0), 16_000)
    make_detector(tmp_path / "made")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


def pipe(monkeypatch: pytest.MonkeyPatch, data: bytes, terminal: bool = False) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: terminal))


def test_it_is_scored_like_its_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, (home / "a.flac").read_bytes())
    assert exit_code(SCORE.split()) == 0
    assert exit_code(["score", "a.flac", "--task", "deepfake", "--model", "made", "-o", "file.csv"]) == 0
    (piped,), (named,) = pl.read_csv("out.csv").to_dicts(), pl.read_csv("file.csv").to_dicts()
    assert (piped["id"], piped["path"]) == ("standard input", "standard input")
    assert {**piped, "id": "", "path": ""} == {**named, "id": "", "path": ""}
    assert list((home / "temporary").iterdir()) == []


def test_what_is_no_recording_is_a_row_with_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"", b"no sound at all"):
        pipe(monkeypatch, data)
        assert exit_code(SCORE.split()) == 1
        (row,) = pl.read_csv("out.csv").to_dicts()
        assert row["score"] is None
        assert row["error"]
        Path("out.csv").unlink()
    assert list((home / "temporary").iterdir()) == []


def test_it_is_examined_under_its_name(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    pipe(monkeypatch, (home / "a.flac").read_bytes())
    words = "examine - --model deepfake=made --no-manner --html page.html --json -"
    assert exit_code(words.split()) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["path"] == "standard input"
    page = (home / "page.html").read_text()
    assert "standard input" in page
    assert "temporary" not in page + json.dumps(report["findings"])
    pipe(monkeypatch, b"no sound at all")
    assert exit_code(["examine", "-", "--model", "deepfake=made", "--no-manner"]) == 1
    said = capsys.readouterr().err
    assert "standard input: " in said
    assert "temporary" not in said
    assert list((home / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [(f"{SCORE} --resume", "another recording each time"), (f"{SCORE} --data-root .", "lies in no folder")],
)
def test_what_makes_no_sense_with_it(home: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(words.split()) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [SCORE, "examine -"])
def test_a_terminal_is_no_recording(
    home: Path, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(monkeypatch, b"", terminal=True)
    assert exit_code(words.split()) == 2
    assert "standard input: is a terminal" in capsys.readouterr().err
