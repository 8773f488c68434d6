"""Recordings become segments with reasons, and a run that was killed goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from toy_cpqa import Loudness, sound

from earwitness.audio.recording import Segment
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.speech_llm.cpqa import condensing
from earwitness.speech_llm.cpqa.classes import CLASSES
from earwitness.speech_llm.cpqa.condensing import CondenseConfig, condense
from earwitness.speech_llm.cpqa.filters import Cap, Thresholds
from earwitness.speech_llm.cpqa.forms import SEGMENTS, WINDOWS, SegmentRow, WindowRow, read_rows
from earwitness.speech_llm.cpqa.hearing import HearingConfig, Place, Recognisers, _pieces, _samples
from earwitness.speech_llm.cpqa.summary import summary

WINDOW_KEYS = (
    "rec_id seg_id win_id start end label_start label_end probs emotion valence arousal dominance sentiment kept "
    "drop_reason"
)
SEGMENT_KEYS = "rec_id seg_id audio start end emotion emotion_conf gender gender_conf n_windows n_kept kept drop_reason"


def test_every_segment_is_kept_or_has_its_reason(
    recordings: Manifest, config: CondenseConfig, toys: Recognisers, tmp_path: Path
) -> None:
    found = condense(recordings, config, toys, tmp_path / "out")
    told = {one.seg_id: (one.emotion, one.kept, one.drop_reason) for one in found.segments}
    assert told == {
        "calm.wav-0000": ("happy", True, None),
        "calm.wav-0001": ("angry", True, None),
        "calm.wav-0002": (None, False, "short"),
        "torn.wav-0000": (None, False, "inconsistent"),
    }
    first = found.segments[0]
    assert (first.n_windows, first.n_kept, first.gender, first.audio) == (5, 5, "female", "calm.wav")
    assert first.emotion_conf == pytest.approx(0.8)
    errors = {row.rec_id: row.error for row in found.recordings}
    assert errors["calm.wav"] is None
    assert errors["broken.wav"]
    assert errors["absent.wav"]
    assert found.failed == 2
    assert {one.drop_reason for one in found.windows if not one.kept} == {"inconsistent"}
    lines = list(summary(found))
    assert "2 recording(s) could not be read" in lines
    assert any(line.startswith("segments: 2 of 4 kept; dropped: inconsistent 1, short 1") for line in lines)


def test_the_files_have_the_agreed_form(
    recordings: Manifest, config: CondenseConfig, toys: Recognisers, tmp_path: Path
) -> None:
    found = condense(recordings, config, toys, tmp_path)
    window = json.loads((tmp_path / WINDOWS).read_text().splitlines()[0])
    assert list(window) == WINDOW_KEYS.split()
    assert list(window["probs"]) == ["loudness"]
    assert len(window["probs"]["loudness"]) == len(CLASSES)
    assert window["arousal"] is None
    segment = json.loads((tmp_path / SEGMENTS).read_text().splitlines()[0])
    assert list(segment) == SEGMENT_KEYS.split()
    assert tuple(read_rows(tmp_path / WINDOWS, WindowRow)) == found.windows
    assert tuple(read_rows(tmp_path / SEGMENTS, SegmentRow)) == found.segments
    (tmp_path / SEGMENTS).write_text(json.dumps({**segment, "emotion": "bored"}) + "\n")
    with pytest.raises(DataError, match="line 1: 'emotion'"):
        read_rows(tmp_path / SEGMENTS, SegmentRow)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    recordings: Manifest, config: CondenseConfig, toys: Recognisers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = condense(recordings, config, toys, tmp_path / "whole")
    real = condensing.hear

    def dies(place: Place, *rest: object) -> object:
        if place.path.name == "torn.wav":
            raise KeyboardInterrupt
        return real(place, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(condensing, "hear", dies)
    with pytest.raises(KeyboardInterrupt):
        condense(recordings, config, toys, tmp_path / "killed")
    monkeypatch.undo()
    with (tmp_path / "killed" / condensing.HEARD).open("a") as file:
        file.write('{"key": "torn')
    ear = Loudness()
    again = condense(recordings, config, replace(toys, categorical=(ear,)), tmp_path / "killed")
    assert again == whole
    assert ear.heard == sum(one.rec_id == "torn.wav" for one in whole.windows)
    for name in (WINDOWS, SEGMENTS):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_several_workers_give_the_same_in_the_same_order(
    recordings: Manifest, config: CondenseConfig, toys: Recognisers, tmp_path: Path
) -> None:
    alone = condense(recordings, config, toys, tmp_path / "alone")
    steps: list[None] = []
    assert condense(recordings, config, toys, tmp_path / "three", lambda: steps.append(None), workers=3) == alone
    assert len(steps) == len(recordings)
    for name in (WINDOWS, SEGMENTS):
        assert (tmp_path / "three" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_other_thresholds_hear_nothing_again_and_other_ears_do(
    recordings: Manifest, config: CondenseConfig, toys: Recognisers, tmp_path: Path
) -> None:
    condense(recordings, config, toys, tmp_path)
    ear = Loudness()
    strict = config.model_copy(update={"thresholds": Thresholds(upper=0.9, lower=0.1)})
    found = condense(recordings, strict, replace(toys, categorical=(ear,)), tmp_path)
    assert ear.heard == 0
    assert not any(one.kept for one in found.segments)
    other = Loudness("other")
    condense(recordings, config, replace(toys, categorical=(other,)), tmp_path)
    assert other.heard == len(found.windows)


def test_an_ensemble_keeps_the_vectors_of_all(
    recordings: Manifest, config: CondenseConfig, toys: Recognisers, tmp_path: Path
) -> None:
    ears = (Loudness("one", 0.9), Loudness("two", 0.5))
    found = condense(recordings, config, replace(toys, categorical=ears), tmp_path)
    assert {tuple(one.probs) for one in found.windows} == {("one", "two")}
    assert found.segments[0].emotion_conf == pytest.approx(0.7)


def test_the_cap_names_what_it_drops(
    recordings: Manifest, config: CondenseConfig, toys: Recognisers, tmp_path: Path
) -> None:
    capped = config.model_copy(update={"cap": Cap(times=0.1)})
    found = condense(recordings, capped, toys, tmp_path)
    assert [one.drop_reason for one in found.segments].count("capped") == 0  # one of each class stays
    happy = [replace(one, seg_id=f"s{k}", emotion_conf=k / 10) for k, one in enumerate([found.segments[0]] * 5)]
    balanced = list(condensing._balanced([*happy, found.segments[1]], Cap(times=1.0)))
    assert [one.kept for one in balanced] == [False, False, True, True, True, True]
    assert {one.drop_reason for one in balanced} == {None, "capped"}


def test_segments_out_of_a_stream_are_those_of_the_whole(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 47 * 16_000).astype(np.float32)
    sf.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    segments = [Segment(0.0, 3.0), Segment(3.0, 9.99), Segment(12.5, 31.2), Segment(31.2, 31.3), Segment(40.0, 47.0)]
    found = list(_samples(Place(tmp_path / "a.wav"), segments))
    for segment, one in zip(segments, found, strict=True):
        np.testing.assert_array_equal(one, samples[round(segment.start_s * 16_000) : round(segment.end_s * 16_000)])


def test_a_stretch_of_a_file_has_the_times_of_the_file(
    config: CondenseConfig, toys: Recognisers, tmp_path: Path
) -> None:
    sf.write(tmp_path / "a.wav", sound((5, 0.1), (20, 0.1)), 16_000, subtype="FLOAT")
    rows = Manifest(pl.DataFrame({"path": ["a.wav"], "start": [5.0], "end": [25.0]}), tmp_path)
    found = condense(rows, config, toys, tmp_path / "out")
    assert (found.segments[0].start, found.segments[0].end) == (5.0, 25.0)
    assert (found.windows[0].label_start, found.windows[0].end) == (5.0, 9.0)


@pytest.mark.parametrize("start", [0.0, 1.2346, 0.99995])
@pytest.mark.parametrize("seconds", [3.9, 4.0, 5.9999, 6.0, 6.0004])
def test_what_was_heard_and_what_is_judged_are_the_same_windows(
    config: CondenseConfig, toys: Recognisers, tmp_path: Path, start: float, seconds: float
) -> None:
    sf.write(tmp_path / "a.wav", sound((start, 0.1), (seconds, 0.1)), 16_000, subtype="FLOAT")
    rows = Manifest(pl.DataFrame({"path": ["a.wav"], "start": [start], "end": [start + seconds]}), tmp_path)
    ear = Loudness()
    found = condense(rows, config, replace(toys, categorical=(ear,)), tmp_path / "out")
    assert ear.heard == len(found.windows) == found.segments[0].n_windows
    assert ear.heard == (0 if seconds < 4 else pytest.approx((seconds - 2) / 2, abs=0.99))


def test_long_speech_is_cut_into_equal_parts() -> None:
    found = list(_pieces([Segment(1.0, 151.0), Segment(160.0, 220.0)], 60.0))
    assert [(one.start_s, one.end_s) for one in found] == [(1.0, 51.0), (51.0, 101.0), (101.0, 151.0), (160.0, 220.0)]


def test_defaults_are_the_published_values() -> None:
    config = CondenseConfig()
    assert (config.thresholds.upper, config.thresholds.lower) == (0.5, 0.4)
    assert (config.hearing.windows.centre_s, config.hearing.windows.context_s) == (2.0, 1.0)
    assert config.hearing == HearingConfig(shortest_s=4.0)
    assert (config.occurrence.count, config.occurrence.share, config.cap.times, config.cap.seed) == (2, 0.5, 2.0, 42)
