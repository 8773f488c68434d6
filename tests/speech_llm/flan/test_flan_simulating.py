"""Speech that is spoilt on purpose: what was asked for is what came out, and all of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from numpy.typing import NDArray

from earwitness.audio.reading import load
from earwitness.core.errors import UsageError
from earwitness.corpora.inspection import Problem
from earwitness.corpora.manifest import Manifest
from earwitness.speech_llm.flan.building import BuildOptions, build_records
from earwitness.speech_llm.flan.converting import Clips
from earwitness.speech_llm.flan.reading import AudioTable, read_records
from earwitness.speech_llm.flan.records import Record
from earwitness.speech_llm.flan.simulating import (
    SIMULATIONS,
    Simulated,
    SimulateOptions,
    count_of,
    ratio_db,
    simulated,
)
from earwitness.speech_llm.flan.spans import audio_ids, core
from earwitness.speech_llm.flan.validation import validate_files

RATE = 16_000
Maker = Callable[..., NDArray[np.float32]]


@pytest.fixture(scope="module")
def clips(speechlike: Maker, tmp_path_factory: pytest.TempPathFactory) -> Clips:
    folder = tmp_path_factory.mktemp("voices")
    rows = []
    for number in range(6):
        sf.write(folder / f"{number}.wav", speechlike(2.0 + 0.3 * number, RATE, number), RATE, subtype="FLOAT")
        rows.append({"path": f"{number}.wav", "speaker": f"v{number // 2}", "split": "train", "licence": "CC0-1.0"})
    return Clips.of(Manifest(pl.DataFrame(rows), folder))


def made_by(clips: Clips, folder: Path, task: str, seed: int = 1) -> list[Simulated]:
    found = list(simulated(clips, folder, SimulateOptions((task,), 4, seed=seed)))
    assert [one for one in found if isinstance(one, Problem)] == []
    return [one for one in found if isinstance(one, Simulated)]


def heard(one: Simulated) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What went in and what must come out, read back from their files at 16 kHz."""
    record = one.record
    return tuple(load(one.places[audio_ids(text)[-1]].path, RATE).samples for text in (record.input, record.output))  # type: ignore[return-value]


def number(record: Record, name: str) -> float:
    return float(record.facts()[name])


@pytest.mark.shows("audio-flan:6.8")
def test_the_ratio_asked_for_is_the_ratio_measured_in_the_files(clips: Clips, tmp_path: Path) -> None:
    for one in made_by(clips, tmp_path, "Denoising"):
        noisy, clean = heard(one)
        assert ratio_db(clean, noisy - clean) == pytest.approx(number(one.record, "snr_db"), abs=0.1)
        assert number(one.record, "measured_snr_db") == pytest.approx(number(one.record, "snr_db"), abs=0.1)
        assert -5 <= number(one.record, "snr_db") <= 20
    for one in made_by(clips, tmp_path, "Speaker Extraction"):
        mixed, clean = heard(one)
        assert ratio_db(clean, mixed - clean) == pytest.approx(number(one.record, "sir_db"), abs=0.1)
        assert len(one.record.facts()["speakers"]) == 2
    for one in made_by(clips, tmp_path, "SNR Estimation"):
        assert core(one.record.output) == f"{number(one.record, 'snr_db'):.1f} dB"


@pytest.mark.shows("audio-flan:6.8")
def test_clipping_level_and_gap_are_as_recorded(clips: Clips, tmp_path: Path) -> None:
    for one in made_by(clips, tmp_path, "Declipping"):
        clipped, clean = heard(one)
        level, share = number(one.record, "clip_level"), number(one.record, "clip_of_peak")
        assert np.abs(clipped).max() == pytest.approx(level, abs=1e-4)
        assert level / np.abs(clean).max() == pytest.approx(share, abs=1e-3)
        assert 0.1 <= share <= 0.5
        assert np.mean(np.abs(clipped) > level - 1e-4) == pytest.approx(number(one.record, "clipped"), abs=2e-3)
    for one in made_by(clips, tmp_path, "Audio Inpainting"):
        gapped, clean = heard(one)
        first, last = (round(number(one.record, name) * RATE) for name in ("gap_start_s", "gap_end_s"))
        assert not gapped[first:last].any()
        assert np.array_equal(gapped[:first], clean[:first])
        assert np.array_equal(gapped[last:], clean[last:])
        assert 0.1 * RATE - 1 <= last - first <= RATE


@pytest.mark.shows("audio-flan:6.8")
@pytest.mark.parametrize("task", list(SIMULATIONS))
def test_the_same_seed_gives_the_same_audio(clips: Clips, tmp_path: Path, task: str) -> None:
    def hashes(folder: str, seed: int) -> list[list[str]]:
        return [list(one.record.facts()["sha256"].values()) for one in made_by(clips, tmp_path / folder, task, seed)]

    first = hashes("a", 1)
    assert len(first) == 4
    assert first == hashes("b", 1)
    if task != "Speech Bandwidth Extension":  # nothing of it is drawn
        assert {one[0] for one in first}.isdisjoint({one[0] for one in hashes("c", 2)})
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in "ab"]
    assert files[0] == files[1]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files[0])


def test_rooms_and_bands(clips: Clips, tmp_path: Path) -> None:
    for one in made_by(clips, tmp_path, "Dereverberation"):
        wet, dry = heard(one)
        assert len(wet) == len(dry)
        assert 0.2 <= number(one.record, "t60_s") <= 1.0
        assert ratio_db(dry, wet - dry) == pytest.approx(number(one.record, "direct_db"), abs=4)  # the tail's energy
    for one in made_by(clips, tmp_path, "Speech Bandwidth Extension"):
        paths = [one.places[audio_ids(text)[0]].path for text in (one.record.input, one.record.output)]
        assert [sf.info(path).samplerate for path in paths] == [8_000, 16_000]


def test_turns_and_stretches_of_speech_are_told_in_order(clips: Clips, tmp_path: Path) -> None:
    for one in made_by(clips, tmp_path, "Speaker Diarization"):
        turns = core(one.record.output).split("; ")
        starts = [float(turn.split("-")[0]) for turn in turns]
        assert starts == sorted(starts)
        assert turns[0].endswith("speaker 1")
        assert {turn[-1] for turn in turns} == {"1", "2"}
    for one in made_by(clips, tmp_path, "Voice Activity Detection"):
        assert one.record.domain == "audio"
        assert one.record.output.startswith("Speech: ")
        assert "silero" in one.record.facts()["rule"]


def test_what_cannot_be_made_is_told_and_the_rest_is_made(clips: Clips, tmp_path: Path) -> None:
    broken = replace(clips.clips[0], id="01_recordings_gone")
    places = {**clips.places, broken.id: replace(clips.places[clips.clips[0].id], path=tmp_path / "gone.wav")}
    some = Clips((broken, *clips.clips[2:4]), places)
    options = SimulateOptions(("Denoising",), 9)
    found = list(simulated(some, tmp_path / "out", options))
    assert count_of(some, options) == len(found) == 3
    problems = [one for one in found if isinstance(one, Problem)]
    assert [problem.id for problem in problems] == ["Denoising, 01_recordings_gone"]
    with pytest.raises(UsageError, match="is not simulated"):
        list(simulated(some, tmp_path, SimulateOptions(("ASR",))))


def test_simulated_records_are_valid_and_their_audio_is_found(clips: Clips, tmp_path: Path) -> None:
    built = build_records(clips, tmp_path, BuildOptions(only=("Denoising", "Speaker Extraction"), simulate=2))
    assert built.counts == {"Denoising": 2, "Speaker Extraction": 2}
    assert validate_files(built.files).faulty == 0
    table = AudioTable.read(tmp_path)
    places = [place for record in read_records(tmp_path) for place in table.of(record)]
    assert len(places) == 2 * 2 + 2 * 3
    assert all(place is not None and place.path.is_file() for place in places)
