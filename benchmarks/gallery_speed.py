"""How long a gallery of known voices takes to answer: `python benchmarks/gallery_speed.py`.

A gallery of made-up voices (256 values, AS-norm against 438 others, the nearest 100 count, as of the shipped model) is
asked for one voice at a time: scores with every name, ratios with intervals under the conditions of each, their mean,
and the order of all names. Beside it, in turn on one thread:

    loop            the model's own comparison, a name at a time (timed on a few names and scaled)
    faiss, exact    `IndexFlatIP` over the unit vectors: the ten highest cosines alone, without AS-norm and ratios

Target: an answer in 50 ms or less with 100,000 names. faiss is the floor of what a search takes; it cannot give the
answer, which needs the ratio of every name and ranks by AS-norm. All times are wall clock, medians.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np

from earwitness.speaker.comparison import Cohort, Comparator, unit
from earwitness.speaker.gallery import Gallery, KnownVoice
from earwitness.training.calibration import Calibration, ConditionCalibration

DIM, COHORT, TOP, TARGET_MS = 256, 438, 100, 50.0


def condition(name: Any, scale: float, seed: int) -> ConditionCalibration:
    rng = np.random.default_rng(seed)
    spread = tuple((scale + 0.1 * a, -3 + 0.3 * b) for a, b in rng.standard_normal((200, 2)).tolist())
    known = {"scale": scale, "offset": -3.0, "low": -6.4, "high": 6.7, "spread": spread}
    return ConditionCalibration.model_validate({"condition": name, "positives": 1, "negatives": 1, **known})


def milliseconds(work: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median and longest of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times)), max(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--sample", type=int, default=200, help="names that the loop is timed on")
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((arguments.names, DIM)).astype(np.float32))
    comparator = Comparator(Cohort(unit(rng.standard_normal((COHORT, DIM)).astype(np.float32)), top=TOP))
    conditions = (condition("clean", 1.0, 1), condition("short", 0.9, 2), condition("noisy", 0.8, 3))
    calibration = Calibration(fitted_on="nothing", conditions=conditions)
    sets: tuple[Any, ...] = ((), ("short",), ("noisy",))
    start = time.perf_counter()
    voices = [KnownVoice(str(n), vectors[n : n + 1], sets[n % 3]) for n in range(arguments.names)]
    gallery = Gallery(voices, comparator)
    build_s = time.perf_counter() - start
    test = unit((vectors[123] + 0.05 * rng.standard_normal(DIM)).astype(np.float32)[None])[0]
    found = gallery.candidates(test, calibration)
    index = faiss.IndexFlatIP(DIM)
    index.add(vectors)
    few = vectors[: arguments.sample]

    def loop() -> None:
        for vector in few:
            comparator.pairs(vector[None], test[None])

    ours, longest = milliseconds(lambda: gallery.candidates(test, calibration), arguments.repeats)
    floor, _ = milliseconds(lambda: index.search(test[None], 10), arguments.repeats)
    single, _ = milliseconds(loop, 3)
    by_loop = single * arguments.names / len(few)
    exact = comparator.pairs(few, np.broadcast_to(test, few.shape))
    result = {
        "names": arguments.names,
        "width": DIM,
        "answer_ms": ours,
        "longest_ms": longest,
        "target_ms": TARGET_MS,
        "target_met": ours <= TARGET_MS,
        "found": gallery.voices[int(found.order[0])].name == "123",
        "largest_difference_to_single_comparisons": float(np.abs(found.scores[: len(few)] - exact).max()),
        "build_s": build_s,
        "memory_mb": vectors.nbytes / 1e6,
        "ways": [
            {"name": "loop over names", "ms": by_loop, "times_faster": by_loop / ours},
            {"name": "faiss, exact, cosines alone", "ms": floor, "times_faster": floor / ours},
        ],
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
