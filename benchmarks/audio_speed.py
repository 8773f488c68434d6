"""How many times faster than real time recordings become features, on one core and without a model.

    python benchmarks/audio_speed.py [--repeats 20]

The recordings of samples/ are decoded, resampled to 16 kHz and turned into Kaldi's filterbank. Times are processor time
of one thread, the median over the repeats, so that other work on the machine weighs little. Target: >= 500 for all
three steps together.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from earwitness.audio import load, probe
from earwitness.nn.frontends import FbankConfig

SAMPLES = sorted((Path(__file__).resolve().parent.parent / "samples").glob("*.flac"))
RATE = 16_000


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Processor time of one call; a first call that is not counted warms everything up."""
    work()
    costs = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        costs.append(time.process_time() - start)
    return float(np.median(costs))


def decode() -> None:
    """Every recording at its own rate."""
    for path in SAMPLES:
        load(path, probe(path).rate)


def decode_and_resample() -> None:
    """Every recording at 16 kHz."""
    for path in SAMPLES:
        load(path, RATE)


@torch.inference_mode()
def decode_resample_and_filter(frontend: torch.nn.Module) -> None:
    """Every recording as 80 log mel energies, 100 times a second."""
    for path in SAMPLES:
        frontend(torch.from_numpy(load(path, RATE).samples)[None])


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description="Decode, resample and filterbank against real time.")
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    frontend = FbankConfig().build()
    seconds = sum(probe(path).duration_s or 0.0 for path in SAMPLES)
    steps = {
        "decode": decode,
        "decode + resample": decode_and_resample,
        "decode + resample + fbank": lambda: decode_resample_and_filter(frontend),
    }
    costs = {name: median_seconds(work, repeats) for name, work in steps.items()}
    rows = [
        {"step": name, "ms": 1000 * cost, "times_faster_than_real_time": seconds / cost} for name, cost in costs.items()
    ]
    print(json.dumps({"recordings": len(SAMPLES), "audio_s": seconds, "repeats": repeats, "steps": rows}, indent=2))


if __name__ == "__main__":
    main()
