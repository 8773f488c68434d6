"""The engines of `earwitness score` side by side: this process, and the workers of Ray; the same recordings, one run.

    python benchmarks/scale_speed.py [--model NAME|FOLDER] [--files 120] [--repeats 3] [--workers 2]

- local_1, local_N: one thread of this process, and N of them, each with a recording of its own and one thread of torch;
- ray_1, ray_N: one worker, and N of them, each with one thread of torch; Ray runs already, the workers start each time.

Medians over the repeats, the engines in turn within each.

- `start_s`: wall-clock time of a run over a single recording, nearly all of it the start of the workers;
- `worked_s`: wall-clock time of a run over all recordings less `start_s`; the speed-up by workers is their ratio;
- `core_s_per_audio_s`: processor time of the workers from their first recording on, and of the driver, over the seconds
  of audio. Other work on the machine weighs little on it. Ray's own daemons are not in it.

Fails where two engines do not write the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from score_speed import chosen_detector, recordings

from earwitness.audio import probe
from earwitness.core.allocator import keep_freed_memory
from earwitness.core.engines import Engine, LocalEngine, RayEngine, Work
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.detector import Detector
from earwitness.evaluation.scoring.scorers import score_detection

_BEGAN: dict[int, float] = {}  # the processor time of this process when it began to work, by its number


def core_hours(core_s_per_audio_s: float, files: float, seconds: float) -> float:
    """What `files` recordings of `seconds` each need, by what a second of audio has cost.

    >>> core_hours(0.01, files=10_000_000, seconds=3.6)
    100.0
    """
    return core_s_per_audio_s * files * seconds / 3600


@dataclass(frozen=True)
class _Metered:
    """Another work, whose results say by which process, and what that has used so far."""

    work: Any

    def result(self, item: Any) -> tuple[Any, int, float]:
        _BEGAN.setdefault(os.getpid(), time.process_time())
        made = self.work.result(item)
        return made, os.getpid(), time.process_time() - _BEGAN[os.getpid()]

    def lost(self, item: Any, why: str) -> tuple[Any, int, float]:
        raise SystemExit(f"a worker died: {why}")


@dataclass
class Metering:
    """Another engine, of whose workers it keeps what each has used: processor seconds by process."""

    engine: Engine
    used: dict[int, float] = field(default_factory=dict)

    def results(self, work: Work[Any, Any], items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """As the engine's."""
        for item, (made, process, used) in self.engine.results(_Metered(work), items):
            self.used[process] = used
            yield item, made


@dataclass(frozen=True)
class Run:
    """Wall-clock seconds, processor seconds of driver and workers, and what was written."""

    seconds: float
    core_s: float
    written: bytes


def timed(engine: Engine, manifest: Manifest, detector: Detector, output: Path) -> Run:
    """One run of `score`."""
    metering = Metering(engine)
    start, used = time.perf_counter(), time.process_time()
    score_detection(manifest, detector, output, engine=metering)
    seconds, driver_s = time.perf_counter() - start, time.process_time() - used
    elsewhere = sum(used for process, used in metering.used.items() if process != os.getpid())
    written = output.read_bytes()
    output.unlink()
    return Run(seconds, driver_s + elsewhere, written)


def measure(detector: Detector, files: int, repeats: int, workers: int) -> dict[str, object]:
    """Costs and ratios of the engines."""
    many, single = recordings(files), recordings(1)
    audio_s = sum(probe(many.resolve(row)).duration_s or 0.0 for row in many.rows())
    crews = {"local_1": 1, f"local_{workers}": workers, "ray_1": 1, f"ray_{workers}": workers}
    engines: dict[str, Engine] = {
        name: LocalEngine(crew) if name.startswith("local") else RayEngine(crew) for name, crew in crews.items()
    }
    starts: dict[str, list[Run]] = {name: [] for name in engines}
    wholes: dict[str, list[Run]] = {name: [] for name in engines}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "scores.csv"
        timed(RayEngine(workers), single, detector, output)  # starts Ray
        expected = timed(LocalEngine(), many, detector, output).written
        for _ in range(repeats):
            for name, engine in engines.items():
                starts[name].append(timed(engine, single, detector, output))
                wholes[name].append(timed(engine, many, detector, output))
                if wholes[name][-1].written != expected:
                    raise SystemExit(f"{name} writes other bytes than local")
    rows = {name: _row(name, crews[name], starts[name], wholes[name], audio_s) for name in engines}
    local, threads, one, several = rows.values()
    return {
        "model": detector.info.name,
        "files": files,
        "audio_s": audio_s,
        "repeats": repeats,
        "engines": list(rows.values()),
        "ratios": {
            "share_of_local_speed_by_one_worker": local["worked_s"] / one["worked_s"],
            f"times_faster_by_{workers}_workers_than_by_one": one["worked_s"] / several["worked_s"],
            f"times_faster_by_{workers}_threads_than_by_one": local["worked_s"] / threads["worked_s"],
            "share_of_local_efficiency": local["core_s_per_audio_s"] / several["core_s_per_audio_s"],
        },
    }


def _row(name: str, crew: int, starts: list[Run], wholes: list[Run], audio_s: float) -> dict[str, Any]:
    start_s = median(run.seconds for run in starts)
    core_s = median(run.core_s for run in wholes) / audio_s
    return {
        "name": name,
        "workers": crew,
        "start_s": start_s,
        "worked_s": median(run.seconds for run in wholes) - start_s,
        "core_s_per_audio_s": core_s,
        "core_hours_of_ten_million_files_of_10_s": core_hours(core_s, 1e7, 10.0),
    }


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description="the engines of score side by side.")
    parser.add_argument("--model", default="deepfake-small")
    parser.add_argument("--files", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    print(
        json.dumps(measure(chosen_detector(options.model), options.files, options.repeats, options.workers), indent=2)
    )


if __name__ == "__main__":
    main()
