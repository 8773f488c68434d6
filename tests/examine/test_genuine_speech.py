"""Genuine neighbours beside an answer: in the finding, in words, as data, and in the page, where they can be played."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile
import torch
from rich.console import Console
from test_examiner import CREDIT, info, network
from test_report_html import EVIL, Page

from earwitness.cli.main import run
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.retrieval.building import build_index
from earwitness.deepfake.retrieval.hearing import Hearing
from earwitness.deepfake.retrieval.index import Index
from earwitness.deepfake.retrieval.layers import LayersConfig
from earwitness.examine import report_html
from earwitness.examine.examiner import Examiner
from earwitness.examine.finding import SCHEMA_VERSION, GenuineNeighbour
from earwitness.examine.models import Answering
from earwitness.examine.report_html import render_html
from earwitness.examine.report_json import report_from_json, report_to_json
from earwitness.examine.report_text import print_report
from earwitness.speaker.embedder import Embedder

RATE = 16_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, speechlike: Any) -> Path:
    """Eight genuine recordings of two speakers, and an index of them."""
    folder = tmp_path_factory.mktemp("genuine")
    rows = []
    for n in range(8):
        soundfile.write(folder / f"{n}.wav", speechlike(2.0, RATE, n), RATE)
        rows.append({"path": f"{n}.wav", "label": "bonafide", "speaker": f"s{n % 2}"})
    build_index(
        Manifest(pl.DataFrame(rows), folder), folder / "index", Hearing.begin(LayersConfig.of("log_mel"), segment_s=1.0)
    )
    return folder


@pytest.fixture
def examiner(home: Path) -> Examiner:
    return beside(Index.open(home / "index"))


def beside(index: Index | None) -> Examiner:
    torch.manual_seed(3)
    detector = Detector(network(2).build(), info("deepfake"))
    embedder = Embedder(network(None).build(), info("speaker"))
    answering = Answering(detector, CREDIT, embedder, CREDIT)
    return Examiner(answering, genuine_speech=index)


def test_the_recording_itself_is_left_out_and_counted(examiner: Examiner, home: Path) -> None:
    (report,) = examiner.examine(home / "3.wav")
    finding = report.findings[0]
    assert len(finding.neighbours) == 5
    assert "3.wav" not in {found.id for found in finding.neighbours}
    assert all(Path(found.path).is_file() for found in finding.neighbours)
    evidence = "\n".join(finding.evidence)
    assert "5 genuine recording(s) that sound most like this one, out of 14 segments" in evidence
    assert "2 segment(s) excluded as the recording itself (2 by the same audio)" in evidence
    assert "does not say whether this recording is genuine" in evidence
    assert re.search(r"Of these 5, [3-5] are of the speaker s[01]\.", evidence)
    assert report_from_json(report_to_json(report)) == report
    assert json.loads(report_to_json(report))["schema"] == SCHEMA_VERSION


def test_the_answer_does_not_depend_on_it(examiner: Examiner, home: Path) -> None:
    (with_neighbours,) = examiner.examine(home / "3.wav")
    (alone,) = beside(None).examine(home / "3.wav")
    assert alone.findings[0].neighbours == ()
    first, second = with_neighbours.findings[0], alone.findings[0]
    assert (first.score, first.answer) == (second.score, second.answer)


def test_it_says_why_there_are_none(home: Path, tmp_path: Path) -> None:
    only = Manifest(pl.DataFrame({"path": ["0.wav"]}), home)
    build_index(only, tmp_path / "one", Index.open(home / "index").hearing)
    (report,) = beside(Index.open(tmp_path / "one")).examine(home / "0.wav")
    assert report.findings[0].evidence[-1].startswith("No genuine speech to compare with: it holds nothing but")


def neighbour(**changes: Any) -> GenuineNeighbour:
    known = GenuineNeighbour(EVIL, EVIL, "ab" * 32, EVIL, 0.0, 4.0, 0.97654, (1, 3), 8.0, 12.0)
    return replace(known, **changes)


def with_neighbours(make_report: Any, *found: GenuineNeighbour) -> Any:
    report = make_report()
    return replace(report, findings=(replace(report.findings[0], neighbours=found), *report.findings[1:]))


def test_neighbours_can_be_played_in_the_page_and_are_escaped(make_report: Any) -> None:
    first, second = neighbour(), neighbour(id="plain", speaker=None)
    text = render_html([with_neighbours(make_report, first, second)], [None], {first: b"mp3"})
    page = Page(text)
    assert page.tags.count("audio") == 1
    assert "data:audio/mpeg;base64,bXAz" in page.values("src")
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert "Genuine recordings that sound most alike" in page.text
    assert "0.9765" in page.text
    assert "0:08.0–0:12.0" in page.text
    assert page.text.count("no copy in this page") == 1
    assert "https://evil" not in text


def test_copies_have_room_for_so_many_bytes(make_report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_html, "MOST_CLIP_BYTES", 10)
    found = [neighbour(id=name) for name in "abc"]
    page = Page(render_html([with_neighbours(make_report, *found)], [None], dict.fromkeys(found, b"123456")))
    assert page.tags.count("audio") == 1


def test_neighbours_in_words(make_report: Any) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    print_report(with_neighbours(make_report, neighbour(id="call.wav", speaker="s1")), console)
    text = console.export_text()
    assert "call.wav 0:00.0–0:04.0, speaker s1: similarity 0.9765 to 0:08.0–0:12.0, nearest in layer(s) 1, 3" in text


def test_on_the_command_line(examiner: Examiner, home: Path, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.setattr(Examiner, "load", classmethod(lambda *_, **__: examiner))
    page, data = tmp_path / "page.html", tmp_path / "data.json"
    soundfile.write(tmp_path / "call.wav", soundfile.read(home / "2.wav")[0][:RATE], RATE)
    words = ["examine", tmp_path / "call.wav", "--index", home / "index", "--html", page, "--json", data]
    with pytest.raises(SystemExit) as stop:
        run([str(word) for word in words])
    assert stop.value.code == 0
    assert "Genuine" in capfd.readouterr().out
    assert len(json.loads(data.read_text())["findings"][0]["neighbours"]) == 5
    assert Page(page.read_text()).tags.count("audio") == 6  # the call's own, and five to compare it with
    with pytest.raises(SystemExit) as stop:
        run(["examine", str(home / "2.wav"), "--index", str(home)])
    assert stop.value.code == 2
    assert "is no index" in capfd.readouterr().err
