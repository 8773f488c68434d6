"""One row an input, each once, in order; API and `score` agree; what cannot be heard has an error and no score."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile

from earwitness.core.engines import LocalEngine
from earwitness.core.engines.local import each_at_once, usable_cores
from earwitness.core.errors import AudioError, DataError, UsageError
from earwitness.core.writing import read_rows
from earwitness.deepfake.detector import Detector
from earwitness.evaluation.judging.labelled import read_labelled
from earwitness.evaluation.scoring import scorers as scoring
from earwitness.evaluation.scoring import trial_scores
from earwitness.evaluation.scoring.inputs import read_input
from earwitness.evaluation.scoring.scorers import COLUMNS, score_detection, score_references
from earwitness.evaluation.scoring.trial_scores import score_trials
from earwitness.speaker.embedder import Embedder

ORDER = ["0.wav", "1.wav", "2.wav", "4.mp3", "deep/3.flac"]
TRIALS = "1 0.wav 1.wav\n0 0.wav 4.mp3\n0 2.wav deep/3.flac\n1 deep/3.flac 0.wav\n"


def rows_of(path: Path) -> list[dict[str, Any]]:
    return read_rows(path, COLUMNS).to_dicts()


class Interruption:
    """A progress function that stops the run at a given row, as Ctrl-C would."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


class TestDetection:
    def test_rows_are_what_the_detector_says(self, calls: Path, detector: Detector, tmp_path: Path) -> None:
        output = tmp_path / "out.csv"
        tally = score_detection(read_input(calls), detector, output)
        assert (tally.done, tally.failed, tally.skipped) == (5, 1, 0)
        assert len(tally.failures) == 1
        assert tally.failures[0].startswith("4.mp3: is not audio")
        rows = rows_of(output)
        assert [row["id"] for row in rows] == ORDER
        for row in rows:
            assert row["model"] == detector.info.reference
            assert row["windows"] == "sliding 1 s / 0.5 s"
            if row["id"] == "4.mp3":
                continue
            expected = detector.score_file(calls / row["path"])
            assert row["score"] == pytest.approx(expected.score, abs=1e-6)
            assert row["llr"] == pytest.approx(expected.llr, abs=1e-6)
            assert row["error"] is None
            assert row["seconds_used"] == row["seconds_total"] == pytest.approx(expected.seconds_total, abs=1e-3)

    def test_what_cannot_be_heard_has_an_error_and_no_score(
        self, calls: Path, detector: Detector, tmp_path: Path, speechlike: Callable[..., Any]
    ) -> None:
        os.mkfifo(calls / "pipe.wav")
        (calls / "gone.wav").symlink_to("nowhere.wav")
        (calls / "folder.wav").mkdir()
        soundfile.write(calls / "silent.wav", 0 * speechlike(2), 16_000)
        soundfile.write(calls / "short.wav", speechlike(0.1), 16_000)
        names = [*ORDER, "pipe.wav", "gone.wav", "folder.wav", "silent.wav", "short.wav", "../outside.wav"]
        (calls / "list.csv").write_text("path\n" + "\n".join(names) + "\n")
        if os.geteuid():
            (calls / "0.wav").chmod(0)
        tally = score_detection(read_input(calls / "list.csv", data_root=calls), detector, tmp_path / "out.jsonl")
        rows = {row["id"]: row for row in rows_of(tmp_path / "out.jsonl")}
        assert list(rows) == names
        errors = {name: row["error"] for name, row in rows.items() if row["error"]}
        assert tally.failed == len(tally.failures) == len(errors)
        said = {
            "4.mp3": "is not audio",
            "pipe.wav": "is a pipe",
            "gone.wav": "no such file",
            "folder.wav": "is a folder",
            "silent.wav": "holds 0.00 s of sound",
            "short.wav": "holds 0.10 s of sound",
            "../outside.wav": "outside of the data root",
        } | ({"0.wav": "Permission denied"} if os.geteuid() else {})
        assert errors.keys() == said.keys()
        for name, words in said.items():
            assert words in errors[name]
            assert (rows[name]["score"], rows[name]["llr"], rows[name]["seconds_used"]) == (None, None, None)

    def test_stretches_and_labels_of_a_manifest(self, calls: Path, detector: Detector, tmp_path: Path) -> None:
        lines = ["id,path,start,end,label", "a,2.wav,0,1.5,bonafide", "b,2.wav,1.5,,spoof", "c,2.wav,,,"]
        (calls / "list.csv").write_text("\n".join(lines) + "\n")
        score_detection(read_input(calls / "list.csv"), detector, tmp_path / "out.parquet")
        a, b, c = rows_of(tmp_path / "out.parquet")
        assert (a["start"], a["end"], a["label"], a["seconds_used"]) == (0, 1.5, "bonafide", 1.5)
        assert (b["start"], b["end"], b["label"], b["seconds_total"]) == (1.5, None, "spoof", 1.5)
        assert a["score"] == pytest.approx(detector.score_file(calls / "2.wav", end_s=1.5).score, abs=1e-6)
        assert len({a["score"], b["score"], c["score"]}) == 3
        assert read_labelled("deepfake", tmp_path / "out.parquet").unlabelled == ("c",)

    def test_a_long_recording_is_streamed_with_the_same_result(
        self, calls: Path, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        score_detection(read_input(calls), detector, tmp_path / "held.csv")
        monkeypatch.setattr(scoring, "HELD_IN_MEMORY_S", 0.1)
        monkeypatch.setattr(scoring, "np", None)  # nothing may be decoded whole
        score_detection(read_input(calls), detector, tmp_path / "streamed.csv")
        held, streamed = rows_of(tmp_path / "held.csv"), rows_of(tmp_path / "streamed.csv")
        for row, other in zip(held, streamed, strict=True):
            for name in ("score", "llr", "seconds_used", "seconds_total"):
                assert other[name] == (None if row[name] is None else pytest.approx(row[name], abs=1e-6))

    @pytest.mark.parametrize("held_s", [120.0, 0.1])
    @pytest.mark.parametrize("workers", [1, 2])
    def test_what_a_file_says_amiss_of_itself_is_a_note_of_its_row(
        self,
        calls: Path,
        detector: Detector,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        held_s: float,
        workers: int,
    ) -> None:
        """Heard in memory and streamed alike; the rows beside it have no note."""
        with (calls / "1.wav").open("ab") as file:
            file.write(bytes(100))
        monkeypatch.setattr(scoring, "HELD_IN_MEMORY_S", held_s)
        output = tmp_path / "out.csv"
        tally = score_detection(read_input(calls), detector, output, engine=LocalEngine(workers))
        said = "the file is 100 bytes longer than its header says"
        assert [row["note"] for row in rows_of(output)] == [None, said, None, None, None]
        assert tally.notes == (f"1.wav: heard, but {said}",)
        assert (tally.done, tally.failed) == (5, 1)

    def test_a_disk_that_goes_away_is_an_error_of_its_row(
        self, calls: Path, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stale(*_: object) -> None:
            raise OSError(116, "Stale file handle")

        monkeypatch.setattr(scoring, "stream", stale)
        tally = score_detection(read_input(calls / "0.wav"), detector, tmp_path / "out.csv")
        assert tally.failures == ("0.wav: cannot be read (Stale file handle)",)

    @pytest.mark.parametrize("workers", [1, 3])
    def test_interrupted_and_resumed_is_as_never_interrupted(
        self, calls: Path, detector: Detector, tmp_path: Path, workers: int
    ) -> None:
        manifest = read_input(calls)
        score_detection(manifest, detector, tmp_path / "whole.csv")
        output = tmp_path / "out.csv"
        with pytest.raises(KeyboardInterrupt):
            score_detection(manifest, detector, output, engine=LocalEngine(workers), progress=Interruption(2))
        assert not output.exists()
        with pytest.raises(UsageError, match=r"out\.csv\.part\.jsonl: an unfinished run"):
            score_detection(manifest, detector, output)
        with pytest.raises(KeyboardInterrupt):
            score_detection(
                manifest, detector, output, resume=True, engine=LocalEngine(workers), progress=Interruption(4)
            )
        steps: list[None] = []
        tally = score_detection(manifest, detector, output, resume=True, progress=lambda: steps.append(None))
        assert (tally.done, tally.skipped, tally.failed, len(steps)) == (1, 4, 1, 5)
        assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()
        assert {path.name for path in tmp_path.iterdir()} == {"calls", "out.csv", "whole.csv"}

    def test_two_models_are_never_mixed(
        self, calls: Path, detector: Detector, other_detector: Detector, tmp_path: Path
    ) -> None:
        output = tmp_path / "out.csv"
        score_detection(read_input(calls), detector, output)
        with pytest.raises(UsageError, match="holds rows whose model is 'tiny-detector-0"):
            score_detection(read_input(calls), other_detector, output, resume=True)

    def test_a_table_that_cannot_be_written(self, calls: Path, detector: Detector) -> None:
        with pytest.raises(UsageError, match="not a table format"):
            score_detection(read_input(calls), detector, calls / "out.txt")


class TestTrials:
    @pytest.fixture
    def trials(self, tmp_path: Path) -> Path:
        path = tmp_path / "trials.txt"
        path.write_text(TRIALS)
        return path

    @pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
    def test_rows_are_what_the_embedder_says(
        self, calls: Path, trials: Path, embedder: Embedder, tmp_path: Path, suffix: str
    ) -> None:
        output = tmp_path / f"out{suffix}"
        tally = score_trials(read_input(calls), trials, embedder, output)
        assert (tally.done, tally.failed) == (4, 1)
        assert tally.failures[0].startswith("4.mp3: ")
        columns: dict[str, type] = {"enrol": str, "test": str, "score": float, "llr": float, "label": str, "error": str}
        rows = read_rows(output, columns).to_dicts()
        assert [(row["enrol"], row["test"], row["label"]) for row in rows] == [
            ("0.wav", "1.wav", "target"),
            ("0.wav", "4.mp3", "nontarget"),
            ("2.wav", "deep/3.flac", "nontarget"),
            ("deep/3.flac", "0.wav", "target"),
        ]
        for row in rows:
            if row["test"] == "4.mp3":
                assert (row["score"], row["llr"]) == (None, None)
                assert row["error"].startswith("test: is not audio")
                continue
            enrol, test = (embedder.embed_file(calls / row[side]) for side in ("enrol", "test"))
            assert row["score"] == pytest.approx(embedder.compare([enrol], test), abs=1e-6)
            assert row["llr"] == pytest.approx(embedder.info.llr(row["score"]), abs=1e-6)
            assert row["error"] is None
        assert {path.name for path in tmp_path.iterdir()} == {"calls", "trials.txt", output.name}

    def test_evaluate_reads_them(self, calls: Path, trials: Path, embedder: Embedder, tmp_path: Path) -> None:
        (calls / "list.csv").write_text("path,speaker\n" + "".join(f"{name},s{name[0]}\n" for name in ORDER))
        score_trials(read_input(calls / "list.csv"), trials, embedder, tmp_path / "out.csv")
        scores = read_labelled("speaker", tmp_path / "out.csv")
        assert (scores.positive.height, scores.negative.height) == (2, 1)
        assert scores.failed == ("0.wav 4.mp3",)
        assert scores.table["enrol_speaker"].to_list() == ["s0", "s2", "sd"]
        assert scores.table["test_speaker"].to_list() == ["s1", "sd", "s0"]

    def test_each_recording_is_heard_once(
        self, calls: Path, trials: Path, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heard = count_decoding(monkeypatch)
        score_trials(read_input(calls), trials, embedder, tmp_path / "out.csv")
        assert sorted(heard) == ["0.wav", "1.wav", "2.wav", "3.flac", "4.mp3"]

    def test_interrupted_and_resumed_is_as_never_interrupted(
        self, calls: Path, trials: Path, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manifest = read_input(calls)
        score_trials(manifest, trials, embedder, tmp_path / "whole.csv")
        output = tmp_path / "out.csv"
        with pytest.raises(KeyboardInterrupt):
            score_trials(manifest, trials, embedder, output, progress=Interruption(2))
        with pytest.raises(UsageError, match="an unfinished run"):
            score_trials(manifest, trials, embedder, output)
        monkeypatch.setattr(trial_scores, "write_table", killed)  # all prints are there, the table is not
        with pytest.raises(KeyboardInterrupt):
            score_trials(manifest, trials, embedder, output, resume=True)
        monkeypatch.undo()
        with pytest.raises(UsageError, match=r"out\.csv\.prints\.jsonl: an unfinished run"):
            score_trials(manifest, trials, embedder, output)
        heard = count_decoding(monkeypatch)
        score_trials(manifest, trials, embedder, output, resume=True)
        assert heard == []
        assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()
        again = score_trials(manifest, trials, embedder, output, resume=True)
        assert (again.done, again.skipped, again.failed, heard) == (0, 4, 1, [])

    def test_another_list_is_scored_anew(self, calls: Path, trials: Path, embedder: Embedder, tmp_path: Path) -> None:
        output = tmp_path / "out.csv"
        score_trials(read_input(calls), trials, embedder, output)
        trials.write_text("0 0.wav 2.wav\n")
        assert score_trials(read_input(calls), trials, embedder, output, resume=True).done == 1
        assert pl.read_csv(output).height == 1

    def test_no_side_can_be_heard(self, calls: Path, trials: Path, embedder: Embedder, tmp_path: Path) -> None:
        trials.write_text("1 4.mp3 notes.mp3\n")
        (calls / "notes.txt").rename(calls / "notes.mp3")
        tally = score_trials(read_input(calls), trials, embedder, tmp_path / "out.csv")
        assert tally.failed == 1
        (row,) = pl.read_csv(tmp_path / "out.csv").to_dicts()
        assert row["error"].startswith("enrolment: is not audio")
        assert "; test: is not audio" in row["error"]
        assert (row["score"], row["llr"]) == (None, None)

    def test_a_bad_list_stops_before_the_work(
        self, calls: Path, trials: Path, embedder: Embedder, tmp_path: Path
    ) -> None:
        trials.write_text("1 0.wav nobody.wav\n")
        with pytest.raises(DataError, match=r"line 1: 'nobody\.wav' is not in INPUT"):
            score_trials(read_input(calls), trials, embedder, tmp_path / "out.csv")
        with pytest.raises(UsageError, match="not a table format"):
            score_trials(read_input(calls), trials, embedder, tmp_path / "out.xlsx")
        assert {path.name for path in tmp_path.iterdir()} == {"calls", "trials.txt"}


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    heard: list[str] = []
    stream = scoring.stream

    def counted(path: Path, *how: Any) -> Any:
        heard.append(path.name)
        return stream(path, *how)

    monkeypatch.setattr(scoring, "stream", counted)
    return heard


class TestReferences:
    def test_rows_are_what_the_embedder_says(
        self, calls: Path, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scoring, "speech_seconds", lambda *stretch: 3.0)  # these made-up voices are no speech
        output = tmp_path / "out.csv"
        references = [str(calls / "0.wav"), str(calls / "deep")]
        tally = score_references(read_input(calls), references, embedder, output)
        assert (tally.done, tally.failed) == (5, 3)
        rows = read_rows(output, scoring.REFERENCE_COLUMNS).to_dicts()
        assert [row["id"] for row in rows] == ORDER
        enrolment = [embedder.embed_file(calls / name) for name in ("0.wav", "deep/3.flac")]
        for row in rows:
            assert row["references"].startswith("2 recording(s) (sha256 ")
            if row["error"]:
                assert row["score"] is None
                itself = row["path"] in ("0.wav", "deep/3.flac")
                assert row["error"].startswith("is itself one of the references") is itself
                continue
            score = embedder.compare(enrolment, embedder.embed_file(calls / row["path"]))
            assert row["score"] == pytest.approx(score, abs=1e-6)
            assert row["llr"] == pytest.approx(embedder.info.llr(score), abs=1e-6)

    def test_references_without_speech_settle_nothing(
        self, calls: Path, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scoring, "speech_seconds", lambda *stretch: 0.1)
        tally = score_references(read_input(calls), [calls / "0.wav"], embedder, tmp_path / "out.csv")
        assert any("0.wav: no speech is found in it" in note for note in tally.notes)
        rows = read_rows(tmp_path / "out.csv", scoring.REFERENCE_COLUMNS).to_dicts()
        scored = [row for row in rows if not row["error"]]
        assert scored
        assert all(row["score"] is not None and row["llr"] is None for row in scored)
        assert all("no speech is found in it" in row["reference_doubts"] for row in rows)

    def test_other_references_are_never_mixed_in(self, calls: Path, embedder: Embedder, tmp_path: Path) -> None:
        output = tmp_path / "out.csv"
        score_references(read_input(calls), [calls / "0.wav"], embedder, output)
        with pytest.raises(UsageError, match="holds rows whose references is"):
            score_references(read_input(calls), [calls / "1.wav"], embedder, output, resume=True)

    @pytest.mark.parametrize(
        ("references", "said"), [(["4.mp3"], r"4\.mp3: cannot serve as a reference"), (["0.wav", "9.wav"], r"9\.wav")]
    )
    def test_a_bad_reference_stops_before_the_work(
        self, calls: Path, embedder: Embedder, tmp_path: Path, references: Sequence[str], said: str
    ) -> None:
        with pytest.raises((AudioError, UsageError), match=said):
            score_references(read_input(calls), [calls / r for r in references], embedder, tmp_path / "out.csv")
        with pytest.raises(UsageError, match="no references"):
            score_references(read_input(calls), [], embedder, tmp_path / "out.csv")
        assert not list(tmp_path.glob("out*"))


class TestEachAtOnce:
    def test_keeps_the_order_and_works_on_so_many(self) -> None:
        running: set[int] = set()
        seen: list[int] = []
        lock = threading.Lock()

        def work(item: int) -> int:
            with lock:
                running.add(item)
                seen.append(len(running))
            time.sleep(0.002 * (item % 3))
            with lock:
                running.discard(item)
            return item * item

        assert list(each_at_once(range(60), work, 3)) == [(n, n * n) for n in range(60)]
        assert 1 < max(seen) <= 3

    @pytest.mark.parametrize(("said", "cores"), [("1", 1), ("0", 1), ("2,3", 64), ("", 64), ("9999", 64)])
    def test_whoever_allows_fewer_threads_gets_fewer(
        self, said: str, cores: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert usable_cores() == cores

    def test_takes_no_more_of_the_items_than_it_holds(self) -> None:
        taken = []

        def items():
            for number in range(1_000_000):
                taken.append(number)
                yield number

        with contextlib.closing(each_at_once(items(), math.sqrt, 1)) as running:
            next(running)
        assert len(taken) <= 3

    def test_what_an_item_raises_is_raised_and_nobody_is_waited_for(self) -> None:
        going_on = threading.Event()
        begun = []

        def work(item: int) -> None:
            begun.append(item)
            if item == 0:
                raise ValueError("zero")
            going_on.wait(60)

        with pytest.raises(ValueError, match="zero"):
            list(each_at_once(range(100), work, 2))
        assert set(begun) <= {0, 1, 2, 3}
        going_on.set()

    def test_ctrl_c_does_not_wait_for_what_is_under_way(self) -> None:
        """As it did: the handler that polars puts in lets a wait for a thread go on through the signal."""
        program = (
            "import os, time, polars as pl\n"
            "from earwitness.core.engines.local import each_at_once, usable_cores\n"
            "pl.DataFrame({'a': [1]}).select('a')\n"
            "def work(item):\n"
            "    print(item, flush=True)\n"
            "    time.sleep(120)\n"
            "try:\n"
            "    list(each_at_once(range(2), work, 1))\n"
            "except KeyboardInterrupt:\n"
            "    os._exit(130)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "0\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
