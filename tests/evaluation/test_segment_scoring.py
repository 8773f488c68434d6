"""Scores over time: what a row says, whatever the way a recording is heard; killed, resumed, refused; and judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

import earwitness
from earwitness.audio.windows import Sliding
from earwitness.cli.main import exit_code
from earwitness.core.errors import UsageError
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.detector import DetectionScore, Detector, WindowScore
from earwitness.evaluation.scoring import scorers
from earwitness.evaluation.scoring.segments import SegmentOptions, score_segments, segments_of
from tiny_models import make_detector


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speechlike: Callable[..., Any]) -> Path:
    """The current folder: a model with windows of 1 s, recordings of 2.2, 0.6 and 3 s, one that is silent in part."""
    make_detector(tmp_path / "detector")
    (tmp_path / "calls").mkdir()
    quiet = speechlike(3, seed=2)
    quiet[16_000:] = 0
    for name, sound in (("a", speechlike(2.2, seed=0)), ("b", speechlike(0.6, seed=1)), ("c", quiet)):
        soundfile.write(tmp_path / "calls" / f"{name}.wav", sound, 16_000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    return exit_code(" ".join(words).split())


def test_a_row_a_segment_by_the_windows_over_it(home: Path) -> None:
    assert run("score calls --task deepfake --model detector --segments 0.5 -o out.csv") == 0
    table = pl.read_csv("out.csv")
    a = table.filter(pl.col("id") == "a.wav")
    assert a["start"].to_list() == [0, 0.5, 1, 1.5, 2]
    assert a["end"].to_list() == [0.5, 1, 1.5, 2, 2.2]
    detector = earwitness.load("detector")
    assert isinstance(detector, Detector)
    samples, rate = soundfile.read("calls/a.wav", dtype="float32")
    w = [window.score for window in detector.hearing(Sliding(length_s=1, hop_s=0.5)).score(samples, rate).windows]
    assert len(w) == 4  # 0-1, 0.5-1.5, 1-2, and 1.2-2.2
    third = (0.5 * w[1] + 0.5 * w[2] + 0.3 * w[3]) / 1.3
    wanted = [w[0], (w[0] + w[1]) / 2, third, (w[2] + w[3]) / 2, w[3]]
    np.testing.assert_allclose(a["score"].to_numpy(), wanted, atol=1e-5)
    assert set(table["windows"]) == {"sliding 1 s / 0.5 s"}
    c = table.filter(pl.col("id") == "c.wav")
    assert c["seconds_used"].to_list() == [0.5, 0.5, 0.5, 0, 0, 0]  # the window from 0.5 on reaches to 1.5
    assert c["score"][3:].n_unique() == 1


def test_streamed_recordings_and_stretches_of_files_give_the_same(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "m.csv").write_text("id,path,start,end\nwhole,calls/a.wav,,\npart,calls/a.wav,0.5,1.9\n")
    detector = Detector.load("detector")
    for name in ("memory", "stream"):
        score_segments(Manifest.read("m.csv"), detector, f"{name}.parquet", SegmentOptions(0.2, 0.6))
        monkeypatch.setattr(scorers, "HELD_IN_MEMORY_S", 0.1)
    one, other = (pl.read_parquet(f"{name}.parquet") for name in ("memory", "stream"))
    assert one.drop("score").equals(other.drop("score"))
    np.testing.assert_allclose(one["score"], other["score"], atol=1e-5)
    part = one.filter(pl.col("id") == "part")
    assert (part["start"][0], part["end"][-1]) == (0, 1.4)


def test_a_killed_run_goes_on_and_a_finished_one_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, detector, options = Manifest.read(_listed(home)), Detector.load("detector"), SegmentOptions(0.5)
    score_segments(manifest, detector, "whole.jsonl", options)

    def killed() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_segments(manifest, detector, "out.jsonl", options, progress=killed)
    part = home / "out.jsonl.segments.jsonl.part.jsonl"
    assert part.read_bytes().count(b"\n") == 1
    with part.open("a") as file:
        file.write('{"id": "torn')
    with pytest.raises(UsageError, match="unfinished run"):
        score_segments(manifest, detector, "out.jsonl", options)
    with pytest.raises(UsageError, match="windows is"):
        score_segments(manifest, detector, "out.jsonl", SegmentOptions(0.25), resume=True)
    tally = score_segments(manifest, detector, "out.jsonl", options, resume=True)
    assert (tally.done, tally.skipped, tally.failed) == (2, 1, 0)
    assert (home / "out.jsonl").read_bytes() == (home / "whole.jsonl").read_bytes()
    assert not list(home.glob("out.jsonl.*"))
    monkeypatch.setattr(Detector, "score_windows", None)  # whatever heard again would fail
    again = score_segments(manifest, detector, "out.jsonl", options, resume=True)
    assert (again.done, again.skipped) == (0, 3)


def _listed(home: Path) -> Path:
    (home / "m.csv").write_text("path\n" + "".join(f"calls/{name}.wav\n" for name in "abc"))
    return home / "m.csv"


def test_what_cannot_be_heard_is_one_row_with_an_error(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "calls" / "bad.wav").write_text("no sound")
    assert run("score calls --task deepfake --model detector --segments 0.5 -o out.csv") == 1
    assert "bad.wav: is not audio" in capsys.readouterr().err
    rows = pl.read_csv("out.csv").filter(pl.col("id") == "bad.wav")
    assert rows.select("start", "end", "score").row(0) == (None, None, None)
    assert rows.height == 1
    assert rows["error"][0].startswith("is not audio")


def test_segments_of_silence_are_those_of_the_nearest_window() -> None:
    windows = (WindowScore(0, 1, 2.0), WindowScore(3, 4, -2.0))
    heard = DetectionScore(0.0, None, windows, 2.0, 4.0, "sliding 1 s / 1 s")
    found = segments_of(heard, 1.0)
    assert found.scores.tolist() == [2, 2, -2, -2]
    assert found.heard_s.tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--segments 0.5 --window 0.2", "--window: windows of 0.2 s. Give 0.3 to 600"),
        ("--segments 0.001", "--segments: segments of 0.001 s. Give 0.01 to 600"),
        ("--segments 0.0105", "in whole milliseconds"),
        ("--segments 2", "segments of 2 s are longer than windows of 1 s"),
        ("--window 2", "--window belongs to --segments"),
        ("--segments 0.5 --submission arena:x.txt", "--submission: is of whole recordings, not of segments"),
    ],
)
def test_wrong_use_is_one_line(home: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score calls --task deepfake --model detector -o out.csv", words) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not list(home.glob("out*"))


def test_from_a_corpus_to_figures_of_localisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speechlike: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Splices, their segment scores and the judgement, by commands alone."""
    monkeypatch.chdir(tmp_path)
    make_detector(tmp_path / "detector")
    lines = ["path,label,speaker,system,sample_rate,duration_s"]
    for i in range(6):
        soundfile.write(tmp_path / f"{i}.wav", speechlike(2.5, seed=i), 16_000)
        lines.append(f"{i}.wav,{'bonafide' if i < 4 else 'spoof'},s{i % 3},{'' if i < 4 else 'tts'},16000,2.5")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    assert run("corpus expand m.csv --splices --kind spoof --kind none -o splices --seed 1") == 0
    assert run("score splices/manifest.csv --task deepfake --model detector --segments 0.5 -o s.csv") == 0
    capsys.readouterr()
    assert run("evaluate localisation s.csv --key splices --resamples 20 --json r.json") == 0
    said = capsys.readouterr().out
    assert "localisation: 4 bona fide, 4 spoofed utterances" in said
    result = json.loads((tmp_path / "r.json").read_text())
    names = [measure["name"] for measure in result["measures"]]
    assert names == ["utterance EER", "segment EER 500 ms", "range EER"]
    assert {measure["interval"]["unit"] for measure in result["measures"]} == {"speaker"}  # the manifest names them
    assert result["measures"][0]["interval"]["n_units"] == 3
