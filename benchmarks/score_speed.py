"""`score` beside a file-by-file loop and beside the model alone: the same detector, the same recordings, one run.

    python benchmarks/score_speed.py [--models deepfake deepfake-small] [--files 60] [--repeats 3] [--cores N]

- loop: each file is read whole, and its windows go through the network one by one, by all of torch's threads;
- forward: windows that already lie in memory go through the detector, nothing is read or written, by as many threads as
  `score` has, on one core each, or by all of torch's threads, whichever takes less;
- score: `earwitness score`'s own function, from files to a table on disk.

The loop in a process as Python starts it, the other two in one as the command line sets it up, in turns.

Wall-clock times, medians. The recordings of samples/ are used over and over. `untrained` is a small network that needs
no model.
Targets: score >= 90 % of forward's speed, >= 2 times the loop's, >= 50 times real time on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from earwitness.audio import Sliding, Window, cut, load, probe
from earwitness.core.allocator import keep_freed_memory
from earwitness.core.engines import LocalEngine
from earwitness.core.engines.local import MOST_THREADS, each_at_once, usable_cores
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.detector import Detector
from earwitness.evaluation.scoring.scorers import score_detection
from earwitness.nn.encoders import ResNetConfig
from earwitness.nn.frontends import LogMelConfig
from earwitness.nn.network import BranchConfig, NetworkConfig
from earwitness.training.model_folder import ModelInfo
from earwitness.training.shipped import find_model

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
UNTRAINED = "untrained"


def chosen_detector(name: str) -> Detector:
    """The named model, a shipped one or a folder, or the untrained network."""
    return untrained() if name == UNTRAINED else Detector.load(find_model(name))


def untrained() -> Detector:
    """Log-mel and a small residual network, 4 s windows."""
    torch.manual_seed(0)
    network = NetworkConfig(branches=[BranchConfig(frontend=LogMelConfig(), encoder=ResNetConfig())], outputs=2)
    info = ModelInfo(
        name=UNTRAINED,
        task="deepfake",
        network=network.model_dump(mode="json"),
        windows=Sliding(length_s=4.0, hop_s=4.0),
        polarity="higher = bona fide",
        licence="Apache-2.0",
    )
    return Detector(network.build(), info)


def recordings(files: int) -> Manifest:
    """The samples over and over, each time under an id of its own."""
    names = [path.name for path in sorted(SAMPLES.glob("*.flac"))]
    paths = [names[place % len(names)] for place in range(files)]
    return Manifest.from_table(pl.DataFrame({"id": [str(place) for place in range(files)], "path": paths}), SAMPLES)


def windows_of(detector: Detector, path: Path) -> list[Window]:
    """A file's windows, in memory."""
    return cut(load(path, detector.info.rate).samples, detector.info.rate, detector.info.windows)


@torch.inference_mode()
def loop(detector: Detector, paths: list[Path]) -> list[float]:
    """Scores as a plain script would make them."""
    scores = []
    for path in paths:
        outputs = [detector.network(torch.from_numpy(w.samples)[None], None)[0] for w in windows_of(detector, path)]
        scores.append(float(np.mean([float(logits[1] - logits[0]) for logits in outputs])))
    return scores


def forward(detector: Detector, prepared: list[list[Window]], at_once: int) -> list[float]:
    """Scores of windows that are ready."""
    made = each_at_once(prepared, lambda windows: detector.score_windows(windows).score, at_once)
    return [score for _, score in made]


def through_score(detector: Detector, manifest: Manifest, folder: Path, at_once: int) -> list[float]:
    """Scores through the whole path, out of the table that it wrote."""
    output = folder / "scores.parquet"
    score_detection(manifest, detector, output, engine=LocalEngine(at_once))
    found = pl.read_parquet(output)
    output.unlink()
    return manifest.table.select("id").join(found, on="id", how="left", maintain_order="left")["score"].to_list()


def on_threads(count: int, way: Callable[[], list[float]]) -> list[float]:
    """With so many threads of torch's own."""
    torch.set_num_threads(count)
    return way()


PARTS = {"plain": ("loop", "loop_on_one_thread"), "ours": ("forward_by_torch_threads", "forward_at_once", "score")}
TURNS = 2  # of each way within a process, after one that does not count


def here(part: str, detector: Detector, files: int, cores: int) -> dict[str, object]:
    """Seconds and scores of the ways of one part, in this process."""
    if part == "ours":
        keep_freed_memory()  # as the command line does
    at_once = min(cores, MOST_THREADS)
    each = cores // at_once
    manifest = recordings(files)
    paths = [manifest.resolve(row) for row in manifest.rows()]
    prepared = [windows_of(detector, path) for path in paths]
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], list[float]]] = {
            "loop": lambda: on_threads(cores, lambda: loop(detector, paths)),
            "loop_on_one_thread": lambda: on_threads(1, lambda: loop(detector, paths)),
            "forward_by_torch_threads": lambda: on_threads(cores, lambda: forward(detector, prepared, 1)),
            "forward_at_once": lambda: on_threads(each, lambda: forward(detector, prepared, at_once)),
            "score": lambda: on_threads(each, lambda: through_score(detector, manifest, Path(folder), at_once)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in PARTS[part]}
        scores = {}
        for turn in range(TURNS + 1):
            for name, taken in seconds.items():
                start = time.perf_counter()
                scores[name] = ways[name]()
                taken += [time.perf_counter() - start] if turn else []
    return {"seconds": seconds, "scores": scores, "audio_s": sum(probe(path).duration_s or 0.0 for path in paths)}


def in_a_process(part: str, model: str, asked: argparse.Namespace) -> dict[str, Any]:
    """`here` in a process of its own: what one part does to the memory of its process, the other must not have."""
    words = ["--part", part, "--models", model, "--files", str(asked.files), "--cores", str(asked.cores)]
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def measure(model: str, asked: argparse.Namespace) -> dict[str, object]:
    """Costs and ratios; fails where the ways do not give the same scores."""
    rounds = [{part: in_a_process(part, model, asked) for part in PARTS} for _ in range(asked.repeats)]
    seconds = {
        name: float(np.median([taken for one in rounds for taken in one[part]["seconds"][name]]))
        for part, names in PARTS.items()
        for name in names
    }
    scores = np.array([made for one in rounds for part in PARTS for made in one[part]["scores"].values()], float)
    difference = float(np.ptp(scores, axis=0).max())
    if not difference < 1e-3:
        raise SystemExit(f"the ways differ by {difference:.1e}")
    forward_s = min(seconds["forward_by_torch_threads"], seconds["forward_at_once"])
    audio_s = rounds[0]["ours"]["audio_s"]
    return {
        "model": model,
        "audio_s": audio_s,
        "seconds": seconds,
        "largest_difference": difference,
        "share_of_forward_speed": forward_s / seconds["score"],
        "times_faster_than_loop": seconds["loop"] / seconds["score"],
        "times_faster_than_loop_on_one_thread": seconds["loop_on_one_thread"] / seconds["score"],
        "times_faster_than_real_time": audio_s / seconds["score"],
    }


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description="score beside a plain loop and the model alone.")
    parser.add_argument("--models", nargs="+", default=["deepfake", "deepfake-small"])
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=usable_cores())
    parser.add_argument("--part", choices=sorted(PARTS), help="measure one part here and print it alone")
    asked = parser.parse_args()
    if asked.part is not None:
        print(json.dumps(here(asked.part, chosen_detector(asked.models[0]), asked.files, asked.cores)))
        return
    said = {"files": asked.files, "cores": asked.cores, "load": round(os.getloadavg()[0], 1)}
    print(json.dumps(said | {"rows": [measure(model, asked) for model in asked.models]}, indent=2))


if __name__ == "__main__":
    main()
