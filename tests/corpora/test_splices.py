"""Splices: inserts where they are said to be, at the host's level, without a click; the same from run to run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from numpy.typing import NDArray
from typer.testing import CliRunner

from earwitness.core.errors import AudioError, DataError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.corpora.leaks import find_leaks
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.partialspoof import read_regions
from earwitness.corpora.splices import KINDS, SpliceOptions, expand
from earwitness.corpora.splices.signal import Place, find_place, gain_to, joined, speech_rms, spliced, trimmed

Speechlike = Callable[..., NDArray[np.float32]]
RATE = 16_000
QUICK = SpliceOptions(insert_s=(0.4, 0.8), vocoders=("lpc",), seed=2)


@pytest.fixture
def corpus(tmp_path: Path, speechlike: Speechlike) -> Path:
    """Two speakers with three recordings of 2 s each, one a side, and two spoofs a side, one of the first voice."""
    rows: list[dict[str, Any]] = []
    (tmp_path / "data").mkdir()
    for i in range(10):
        human, side = i < 6, ("train", "test")[i % 2]
        sound = speechlike(2.0, RATE, seed=i) * (0.1 if i % 4 else 0.2)
        sf.write(tmp_path / "data" / f"{i}.wav", sound.astype(np.float32), RATE)
        row = {"path": f"{i}.wav", "sample_rate": RATE, "duration_s": 2.0, "split": side, "licence": "CC0-1.0"}
        voice = f"s{i % 2}" if human or i < 8 else "nobody"
        made = (
            {"label": "bonafide"} if human else {"label": "spoof", "system": f"tts-{side}-{i}", "family": f"f-{side}"}
        )
        rows.append({**row, **made, "speaker": voice, "corpus": "made"})
    Manifest(pl.DataFrame(rows, infer_schema_length=None), tmp_path / "data").write(tmp_path / "data" / "m.csv")
    return tmp_path / "data" / "m.csv"


def sound(manifest: Manifest, path: str) -> NDArray[np.float32]:
    return np.asarray(sf.read(manifest.root / path, dtype="float32")[0])


class TestSignal:
    def test_outside_of_the_place_every_sample_is_the_hosts(self, speechlike: Speechlike) -> None:
        host, insert = speechlike(2.0, seed=1), speechlike(0.5, seed=2)
        place = Place(7001, len(insert), 320)
        made = spliced(host, insert, place)
        np.testing.assert_array_equal(made[: place.start], host[: place.start])
        np.testing.assert_array_equal(made[place.end :], host[place.end :])
        np.testing.assert_allclose(made[place.start + 320 : place.end - 320], insert[320:-320], atol=1e-7)

    def test_fades_add_up_to_one_and_leave_no_step(self) -> None:
        """A constant goes over into another: no two samples are further apart than at the fade's steepest."""
        host, insert = np.full(4000, 0.5, np.float32), np.full(1000, -0.5, np.float32)
        made = spliced(host, insert, Place(1500, 1000, 160))
        steps = np.abs(np.diff(made))
        assert steps.max() < 1.05 * np.pi / 2 / 160  # of a raised cosine over 160 samples with a swing of 1
        assert steps[:1499].max() == steps[2501:].max() == 0
        np.testing.assert_array_equal(spliced(host, host[1500:2500], Place(1500, 1000, 160)), host)
        hard = np.abs(np.diff(spliced(host, insert, Place(1500, 1000, 0))))
        assert hard.max() == pytest.approx(1.0)  # what the fade is for

    def test_level_is_that_of_the_speech(self, speechlike: Speechlike) -> None:
        loud = speechlike(1.0, seed=3)
        padded = np.concatenate([np.zeros(RATE, np.float32), 0.1 * loud])
        assert 20 * np.log10(speech_rms(padded, RATE) / speech_rms(loud, RATE)) == pytest.approx(-20, abs=0.5)
        gain = gain_to(speech_rms(padded, RATE), loud, RATE)
        assert 20 * np.log10(gain) == pytest.approx(-20, abs=0.5)
        assert gain_to(10.0, loud, RATE) == pytest.approx(0.999 / np.abs(loud).max())  # never clips

    def test_places_hold_speech_and_leave_a_margin(self, speechlike: Speechlike) -> None:
        host = np.concatenate([np.zeros(2 * RATE), speechlike(2.0, seed=5), np.zeros(2 * RATE)]).astype(np.float32)
        starts = [find_place(host, RATE, RATE // 2, 100, np.random.default_rng(i)).start / RATE for i in range(60)]
        assert 1.7 < min(starts) < max(starts) < 3.8
        assert len(set(starts)) > 50
        with pytest.raises(AudioError, match="no 1\\.60 s of speech"):
            find_place(speechlike(2.0), RATE, round(1.6 * RATE), 100, np.random.default_rng(0))

    def test_silence_is_refused(self) -> None:
        with pytest.raises(AudioError, match="silent"):
            trimmed(np.zeros(8000, np.float32), RATE)
        with pytest.raises(AudioError, match="silent"):
            gain_to(0.1, np.zeros(8000, np.float32), RATE)

    def test_recordings_are_joined_at_one_level_without_a_click(self, speechlike: Speechlike) -> None:
        pieces = [speechlike(1.0, seed=1), 0.1 * speechlike(0.7, seed=2), speechlike(0.5, seed=3)]
        made, joints = joined([piece.astype(np.float32) for piece in pieces], RATE, 160)
        assert (len(made), joints) == (round(2.2 * RATE), (16000, 27200))
        assert speech_rms(made[16000:27200], RATE) == pytest.approx(speech_rms(pieces[0], RATE), rel=0.1)
        for joint in joints:
            assert np.abs(made[joint - 2 : joint + 2]).max() < 1e-3
        single, none = joined([pieces[0]], RATE, 160)
        assert single is pieces[0]
        assert none == ()


def test_every_kind_is_made_and_its_place_is_true(corpus: Path, tmp_path: Path) -> None:
    original = Manifest.read(corpus)
    made = expand(original, tmp_path / "out", QUICK)
    assert made.problems == ()
    manifest = Manifest.read(tmp_path / "out" / "manifest.csv")
    assert Counter(manifest.table["splice"]) == dict.fromkeys(KINDS, 6)
    regions = read_regions(tmp_path / "out" / "splices.rttm")
    assert set(regions) == set(manifest.table["id"])
    for row, (kind, start, end, insert, label) in zip(
        manifest.rows(),
        manifest.table.select("splice", "splice_start", "splice_end", "insert", "label").iter_rows(),
        strict=True,
    ):
        host, splice = sound(original, str(row.source_recording)), sound(manifest, row.path)
        assert len(splice) == len(host) == row.duration_s * RATE
        assert label == ("spoof" if kind in ("spoof", "twin") else "bonafide")
        assert [region.bonafide for region in regions[row.id]] == ([True, False, True] if label == "spoof" else [True])
        if kind == "none":
            np.testing.assert_array_equal(splice, host)
            continue
        changed = np.flatnonzero(splice != host)
        first, last = round(float(start) * RATE), round(float(end) * RATE)
        assert first <= changed[0] < first + 100  # the fade rises from nothing
        assert last - 100 <= changed[-1] < last
        if label == "spoof":
            assert (regions[row.id][1].start, regions[row.id][1].end) == pytest.approx(
                (float(start), float(end)), abs=2e-6
            )
        else:
            assert row.system is None
        near = splice[max(0, first - RATE) : last + RATE]
        level = host[first:last] if kind == "twin" else host[max(0, first - RATE) : last + RATE]
        decibels = 20 * np.log10(speech_rms(splice[first:last], RATE) / speech_rms(level, RATE))
        assert abs(decibels) < 1, (kind, decibels)
        assert np.abs(near).max() < 1
        assert (insert is None) == (kind == "twin")


def test_inserts_are_of_the_same_side_and_voice_and_can_be_guarded(corpus: Path, tmp_path: Path) -> None:
    original = Manifest.read(corpus)
    made = expand(original, tmp_path / "out", QUICK).manifest
    sides = dict(zip(original.table["id"], original.table["split"], strict=True))
    voices = dict(zip(original.table["id"], original.table["speaker"], strict=True))
    for row, (kind, insert, voice, recordings) in zip(
        made.rows(), made.table.select("splice", "insert", "insert_speaker", "recordings").iter_rows(), strict=True
    ):
        assert {sides[name] for name in json.loads(recordings)} == {row.split}
        if insert:
            assert (sides[insert], voices[insert]) == (row.split, voice)
            assert voice == row.speaker  # each side has a recording and a spoof of the host's voice
            assert insert != row.source_recording
        if kind == "spoof":
            assert row.family == f"f-{row.split}"
    spoken = made.filter(pl.col("system").is_null() | ~pl.col("system").str.starts_with("twin"))
    assert find_leaks(Manifest.concat([original, spoken]), "detection") == []
    moved = spoken.table.with_columns(
        split=pl.when(pl.col("splice") == "genuine").then(pl.lit("dev")).otherwise("split")
    )
    kinds = {leak.kind for leak in find_leaks(Manifest.concat([original, spoken.with_table(moved)]), "detection")}
    assert kinds >= {"source_recording", "speaker"}


def test_a_leak_through_an_insert_is_found(make: Callable[..., Manifest]) -> None:
    """The inserted recording counts as the host's does."""
    rows = [
        {"id": "a", "split": "train", "label": "bonafide", "recordings": None},
        {"id": "s", "split": "test", "label": "spoof", "source_recording": "h", "recordings": '["h", "a"]'},
        {"id": "b", "split": "train", "label": "bonafide", "source_recording": "a", "recordings": None},
    ]
    assert [str(leak) for leak in find_leaks(make(rows), "detection")] == [
        "source recording 'a' (1 in train, 1 in test)"
    ]


def files(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): sha256_file(p) for p in sorted(folder.rglob("*.*")) if p.suffix != ".part"
    }


def test_runs_are_equal_whatever_the_workers_and_differ_by_seed(corpus: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(corpus).filter(pl.col("speaker") == "s0")
    expand(manifest, tmp_path / "a", QUICK)
    expand(manifest, tmp_path / "b", QUICK, workers=2)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    expand(manifest, tmp_path / "c", replace(QUICK, seed=3))
    one, other = ({p: h for p, h in files(tmp_path / name).items() if p.endswith("flac")} for name in "ac")
    same = [path for path in one if one[path] == other[path]]
    assert one.keys() == other.keys()
    assert {path.split("/")[0] for path in same} == {"none"}


def test_a_killed_run_goes_on(corpus: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from earwitness.corpora.manifest import Manifest; from earwitness.corpora.splices import *\n"
        "options = SpliceOptions(insert_s=(0.4, 0.8), vocoders=('lpc',), seed=2)\n"
        "expand(Manifest.read(sys.argv[1]), sys.argv[2], options)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(corpus), str(tmp_path / "out")])
    part = tmp_path / "out" / "splices.csv.part.jsonl"
    while run.poll() is None and (not part.exists() or part.read_bytes().count(b"\n") < 3):
        time.sleep(0.002)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    if not part.exists():
        pytest.skip("the run ended before it could be killed")
    with part.open("a") as file:
        file.write('{"path": "torn')
    manifest = Manifest.read(corpus)
    with pytest.raises(UsageError, match="unfinished run"):
        expand(manifest, tmp_path / "out", QUICK)
    with pytest.raises(UsageError, match="drawn"):
        expand(manifest, tmp_path / "out", SpliceOptions(), resume=True)
    steps: list[None] = []
    expand(manifest, tmp_path / "out", QUICK, resume=True, progress=lambda total: lambda: steps.append(None))
    assert len(steps) == 24
    expand(manifest, tmp_path / "whole", QUICK)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_hosts_may_be_joined_of_a_speakers_recordings(corpus: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(corpus)
    unsplit = manifest.with_table(manifest.table.with_columns(split=pl.lit(None, pl.String)))
    made = expand(unsplit, tmp_path / "out", SpliceOptions(kinds=("none", "spoof"), host_s=3.5, insert_s=(0.4, 0.8)))
    assert [note.split(":")[0] for note in made.notes] == ["no split", "2 recording(s) are in no host"]
    assert made.manifest.table["duration_s"].to_list() == [4.0] * 4
    assert made.manifest.table["joints"].to_list() == ["[2.0]"] * 4
    assert [len(json.loads(names)) for names in made.manifest.table["recordings"]] == [2, 3, 2, 3]


def test_bad_material_is_said_and_the_rest_is_made(corpus: Path, tmp_path: Path) -> None:
    home = corpus.parent
    (home / "0.wav").write_text("no audio")
    for name in ("7.wav", "9.wav"):
        sf.write(home / name, np.zeros(2 * RATE), RATE)
    sf.write(home / "3.wav", sf.read(home / "3.wav")[0][: RATE // 2], RATE)
    words = ["expand", str(corpus), "--splices", "-o", str(tmp_path / "out"), "--insert-seconds", "0.4", "0.8"]
    result = CliRunner().invoke(cli_app(), [*words, "--kind", "spoof", "--kind", "none"])
    assert result.exit_code == 1
    assert "7 splices" in result.output
    said = result.output.replace("\n", " ")
    for text in ("0.wav: none: is not audio", "1.wav: spoof: is silent", "3.wav: spoof: the host lasts 0.50 s"):
        assert text in said, said
    assert "an insert of 0.4 s is longer than half of it" in said
    table = pl.read_csv(tmp_path / "out" / "splices.csv")
    assert (table.height, table["error"].count()) == (12, 5)


def cli_app() -> Any:
    from earwitness.cli.corpus import app

    return app


def test_wrong_use_is_answered(corpus: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(corpus)
    with pytest.raises(DataError, match=r"no spoof to insert\. Add spoofs"):
        expand(manifest.filter(pl.col("label") == "bonafide"), tmp_path / "x", QUICK)
    with pytest.raises(DataError, match="no bona fide recording to splice into"):
        expand(manifest.filter(pl.col("label") == "spoof"), tmp_path / "x", QUICK)
    wide = manifest.table.with_columns(
        sample_rate=pl.when(pl.col("label") == "spoof").then(8000).otherwise(pl.col("sample_rate"))
    )
    with pytest.raises(DataError, match=r"there is no other spoof to insert on the side 'train'.* 16000 Hz"):
        expand(manifest.with_table(wide), tmp_path / "y", SpliceOptions(kinds=("spoof",)))
    for options in (
        {"kinds": ("spooof",)},
        {"kinds": ()},
        {"insert_s": (2, 1)},
        {"insert_s": (0.01, 1)},
        {"cross_fade_ms": (10, 500)},
        {"host_s": 0},
        {"seed": -1},
        {"vocoders": ("wrld",)},
    ):
        with pytest.raises(UsageError):
            SpliceOptions(**options)  # type: ignore[arg-type]
    for words, said in (
        (["--splices", "--twins"], "one at a time"),
        (["--splices", "--per-row", "1"], "belongs to --twins"),
        (["--twins", "--kind", "none"], "belongs to --splices"),
        (["--splices", "--kind", "twn"], "Did you mean 'twin'"),
    ):
        result = CliRunner().invoke(cli_app(), ["expand", str(corpus), "-o", str(tmp_path / "z"), *words])
        assert said in str(result.exception)
    assert not (tmp_path / "z").exists()
