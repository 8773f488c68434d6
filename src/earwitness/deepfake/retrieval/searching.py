"""A faiss index a layer: exact, or approximate with its recall against exact search stated.

Cosine is the inner product of unit vectors; the similarity of squared Euclidean distance is its negative. Everything is
made in memory from the stored embeddings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.deepfake.retrieval.recipe import Similarity

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

PROBED = 0.02  # of the cells that an approximate search visits, and at least 8
PER_CELL = 64  # segments that the cells' centres are learnt from, each
PRODUCTS_FROM = 20  # queries that are compared by one matrix product: releases of faiss differ, and some never do
NONE = -1  # where there are fewer neighbours than were asked for


@dataclass(frozen=True)
class Nearest:
    """Of Q queries and L layers: `rows` [Q, L, K] of the database, most similar first, and their `similarities`."""

    rows: Rows
    similarities: Floats


class Searcher:
    """Embeddings [N, L, F] that queries are compared with, each layer for itself."""

    def __init__(self, embeddings: NDArray[Any], similarity: Similarity, *, approximate: bool = False) -> None:
        self.similarity = similarity
        self._layers = [
            _index(prepared(embeddings[:, layer], similarity), similarity, approximate)
            for layer in range(embeddings.shape[1])
        ]

    def nearest(self, queries: NDArray[Any], k: int) -> Nearest:
        """The k most similar to each of [Q, L, F]; `NONE` where there are fewer."""
        found = [
            index.search(prepared(queries[:, layer], self.similarity), k) for layer, index in enumerate(self._layers)
        ]
        sign = 1.0 if self.similarity == "cosine" else -1.0
        similarities = sign * np.stack([values for values, _ in found], axis=1)
        return Nearest(np.stack([rows for _, rows in found], axis=1), similarities.astype(np.float32))


def prepared(vectors: NDArray[Any], similarity: Similarity) -> Floats:
    """[n, F] float32 as they are compared: of unit length for the cosine (a zero vector stays zero)."""
    plain = np.ascontiguousarray(vectors, np.float32)
    if similarity == "euclidean":
        return plain
    lengths: Floats = np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), np.float32(1e-12))
    return plain / lengths


def recall(embeddings: NDArray[Any], similarity: Similarity, k: int = 10, queries: int = 200) -> list[float]:
    """Layer by layer, the share of the exact k nearest that approximate search finds, for segments drawn from the
    database (each is among its own neighbours, in both)."""
    chosen = np.random.default_rng(0).permutation(len(embeddings))[:queries]
    asked = np.asarray(embeddings[np.sort(chosen)])
    exact = Searcher(embeddings, similarity).nearest(asked, k).rows
    found = Searcher(embeddings, similarity, approximate=True).nearest(asked, k).rows
    return share_found(exact, found)


def share_found(exact: Rows, found: Rows) -> list[float]:
    """Of the exact neighbours [Q, L, K], how many are in `found`, layer by layer."""
    shares = []
    for layer in range(exact.shape[1]):
        pairs = zip(exact[:, layer], found[:, layer], strict=True)
        hits = sum(len(np.intersect1d(a[a != NONE], b)) for a, b in pairs)
        shares.append(hits / max(1, int((exact[:, layer] != NONE).sum())))
    return shares


def _index(vectors: Floats, similarity: Similarity, approximate: bool) -> Any:
    """A faiss index of [N, F]. An approximate one (inverted lists) has about 4 sqrt(N) cells."""
    import faiss

    faiss.cvar.distance_compute_blas_threshold = PRODUCTS_FROM
    count, width = vectors.shape
    flat = faiss.IndexFlatIP(width) if similarity == "cosine" else faiss.IndexFlatL2(width)
    index: Any = flat
    cells = min(round(4 * math.sqrt(count)), count // 8)
    if approximate and cells > 1:
        metric = faiss.METRIC_INNER_PRODUCT if similarity == "cosine" else faiss.METRIC_L2
        index = faiss.IndexIVFFlat(flat, width, cells, metric)
        index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = 1, 10, PER_CELL
        index.cp.min_points_per_centroid = 1
        index.nprobe = min(cells, max(8, math.ceil(PROBED * cells)))
        index.train(vectors)
    index.add(vectors)
    return index
