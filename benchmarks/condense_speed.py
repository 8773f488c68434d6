"""`qa condense` beside real time: its recognisers on the recordings of samples/, over and over, one process.

    python benchmarks/condense_speed.py [--minutes 2] [--recogniser emotion-fast]

Times real time are in processor time of one thread, which other work on the machine weighs on less than on the clock:
of the whole, and of its parts by themselves. Then two recordings at once by the clock, which is worth something on a
machine with two idle cores alone. Words are not made: the recogniser of words is the user's choice. Target: 50 times
real time on two cores, so 25 on one.

`floor`: what the recogniser that is measured has to multiply for a second of sound, each window anew, and how much of
that the processor does in large matrix products. No way to write the same sums is faster; convolutions with fewer sums
(Winograd's) could be. Models of others have none.
"""

from __future__ import annotations

import argparse
import json
import math
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
from earwitness.evaluation.loading import load_emotions
from earwitness.evaluation.recognising import DEFAULT, OwnRecogniser, open_recognisers
from earwitness.nn.frontends.encoder import EncoderFrontend
from earwitness.nn.frontends.voice import VoicePrints
from earwitness.nn.macs import count_macs
from earwitness.paralinguistic.emotion import EmotionNetwork
from earwitness.speech_llm.cpqa.condensing import CondenseConfig, condense
from earwitness.speech_llm.cpqa.hearing import AT_ONCE, Recognisers

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
TARGET = 25  # in processor time of one thread
WINDOW_S, HOP_S = 4, 2
PART_S = 32  # of sound, for the parts by themselves


def sound(minutes: float, turn: int) -> np.ndarray:
    """The samples of samples/ one after the other, again and again, each time and in each turn a little softer: a voice
    print that was made is kept, and no window may come back."""
    once = np.concatenate([load(path).samples for path in sorted(SAMPLES.glob("*.flac"))])
    count = round(minutes * 60 * RATE)
    times = math.ceil(count / len(once))
    return np.concatenate([once * np.float32(0.999 ** (turn * times + k)) for k in range(times)])[:count]


def windows_of(samples: np.ndarray) -> np.ndarray:
    """Windows of 4 s every 2 s."""
    starts = range(0, len(samples) - WINDOW_S * RATE + 1, HOP_S * RATE)
    return np.stack([samples[start:][: WINDOW_S * RATE] for start in starts])


def parts(who: Recognisers) -> list[dict[str, object]]:
    """Each part of the work on the same sound: how many times faster than real time, in processor time."""

    def emotion(samples: np.ndarray) -> None:
        windows = windows_of(samples)
        for at in range(0, len(windows), AT_ONCE):
            who.categorical[0].probabilities(windows[at : at + AT_ONCE])

    ways: dict[str, Callable[[np.ndarray], object]] = {
        "speech": lambda samples: speech_segments(samples, RATE),
        "emotion, windows of 4 s every 2 s": emotion,
        "gender of 10 s": who.gender.gender,
    }
    warming, short = (sound(PART_S / 60, turn) for turn in (0, 1))
    rows = []
    for name, way in ways.items():
        way(warming)
        seconds = _processor_s(lambda way=way: way(short))  # type: ignore[misc]
        heard = 10.0 if "10 s" in name else PART_S
        rows.append({"name": name, "times_real_time": round(heard / seconds, 1)})
    return rows


def macs_of(network: EmotionNetwork) -> int:
    """Multiply-accumulates of one window in convolutions and linear layers, those of frozen front-ends among them."""
    window = torch.zeros(1, WINDOW_S * RATE)
    macs = count_macs(network, window)
    for frontend in (branch.frontend for branch in network.shared.branches):
        if isinstance(frontend, VoicePrints):  # frozen networks are no submodules: they are counted by themselves
            macs += count_macs(frontend._voice.network, frontend.middle(window), None, "embedding")
        elif isinstance(frontend, EncoderFrontend):
            macs += count_macs(frontend.speech_encoder, window, frontend.last)
    return macs


def floor(recogniser: str) -> dict[str, float]:
    """The multiply-accumulates of an emotion model of this package, beside a product of matrices."""
    macs = macs_of(load_emotions(recogniser).network)
    matrix = torch.randn(1024, 1024)
    best = min(_processor_s(lambda: matrix @ matrix) for _ in range(20))
    needed, rate = 2e-9 * macs / HOP_S, 2e-9 * 1024**3 / best
    return {
        "gflop_a_second_of_sound": round(needed, 2),
        "matrix_gflop_a_second": round(rate, 1),
        "emotion_times_real_time_at_most": round(rate / needed, 1),
    }


def _processor_s(do: Callable[[], object]) -> float:
    began = time.process_time()
    do()
    return time.process_time() - began


def heard(samples: np.ndarray, who: Recognisers, workers: int) -> tuple[int, float, float]:
    """Windows, seconds of the clock and of the processor, for the sound cut into as many recordings as `workers`."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{number}.flac" for number in range(workers)]
        for name, part in zip(names, np.array_split(samples, workers), strict=True):
            sf.write(Path(folder) / name, part, RATE)
        manifest = Manifest(pl.DataFrame({"path": names}), Path(folder))
        wall, processor = time.perf_counter(), time.process_time()
        outcome = condense(manifest, CondenseConfig(), who, Path(folder) / "out", workers=workers)
        return len(outcome.windows), time.perf_counter() - wall, time.process_time() - processor


def measure(minutes: float, recogniser: str) -> dict[str, object]:
    """The whole, its parts, and the least that it can take."""
    torch.set_num_threads(1)
    who = open_recognisers([recogniser])
    found = parts(who)
    windows, _, processor = heard(sound(minutes, 2), who, 1)
    _, wall, _ = heard(sound(minutes, 3), who, 2)
    return {
        "recogniser": recogniser,
        "minutes": minutes,
        "load": round(os.getloadavg()[0], 1),
        "windows": windows,
        "times_real_time": round(60 * minutes / processor, 1),
        "target": TARGET,
        "times_real_time_by_the_clock_of_two_workers": round(60 * minutes / wall, 1),
        "target_by_the_clock": 2 * TARGET,
        "parts": found,
        "floor": floor(recogniser) if isinstance(who.categorical[0], OwnRecogniser) else None,
    }


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--recogniser", default=DEFAULT)
    asked = parser.parse_args()
    print(json.dumps(measure(asked.minutes, asked.recogniser), indent=2))


if __name__ == "__main__":
    main()
