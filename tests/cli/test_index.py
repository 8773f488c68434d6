"""`earwitness index` builds, asks and describes; nothing in it can drive the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile

from earwitness.cli.main import run

RATE = 16_000


def earwitness(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        run(["index", *map(str, words)])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory, speechlike: Any) -> Path:
    home = tmp_path_factory.mktemp("speech")
    for n in range(4):
        soundfile.write(home / f"{n}.wav", speechlike(1.0, RATE, n), RATE)
    soundfile.write(home / "fake.wav", speechlike(1.0, RATE, 9), RATE)
    rows = [{"path": f"{n}.wav", "label": "bonafide", "speaker": f"\x1b[2Js{n % 2}"} for n in range(4)]
    pl.DataFrame([*rows, {"path": "fake.wav", "label": "spoof", "speaker": "s0"}]).write_csv(home / "all.csv")
    return home


@pytest.fixture
def index(speech: Path, tmp_path: Path, capfd) -> Path:
    folder = tmp_path / "genuine"
    assert earwitness("build", speech / "all.csv", "-o", folder, "--encoder", "log_mel", "--segment", 1) == 0
    said = capfd.readouterr().err
    assert "1 row(s) left out: they are labelled spoof" in said
    assert "4 recording(s) added (4 segments), 0 already there, 0 with a problem" in said
    return folder


def test_build_goes_on_as_the_index_was_made(index: Path, speech: Path, capfd) -> None:
    assert earwitness("build", speech / "all.csv", "-o", index) == 0
    assert "0 recording(s) added (0 segments), 4 already there" in capfd.readouterr().err
    assert earwitness("build", speech / "all.csv", "-o", index, "--tau", 3) == 2
    assert "was built by the recipe" in capfd.readouterr().err
    assert earwitness("build", speech / "all.csv", "-o", index, "--similarity", "near") == 2
    assert "cosine or euclidean" in capfd.readouterr().err


def test_a_bad_file_is_listed_and_the_rest_is_there(index: Path, tmp_path: Path, speech: Path, capfd) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "bad.wav").write_bytes(b"nothing")
    (tmp_path / "more" / "good.wav").write_bytes((speech / "fake.wav").read_bytes())
    assert earwitness("build", tmp_path / "more", "-o", index) == 1
    said = capfd.readouterr().err
    assert "bad.wav: " in said
    assert "2 row(s) without a label are taken for genuine on your word" in said
    assert "the index holds 5 segments" in said


def test_search_in_words_and_as_data(index: Path, speech: Path, capfd) -> None:
    assert earwitness("search", index, speech / "0.wav", "-k", 2) == 0
    printed = capfd.readouterr().out
    assert "0.wav: 2 of 2 asked, from 3 genuine segments" in printed
    assert "1 segment(s) excluded as the recording itself (1 by the same id)" in printed
    assert "\x1b[2J" not in printed
    assert earwitness("search", index, speech / "fake.wav", "-k", 9, "--json") == 0
    (found,) = json.loads(capfd.readouterr().out)
    assert found["candidates"] == 4
    assert found["excluded"] == {"segments": 0, "same_id": 0, "same_source": 0, "same_audio": 0}
    assert len(found["neighbours"]) == 4
    assert found["neighbours"][0]["origin"]["id"].endswith(".wav")
    assert earwitness("search", index, speech / "all.csv", "-k", 1) == 0
    printed = capfd.readouterr().out
    assert printed.count("neighbours of the same speaker, by layer: ") == 5
    assert "neighbours of the same speaker, mean over 5 recordings, by layer: " in printed


def test_search_of_what_cannot_be_heard(index: Path, tmp_path: Path, speech: Path, capfd) -> None:
    (tmp_path / "bad.wav").write_bytes(b"nothing")
    assert earwitness("search", index, tmp_path / "bad.wav", speech / "1.wav") == 1
    captured = capfd.readouterr()
    assert "1.wav: " in captured.out
    assert captured.err.startswith("earwitness: ")
    assert earwitness("search", tmp_path, speech / "1.wav") == 2
    assert "is no index" in capfd.readouterr().err


def test_info(index: Path, capfd) -> None:
    assert earwitness("info", index) == 0
    printed = capfd.readouterr().out
    assert "4 recordings, 4 segments" in printed
    assert "2 named speaker(s)" in printed
    assert earwitness("info", index, "--json") == 0
    data = json.loads(capfd.readouterr().out)
    assert data["contents"]["segments"] == 4
    assert data["recipe"]["tau"] == 10
    assert len(data["sha256"]) == 64


def test_an_approximate_index_prints_its_recall(speech: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setattr("earwitness.cli.index.FEWEST_FOR_RECALL", 2)
    words = ("--encoder", "log_mel", "--segment", 0.1, "--approximate")
    assert earwitness("build", speech / "all.csv", "-o", tmp_path / "i", *words) == 0
    said = capfd.readouterr().err
    assert "approximate search finds of the 10 exact neighbours, by layer: " in said
    share = float(said.split("by layer: ")[1].split("%")[0])
    assert 20 < share <= 100
