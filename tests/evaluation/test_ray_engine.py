"""The engine `ray`: the same rows as the local one, whatever worker or driver dies on the way. Ray starts once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile

import ray_toys
from earwitness.core.engines import LocalEngine, RayEngine, engine_named
from earwitness.core.engines import ray as ray_engine
from earwitness.core.errors import AudioError, MissingPartError, UsageError
from earwitness.core.paths import confined_to
from earwitness.corpora.inspection import fill_from_files, inspect_files
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.detector import Detector
from earwitness.evaluation.scoring.inputs import read_input
from earwitness.evaluation.scoring.manner import score_emotions
from earwitness.evaluation.scoring.scorers import score_detection
from earwitness.evaluation.scoring.trial_scores import score_trials
from earwitness.speaker.embedder import Embedder
from ray_toys import Confined, Squaring, Unwelcome
from tiny_models import make_detector

if find_spec("ray") is None:  # not imported here: what the engine settles, it settles before that
    pytest.skip("Ray is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def two_workers() -> Iterator[RayEngine]:
    """Ray on two cores, stopped at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        here = str(Path(ray_toys.__file__).parent)  # from where workers know it
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])))
        patch.setattr(ray_engine, "STORE_BYTES", 80 * 2**20)
        engine = RayEngine(2)
        try:
            ray_engine._started(2)
        except UsageError as error:  # a container without shared memory, for one
            pytest.skip(f"Ray does not run on this machine: {error}")
        yield engine
    import ray

    ray.shutdown()


@pytest.fixture
def one_worker(two_workers: RayEngine) -> RayEngine:
    """Where one is enough: a worker that imports torch takes seconds to start."""
    return RayEngine(1)


class TestTheEngine:
    def test_results_come_in_order_from_two_processes(self, two_workers: RayEngine, tmp_path: Path) -> None:
        work = Squaring(tmp_path, meeting=True)
        found = list(two_workers.results(work, range(40)))
        assert len(work.processes() - {str(os.getpid())}) == 2
        assert found == list(LocalEngine().results(work, range(40))) == [(n, n * n) for n in range(40)]
        assert list(two_workers.results(work, [])) == []

    def test_an_item_is_tried_again_where_its_worker_died(self, two_workers: RayEngine, tmp_path: Path) -> None:
        work = Squaring(tmp_path, deadly=5, lives=2)
        assert list(two_workers.results(work, range(12))) == [(n, n * n) for n in range(12)]
        assert len(work.begun(5)) == 3  # each time by another process

    def test_an_item_that_kills_every_worker_is_told(self, two_workers: RayEngine, tmp_path: Path) -> None:
        work = Squaring(tmp_path, deadly=2)
        found = dict(two_workers.results(work, range(12)))
        assert found.pop(2) == "2: the process that worked on it died, 3 times in a row"
        assert found == {n: n * n for n in range(12) if n != 2}
        # one more where a worker died so soon that its last answer was lost: then that answer's item is blamed
        assert len(work.begun(2)) in (3, 4)

    def test_few_items_are_taken_ahead(
        self, two_workers: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ray_engine, "TAKEN_AHEAD", 3)
        monkeypatch.setattr(ray_engine, "LARGEST_SHARE", 1)
        taken: list[int] = []

        def items() -> Iterator[int]:
            for number in range(1_000_000):
                taken.append(number)
                yield number

        running = two_workers.results(Squaring(tmp_path), items())
        assert [next(running) for _ in range(5)] == [(n, n * n) for n in range(5)]
        assert len(taken) <= 5 + 2 * 3
        running.close()  # type: ignore[attr-defined]

    def test_what_ends_a_run_comes_out_as_it_is(self, two_workers: RayEngine, tmp_path: Path) -> None:
        with pytest.raises(AudioError, match=r"^3: cannot be squared. Try another.$"):
            list(two_workers.results(Squaring(tmp_path, failing=3), range(12)))

    def test_what_cannot_be_sent_is_told(self, two_workers: RayEngine, tmp_path: Path) -> None:
        work = Squaring(tmp_path)
        object.__setattr__(work, "lock", threading.Lock())
        with pytest.raises(UsageError, match=r"cannot be sent to other processes \(.*Use --engine local"):
            list(two_workers.results(work, range(3)))

    def test_workers_that_cannot_start_end_the_run(self, two_workers: RayEngine, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"^--engine ray: no worker could start \(.*no memory for this model"):
            list(two_workers.results(Unwelcome(tmp_path), range(3)))


class TestScoring:
    def test_rows_are_those_of_the_local_engine(
        self, two_workers: RayEngine, calls: Path, detector: Detector, tmp_path: Path
    ) -> None:
        (tmp_path / "secret.wav").write_bytes((calls / "0.wav").read_bytes())
        (calls / "link.wav").symlink_to("../secret.wav")
        names = ["0.wav", "1.wav", "2.wav", "4.mp3", "deep/3.flac", "gone.wav", "link.wav", "../secret.wav"]
        (calls / "list.csv").write_text("path\n" + "\n".join(names) + "\n")
        steps: list[None] = []
        for name, engine in (("local", LocalEngine()), ("ray", two_workers)):
            manifest = read_input(calls / "list.csv", data_root=calls)
            steps.clear()
            output = tmp_path / f"{name}.csv"
            tally = score_detection(manifest, detector, output, engine=engine, progress=lambda: steps.append(None))
            assert (tally.done, tally.failed, len(steps)) == (8, 4, 8)
        assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()
        errors = pl.read_csv(tmp_path / "ray.csv")["error"].drop_nulls().to_list()
        assert ["outside of the data root" in error for error in errors] == [False, False, True, True]

    def test_a_corpus_is_checked_as_by_the_local_engine(
        self, one_worker: RayEngine, calls: Path, tmp_path: Path
    ) -> None:
        (calls / "twin.wav").write_bytes((calls / "0.wav").read_bytes())
        (calls / "list.csv").write_text("path,duration_s\n0.wav,\n1.wav,9\ntwin.wav,\n4.mp3,\n../gone.wav,\n")
        manifest = Manifest.read(calls / "list.csv", calls)
        found = inspect_files(manifest, decode=True, engine=one_worker)
        assert found == inspect_files(manifest, decode=True)
        assert [problem.id for problem in found.problems] == ["1.wav", "twin.wav", "4.mp3", "../gone.wav"]
        filled, problems = fill_from_files(manifest, engine=one_worker)
        assert (filled.table.rows(), problems) == (fill_from_files(manifest)[0].table.rows(), list(found.problems[2:]))

    def test_trials_are_those_of_the_local_engine(
        self, one_worker: RayEngine, calls: Path, embedder: Embedder, tmp_path: Path
    ) -> None:
        trials = tmp_path / "trials.txt"
        trials.write_text("1 0.wav 1.wav\n0 0.wav 4.mp3\n0 2.wav deep/3.flac\n")
        score_trials(read_input(calls), trials, embedder, tmp_path / "local.csv")
        score_trials(read_input(calls), trials, embedder, tmp_path / "ray.csv", engine=one_worker)
        assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()

    def test_it_goes_on_where_the_local_engine_stopped_though_a_worker_dies(
        self, two_workers: RayEngine, detector: Detector, tmp_path: Path, speechlike: Callable[..., Any]
    ) -> None:
        folder = tmp_path / "many"
        folder.mkdir()
        for number in range(16):
            soundfile.write(folder / f"{number:02}.wav", speechlike(2, seed=number), 16_000)
        score_detection(read_input(folder), detector, tmp_path / "whole.csv")
        output = tmp_path / "out.csv"
        with pytest.raises(KeyboardInterrupt):
            score_detection(read_input(folder), detector, output, progress=_stop_at(3))
        steps: list[None] = []
        killed: list[int] = []

        def progress() -> None:
            steps.append(None)
            if len(steps) > 3 and not killed:  # the first three are those that were there
                killed.append(_workers_of(os.getpid())[0])
                os.kill(killed[0], signal.SIGKILL)

        tally = score_detection(
            read_input(folder), detector, output, engine=two_workers, resume=True, progress=progress
        )
        assert len(killed) == 1
        assert (tally.done, tally.skipped, tally.failed, len(steps)) == (13, 3, 0, 16)
        assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()

    def test_a_model_that_hears_speakers_together_stays_here(self, two_workers: RayEngine, calls: Path) -> None:
        import earwitness

        relative: Any = earwitness.load("emotion-relative")
        with pytest.raises(UsageError, match=r"hears all of a speaker's recordings together\. Use --engine local"):
            score_emotions(read_input(calls), relative, calls / "out.csv", engine=two_workers)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nobody_outside_of_this_machine_is_listened_to(two_workers: RayEngine, tmp_path: Path) -> None:
    running = two_workers.results(Squaring(tmp_path), range(1_000))
    next(running)
    listening = _listening(os.getpid())
    running.close()  # type: ignore[attr-defined]
    assert len(listening) > 3
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_workers_are_confined_too(two_workers: RayEngine, tmp_path: Path) -> None:
    with confined_to(tmp_path):
        assert list(two_workers.results(Confined(), [1])) == [(1, str(tmp_path))]
    assert list(two_workers.results(Confined(), [1])) == [(1, "None")]


class TestWithoutRay:
    def test_one_line_where_it_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(MissingPartError, match=r"^Ray is not installed. pip install 'earwitness\[scale\]'$"):
            engine_named("ray")

    @pytest.mark.parametrize(
        ("address", "said"),
        [("127.0.0.1:1", r"cannot be reached \(Connection refused\)"), ("cluster", "is no address of a Ray cluster")],
    )
    def test_one_line_where_the_cluster_is_not_there(
        self, monkeypatch: pytest.MonkeyPatch, address: str, said: str
    ) -> None:
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UsageError, match=f"^RAY_ADDRESS={address}: .*{said}"):
            engine_named("ray")
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_killed_driver_leaves_whole_rows_and_no_processes(
    two_workers: RayEngine, tmp_path: Path, detector: Detector, speechlike: Callable[..., Any]
) -> None:
    """The driver is killed as `kill -9` does it; the local engine goes on. Ray says nothing on the terminal."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(150):
        soundfile.write(folder / f"{number:03}.wav", speechlike(1, seed=number % 10), 16_000)
    model = make_detector(tmp_path / "detector")
    words = [sys.executable, "-m", "earwitness", "score", folder, "--task", "deepfake", "--model", model]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["HOME"] = str(tmp_path / "home")
    for name in [name for name in environment if name.startswith("RAY_")]:
        del environment[name]
    output = tmp_path / "ray.csv"
    driver = subprocess.Popen(
        [*map(str, words), "--engine", "ray", "--workers", "2", "-o", str(output)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    part = tmp_path / "ray.csv.part.jsonl"
    while driver.poll() is None and (not part.exists() or part.read_bytes().count(b"\n") < 3):
        time.sleep(0.002)
    workers = _workers_of(driver.pid)
    driver.kill()
    assert driver.communicate()[1] == ""
    assert driver.returncode == -signal.SIGKILL, "it was over before it was killed"
    assert workers
    assert not (tmp_path / "home" / ".ray").exists()  # Ray keeps its tokens there
    tally = score_detection(read_input(folder), Detector.load(model), output, resume=True)
    assert tally.skipped >= 3
    assert tally.done + tally.skipped == 150
    score_detection(read_input(folder), Detector.load(model), tmp_path / "whole.csv")
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "workers outlive their driver"
        time.sleep(0.2)


def _listening(ancestor: int) -> list[str]:
    """The addresses (hexadecimal, as the kernel has them) at which a process and its descendants listen."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    addresses = {line[9]: line[1].split(":")[0] for line in lines if line[3] == "0A"}
    found, family = [], {ancestor}
    parents = _parents()
    while grown := {pid for pid, (parent, _) in parents.items() if parent in family} - family:
        family |= grown
    for pid in family:
        with contextlib.suppress(OSError):  # it has ended
            links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
            found += [addresses[link[8:-1]] for link in links if link[8:-1] in addresses]
    return found


def _stop_at(row: int) -> Callable[[], None]:
    """A progress function that stops the run at a row, as Ctrl-C would."""
    left = [row]

    def step() -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    return step


def _workers_of(driver: int) -> list[int]:
    """The processes of Ray's workers that hold work for a driver: grandchildren of it."""
    parents = _parents()
    return [pid for pid, (parent, works) in parents.items() if works and parents.get(parent, (0, False))[0] == driver]


def _parents() -> dict[int, tuple[int, bool]]:
    """The parent of each process, and whether it is a worker."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name, rest = (entry / "cmdline").read_bytes(), (entry / "stat").read_text().rpartition(")")[2]
        except OSError:  # it has ended
            continue
        parents[int(entry.name)] = (int(rest.split()[1]), name.startswith(b"ray::_Worker"))
    return parents
