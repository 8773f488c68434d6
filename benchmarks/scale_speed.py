"""The engines of `earwitness score` side by side: this process, and the workers of Ray; the same recordings, one run.

    python benchmarks/scale_speed.py [--model NAME|FOLDER] [--files 240] [--repeats 3] [--workers 2]

- local: the model in this process, one thread of torch and one that decodes ahead;
- ray_1, ray_N: one worker, and N of them, each with one thread of torch; Ray runs already, the workers start each time.

`start` is what the workers cost before the first recording, from a run over a single one. Without it, a worker's cost
is what counts on many recordings: `worked_s` is the wall-clock time of a run less `start`. Medians over the repeats, in
turn within each. `core_s_per_file` is `worked_s` times the workers over the files; what a run of other sizes needs
follows from it by `core_hours` of this file (docs/scale.md). Fails where two engines do not write the same bytes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from score_speed import chosen_detector, recordings

from earwitness.audio import probe
from earwitness.core.engines import Engine, LocalEngine, RayEngine
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.detector import Detector
from earwitness.evaluation.scoring.scorers import score_detection


def core_hours(core_s_per_audio_s: float, files: float, seconds: float) -> float:
    """What `files` recordings of `seconds` each need, by what a second of audio has cost.

    >>> core_hours(0.01, files=10_000_000, seconds=3.6)
    100.0
    """
    return core_s_per_audio_s * files * seconds / 3600


def timed(engine: Engine, manifest: Manifest, detector: Detector, output: Path) -> tuple[float, bytes]:
    """Seconds of one run, and what it wrote."""
    start = time.perf_counter()
    score_detection(manifest, detector, output, engine=engine)
    seconds = time.perf_counter() - start
    written = output.read_bytes()
    output.unlink()
    return seconds, written


def measure(detector: Detector, files: int, repeats: int, workers: int) -> dict[str, object]:
    """Costs and ratios of the engines."""
    many, single = recordings(files), recordings(1)
    audio_s = sum(probe(many.resolve(row)).duration_s or 0.0 for row in many.rows())
    engines: dict[str, Engine] = {"local": LocalEngine(), "ray_1": RayEngine(1), f"ray_{workers}": RayEngine(workers)}
    crews = {"local": 1, "ray_1": 1, f"ray_{workers}": workers}
    starts: dict[str, list[float]] = {name: [] for name in engines}
    wholes: dict[str, list[float]] = {name: [] for name in engines}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "scores.csv"
        timed(RayEngine(workers), single, detector, output)  # starts Ray
        expected = timed(LocalEngine(), many, detector, output)[1]
        for _ in range(repeats):
            for name, engine in engines.items():
                starts[name].append(timed(engine, single, detector, output)[0])
                seconds, written = timed(engine, many, detector, output)
                wholes[name].append(seconds)
                if written != expected:
                    raise SystemExit(f"{name} writes other bytes than local")
    medians = {name: (float(np.median(starts[name])), float(np.median(wholes[name]))) for name in engines}
    rows = [_row(name, *medians[name], crews[name], files, audio_s) for name in engines]
    return {
        "model": detector.info.name,
        "files": files,
        "audio_s": audio_s,
        "repeats": repeats,
        "engines": rows,
        "ratios": _ratios({str(row["name"]): float(str(row["worked_s"])) for row in rows}, workers),
    }


def _row(name: str, start_s: float, whole_s: float, crew: int, files: int, audio_s: float) -> dict[str, object]:
    worked_s = whole_s - start_s
    core_s = worked_s * crew
    return {
        "name": name,
        "workers": crew,
        "start_s": start_s,
        "worked_s": worked_s,
        "core_s_per_file": core_s / files,
        "core_s_per_audio_s": core_s / audio_s,
        "core_hours_of_ten_million_files_of_10_s": core_hours(core_s / audio_s, 1e7, 10.0),
    }


def _ratios(worked_s: Mapping[str, float], workers: int) -> dict[str, float]:
    return {
        "share_of_local_speed_by_one_worker": worked_s["local"] / worked_s["ray_1"],
        f"times_faster_than_local_by_{workers}_workers": worked_s["local"] / worked_s[f"ray_{workers}"],
    }


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description="the engines of score side by side.")
    parser.add_argument("--model")
    parser.add_argument("--files", type=int, default=240)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        json.dumps(measure(chosen_detector(options.model), options.files, options.repeats, options.workers), indent=2)
    )


if __name__ == "__main__":
    main()
