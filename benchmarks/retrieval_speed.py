"""Retrieval of genuine neighbours beside brute force in torch, in one run: `python benchmarks/retrieval_speed.py`.

A database of made-up segments (clusters, as voices are), four layers of 384 values as of Whisper tiny.en; ours searches
all layers for a batch of queries. Three ways of brute force give the same neighbours:

    loop, similarity anew   a query at a time, `cosine_similarity` with the whole layer, `topk`: the usual lines
    loop, unit vectors      a query at a time, one product with vectors that were brought to unit length before, `topk`
    batch                   all queries in one matrix product, `topk`: the best that torch does

Processor time of one thread, in turn, so that other work on the machine weighs on all alike; the two loops are timed on
a few queries and scaled. Target: exact search >= 5 times brute force a query at a time, at equal results. The matrix
product itself is what is left to be won against the batch. What the approximate search finds is printed beside its
time, and what an index takes on disk and in memory.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from earwitness.deepfake.retrieval.searching import Searcher, prepared, share_found

Halves = NDArray[np.float16]
Rows = NDArray[np.int64]
T = TypeVar("T")
LAYERS, WIDTH, FRAMES, K, VOICES = 4, 384, 20, 10, 2_000
TARGET = 5.0


def made_up(segments: int, queries: int) -> tuple[Halves, Halves]:
    """Embeddings [N, L, F] of the segments and [Q, L, F] of the queries, around the same voices."""
    rng = np.random.default_rng(0)
    voices = rng.standard_normal((VOICES, LAYERS, WIDTH), np.float32)

    def spoken(count: int) -> Halves:
        values = voices[rng.integers(0, VOICES, count)] + 0.7 * rng.standard_normal((count, LAYERS, WIDTH), np.float32)
        return values.astype(np.float16)

    return spoken(segments), spoken(queries)


def by_loop_anew(layers: list[torch.Tensor], queries: torch.Tensor) -> Rows:
    """A query and layer at a time; the similarity is computed from the vectors as they are."""
    rows = [
        [F.cosine_similarity(query[n][None], layer).topk(K).indices for n, layer in enumerate(layers)]
        for query in queries
    ]
    return np.array([[found.numpy() for found in of_query] for of_query in rows])


def by_loop(layers: list[torch.Tensor], queries: torch.Tensor) -> Rows:
    """A query and layer at a time, with unit vectors."""
    rows = [[(layer @ query[n]).topk(K).indices for n, layer in enumerate(layers)] for query in queries]
    return np.array([[found.numpy() for found in of_query] for of_query in rows])


def by_batch(layers: list[torch.Tensor], queries: torch.Tensor) -> Rows:
    """All queries at once, with unit vectors."""
    rows = [(queries[:, n] @ layer.T).topk(K).indices for n, layer in enumerate(layers)]
    return torch.stack(rows, dim=1).numpy()


def seconds(work: Callable[[], T]) -> tuple[float, T]:
    """Processor time of one call, and what it gave."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--sample", type=int, default=4, help="queries that the loops are timed on")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    embeddings, queries = made_up(arguments.segments, arguments.queries)
    build, exact = seconds(lambda: Searcher(embeddings, "cosine"))
    approximate_build, approximate = seconds(lambda: Searcher(embeddings, "cosine", approximate=True))
    units = [torch.from_numpy(prepared(embeddings[:, n], "cosine")) for n in range(LAYERS)]
    asked = torch.from_numpy(np.stack([prepared(queries[:, n], "cosine") for n in range(LAYERS)], axis=1))
    few = asked[: arguments.sample]
    scale = len(asked) / len(few)
    times: dict[str, list[float]] = {name: [] for name in ("ours", "approximate", "anew", "loop", "batch")}
    different = 0
    for _ in range(arguments.repeats):
        ours, found = seconds(partial(exact.nearest, queries, K))
        quick, some = seconds(partial(approximate.nearest, queries, K))
        batch, in_batch = seconds(partial(by_batch, units, asked))
        loop, one_by_one = seconds(partial(by_loop, units, few))
        anew, computed_anew = seconds(partial(by_loop_anew, units, few))
        for name, value in (("ours", ours), ("approximate", quick), ("batch", batch)):
            times[name].append(value)
        times["loop"].append(loop * scale)
        times["anew"].append(anew * scale)
        different = int((found.rows != in_batch).sum())
        first = found.rows[: len(few)]
        different += int((first != one_by_one).sum() + (first != computed_anew).sum())
    median = {name: float(np.median(values)) for name, values in times.items()}
    ways = (("loop, similarity anew", "anew"), ("loop, unit vectors", "loop"), ("batch", "batch"))
    rows = [
        {
            "name": name,
            "torch_ms_a_query": 1e3 * median[key] / len(asked),
            "ours_ms_a_query": 1e3 * median["ours"] / len(asked),
            "times_faster": median[key] / median["ours"],
        }
        for name, key in ways
    ]
    shares = share_found(found.rows, some.rows)
    result = {
        "segments": arguments.segments,
        "queries": arguments.queries,
        "layers": LAYERS,
        "width": WIDTH,
        "neighbours": K,
        "exact": rows,
        "neighbours_that_differ": different,
        "target_met_a_query_at_a_time": all(row["times_faster"] >= TARGET for row in rows[:2]),
        "build_s": build,
        "approximate_build_s": approximate_build,
        "approximate": {
            "name": "approximate beside our exact search",
            "ms_a_query": 1e3 * median["approximate"] / len(asked),
            "times_faster": median["ours"] / median["approximate"],
            "recall_by_layer": shares,
        },
        "memory_mb": 4 * embeddings.size / 1e6,
        "disk_mb": {"embeddings": embeddings.nbytes / 1e6, "short_features": FRAMES * embeddings.nbytes / 1e6},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
