"""`score` beside a file-by-file loop and beside the model alone: the same detector, the same recordings, one run.

    python benchmarks/score_speed.py [--model NAME|FOLDER] [--files 60] [--repeats 3] [--cores N]

- loop: each file is read whole, and its windows go through the network one by one, by all of torch's threads;
- forward: windows that already lie in memory go through the detector, nothing is read or written, by as many threads as
  `score` has, on one core each, or by all of torch's threads, whichever takes less;
- score: `earwitness score`'s own function, from files to a table on disk.

Wall-clock times, all in turn within each repeat, medians. The recordings of samples/ are used over and over.
Without `--model` the shipped `deepfake-small` is taken, or, where there is none, an untrained network of its kind.
Targets: score >= 90 % of forward's speed, >= 2 times the loop's, >= 50 times real time on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch

from earwitness.audio import Sliding, Window, cut, load, probe
from earwitness.core.engines import LocalEngine
from earwitness.core.engines.local import MOST_THREADS, each_at_once, usable_cores
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.detector import Detector
from earwitness.evaluation.scoring.scorers import score_detection
from earwitness.nn.encoders import ResNetConfig
from earwitness.nn.frontends import LogMelConfig
from earwitness.nn.network import BranchConfig, NetworkConfig
from earwitness.training.model_folder import ModelInfo
from earwitness.training.shipped import find_model, shipped_models

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
PREFERRED = "deepfake-small"


def chosen_detector(name: str | None) -> Detector:
    """The named model, else the preferred shipped one, else an untrained network."""
    if name is None and PREFERRED not in shipped_models():
        return untrained()
    return Detector.load(find_model(name or PREFERRED))


def untrained() -> Detector:
    """Log-mel and a small residual network, 4 s windows."""
    torch.manual_seed(0)
    network = NetworkConfig(branches=[BranchConfig(frontend=LogMelConfig(), encoder=ResNetConfig())], outputs=2)
    info = ModelInfo(
        name="untrained",
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


def measure(detector: Detector, files: int, repeats: int, cores: int) -> dict[str, object]:
    """Costs and ratios; fails where the ways do not give the same scores."""
    at_once = min(cores, MOST_THREADS)
    each = cores // at_once
    manifest = recordings(files)
    paths = [manifest.resolve(row) for row in manifest.rows()]
    prepared = [windows_of(detector, path) for path in paths]
    audio_s = sum(probe(path).duration_s or 0.0 for path in paths)
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], list[float]]] = {
            "loop": lambda: on_threads(cores, lambda: loop(detector, paths)),
            "loop_on_one_thread": lambda: on_threads(1, lambda: loop(detector, paths)),
            "forward_by_torch_threads": lambda: on_threads(cores, lambda: forward(detector, prepared, 1)),
            "forward_at_once": lambda: on_threads(each, lambda: forward(detector, prepared, at_once)),
            "score": lambda: on_threads(each, lambda: through_score(detector, manifest, Path(folder), at_once)),
        }
        costs: dict[str, list[float]] = {name: [] for name in ways}
        expected = np.array(ways["loop"]())
        difference = 0.0
        for _ in range(repeats):
            for name, way in ways.items():
                start = time.perf_counter()
                scores = way()
                costs[name].append(time.perf_counter() - start)
                difference = max(difference, float(np.abs(np.array(scores, float) - expected).max()))
    if not difference < 1e-3:
        raise SystemExit(f"the ways differ by {difference:.1e}")
    seconds = {name: float(np.median(values)) for name, values in costs.items()}
    forward_s = min(seconds["forward_by_torch_threads"], seconds["forward_at_once"])
    return {
        "model": detector.info.name,
        "files": files,
        "audio_s": audio_s,
        "cores": cores,
        "load": round(os.getloadavg()[0], 1),
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
    parser.add_argument("--model")
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=usable_cores())
    asked = parser.parse_args()
    print(json.dumps(measure(chosen_detector(asked.model), asked.files, asked.repeats, asked.cores), indent=2))


if __name__ == "__main__":
    main()
