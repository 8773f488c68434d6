"""The trace of a latent entropy in a report: where it lies, in which unit, and that nobody takes it for an answer."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console

from earwitness.audio.facts import file_facts
from earwitness.deepfake.detector import Detector
from earwitness.examine.finding import Finding, ModelCredit
from earwitness.examine.genuineness import judge_genuineness
from earwitness.examine.latent_track import CAUTION, latent_track
from earwitness.examine.questions import Channel
from earwitness.examine.report_html import render_html
from earwitness.examine.report_json import report_from_json, report_to_json
from earwitness.examine.report_text import print_report
from tiny_models import make_detector, make_latent_detector

CREDIT = ModelCredit("tiny", "1", "0" * 64, "CC0-1.0", "# tiny")


@pytest.fixture(scope="module")
def latent(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector.load(make_latent_detector(tmp_path_factory.mktemp("models") / "latent"))


@pytest.fixture
def recording(tmp_path: Path, speechlike: Callable[..., Any]) -> Callable[[float], Path]:
    def make(seconds: float) -> Path:
        soundfile.write(tmp_path / f"{seconds}.wav", speechlike(seconds), 16_000)
        return tmp_path / f"{seconds}.wav"

    return make


def judged(path: Path, detector: Detector) -> Finding:
    return judge_genuineness(Channel(path, None, file_facts(path)), detector, CREDIT)


def test_the_track_covers_the_recording_once(latent: Detector, recording: Callable[[float], Path]) -> None:
    """In steps of 0.1 s, although its windows of 1 s overlap by half."""
    (track,) = latent_track(recording(2.3), None, latent).tracks
    starts, ends = np.array(track.starts_s), np.array(track.ends_s)
    assert (starts[0], ends[-1]) == (0.0, pytest.approx(2.3))
    np.testing.assert_allclose(starts[1:], ends[:-1], atol=0.011)
    assert 22 <= len(starts) <= 28
    assert len(set(track.values)) > 10
    assert (track.unit, track.neutral) == ("nats per dimension", None)


def test_a_short_recording_that_was_repeated_is_flagged(latent: Detector, recording: Callable[[float], Path]) -> None:
    found = latent_track(recording(0.6), None, latent)
    assert found.tracks[0].ends_s[-1] == pytest.approx(0.6, abs=0.02)
    assert "was repeated" in found.evidence[1]


def test_a_finding_has_it_beside_the_evidence(latent: Detector, recording: Callable[[float], Path]) -> None:
    finding = judged(recording(2.0), latent)
    assert [track.name for track in finding.tracks] == ["evidence over time", "latent entropy (not a probability)"]
    assert CAUTION in finding.evidence
    assert "not known beforehand" in CAUTION


def test_other_models_have_none(tmp_path: Path, recording: Callable[[float], Path]) -> None:
    finding = judged(recording(2.0), Detector.load(make_detector(tmp_path / "detector")))
    assert len(finding.tracks) == 1
    assert CAUTION not in finding.evidence


def test_all_three_forms_show_it(
    latent: Detector, recording: Callable[[float], Path], make_report: Callable[..., Any]
) -> None:
    report = make_report(findings=(judged(recording(2.0), latent),), duration_s=2.0)
    assert report_from_json(report_to_json(report)).findings[0].tracks[1].unit == "nats per dimension"
    terminal = io.StringIO()
    print_report(report, Console(file=terminal, width=160))
    for text in (terminal.getvalue(), render_html([report], [None])):
        assert "latent entropy (not a probability)" in text
        assert "nats per dimension" in text
        assert "more entropy" in text
