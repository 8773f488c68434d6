"""`qa condense` beside real time: the default recognisers on the recordings of samples/, over and over, one process.

    python benchmarks/condense_speed.py [--minutes 2] [--threads 1]

Times real time are in processor time, which other work on the machine weighs on less than on the clock: of the whole,
and of its parts by themselves. Words are not made: the recogniser of words is the user's choice. Target: 50 times real
time on two cores, so 25 on one.
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
import soundfile as sf
import torch

from earwitness.audio import load
from earwitness.audio.reading import RATE
from earwitness.audio.speech import speech_segments
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.recognising import open_recognisers
from earwitness.speech_llm.cpqa.condensing import CondenseConfig, condense
from earwitness.speech_llm.cpqa.hearing import Recognisers

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
TARGET = 25


def sound(minutes: float) -> np.ndarray:
    """The samples of samples/ one after the other, again and again."""
    parts = [load(path).samples for path in sorted(SAMPLES.glob("*.flac"))]
    return np.resize(np.concatenate(parts), round(minutes * 60 * RATE))


def parts(samples: np.ndarray, who: Recognisers) -> list[dict[str, object]]:
    """Each part of the work on the same sound: how many times faster than real time, in processor time."""
    short = samples[: 32 * RATE]
    windows = np.stack([short[start * RATE :][: 4 * RATE] for start in range(0, 29, 2)])
    ways: dict[str, Callable[[], object]] = {
        "speech": lambda: speech_segments(short, RATE),
        "emotion, windows of 4 s every 2 s": lambda: who.categorical[0].probabilities(windows),
        "gender of 10 s": lambda: who.gender.gender(short),
    }
    rows = []
    for name, way in ways.items():
        way()
        began = time.process_time()
        way()
        heard = 10.0 if "10 s" in name else 32.0
        rows.append({"name": name, "times_real_time": round(heard / (time.process_time() - began), 1)})
    return rows


def measure(minutes: float, threads: int) -> dict[str, object]:
    """The whole, and its parts."""
    torch.set_num_threads(threads)
    who = open_recognisers()
    samples = sound(minutes)
    found = parts(samples, who)
    with tempfile.TemporaryDirectory() as folder:
        sf.write(Path(folder) / "long.flac", samples, RATE)
        manifest = Manifest(pl.DataFrame({"path": ["long.flac"]}), Path(folder))
        wall, processor = time.perf_counter(), time.process_time()
        outcome = condense(manifest, CondenseConfig(), who, Path(folder) / "out")
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {
        "minutes": minutes,
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),
        "windows": len(outcome.windows),
        "seconds_wall": round(wall, 1),
        "times_real_time": round(60 * minutes / processor, 1),
        "target": TARGET,
        "parts": found,
    }


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(measure(options.minutes, options.threads), indent=2))


if __name__ == "__main__":
    main()
