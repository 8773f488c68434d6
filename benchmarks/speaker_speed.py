"""Cosine trials with AS-norm beside a loop over trials, in one run: `python benchmarks/speaker_speed.py [--trials N]`.

The loop scores a trial at a time, as verification scripts of the field do: the cosine, both sides' cosines with the
cohort by a matrix-vector product, each side's K highest by one sort, mean and deviation. A second loop is kinder: it
keeps each recording's statistics once they are made. Both are timed on a sample of the trials and scaled (the kinder
one by trials and recordings). Processor time of one thread, the three in turn, so that other work on the machine weighs
on all alike. All give the same scores. Target: >= 50 times the loop over trials.

Then how fast the shipped models make a voice print of 10 s of noise, as a multiple of real time (one thread).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.speaker.comparison import Cohort, Comparator, Vectors, unit
from earwitness.speaker.embedder import Embedder
from earwitness.training.shipped import find_model

MODELS, SOUND_S = ("speaker", "speaker-small"), 10.0
Scores = NDArray[np.float64]
Index = NDArray[np.int64]
T = TypeVar("T")
DIM, SPEAKERS, TOP = 192, 1_000, 300


def made_up(recordings: int, trials: int) -> tuple[Vectors, Vectors, Index, Index]:
    """Unit embeddings of the recordings and of the cohort, and both sides of the trials."""
    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((recordings, DIM)).astype(np.float32))
    cohort = unit(rng.standard_normal((SPEAKERS, DIM)).astype(np.float32))
    enrol, test = rng.integers(0, recordings, (2, trials))
    return vectors, cohort, enrol, test


def side(vector: Vectors, cohort: Vectors) -> tuple[float, float]:
    """Mean and deviation of one recording's K highest cohort cosines."""
    nearest = np.sort(cohort @ vector)[-TOP:]
    return float(nearest.mean()), float(nearest.std()) + 1e-8


def normalised(cosine: float, enrol: tuple[float, float], test: tuple[float, float]) -> float:
    return 0.5 * ((cosine - enrol[0]) / enrol[1] + (cosine - test[0]) / test[1])


def by_loop(vectors: Vectors, cohort: Vectors, enrol: Index, test: Index) -> list[float]:
    """A trial at a time."""
    return [
        normalised(float(vectors[e] @ vectors[t]), side(vectors[e], cohort), side(vectors[t], cohort))
        for e, t in zip(enrol, test, strict=True)
    ]


def by_kinder_loop(vectors: Vectors, known: list[tuple[float, float]], enrol: Index, test: Index) -> list[float]:
    """A trial at a time, with statistics that are there already."""
    return [normalised(float(vectors[e] @ vectors[t]), known[e], known[t]) for e, t in zip(enrol, test, strict=True)]


def seconds(work: Callable[[], T]) -> tuple[float, T]:
    """Processor time of one call, and what it gave."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def voice_prints(repeats: int) -> list[dict[str, str | float]]:
    """Processor time of a voice print by each shipped model: the median, and how many times real time that is."""
    sound = 0.1 * np.random.default_rng(0).standard_normal(round(16_000 * SOUND_S)).astype(np.float32)
    rows: list[dict[str, str | float]] = []
    for name in MODELS:
        embedder = Embedder.load(find_model(name))
        embedder.embed(sound, 16_000)
        took = float(np.median([seconds(partial(embedder.embed, sound, 16_000))[0] for _ in range(repeats)]))
        row_name = f"voice print by {name}, beside real time"
        rows.append(
            {"name": row_name, "seconds": took, "real_time_factor": took / SOUND_S, "times_faster": SOUND_S / took}
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--recordings", type=int, default=20_000)
    parser.add_argument("--sample", type=int, default=4_000, help="trials that the loops are timed on")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    vectors, cohort, enrol, test = made_up(arguments.recordings, arguments.trials)
    comparator = Comparator(Cohort(cohort, TOP))
    few_e, few_t = enrol[: arguments.sample], test[: arguments.sample]
    heard = vectors[: arguments.sample]
    trials_scale, recordings_scale = len(enrol) / len(few_e), len(vectors) / len(heard)
    times: dict[str, list[float]] = {"ours": [], "loop": [], "kinder": []}
    off = 0.0
    for _ in range(arguments.repeats):
        ours, scores = seconds(partial(comparator.trials, vectors, enrol, test))
        loop, slow = seconds(partial(by_loop, vectors, cohort, few_e, few_t))
        statistics, known = seconds(lambda: [side(vector, cohort) for vector in heard])
        kinder, _ = seconds(partial(by_kinder_loop, heard, known, few_e % len(heard), few_t % len(heard)))
        off = max(off, float(np.abs(scores[: len(few_e)] - np.array(slow)).max()))
        times["ours"].append(ours)
        times["loop"].append(loop * trials_scale)
        times["kinder"].append(statistics * recordings_scale + kinder * trials_scale)
    median = {name: float(np.median(values)) for name, values in times.items()}
    rows = [
        {
            "name": name,
            "loop_s": median[which],
            "ours_s": median["ours"],
            "times_faster": median[which] / median["ours"],
        }
        for name, which in (("loop over trials", "loop"), ("loop with statistics kept", "kinder"))
    ]
    what = {"trials": arguments.trials, "recordings": arguments.recordings, "dim": DIM, "cohort": SPEAKERS, "top": TOP}
    prints = voice_prints(arguments.repeats)
    print(json.dumps(what | {"as_norm": rows, "largest_difference": off, "voice_prints": prints}, indent=2))


if __name__ == "__main__":
    main()
