"""The segments of an index, and the nearest of them: the retrieval of RAD (arXiv 2404.13892, section on retrieval)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import DataError, UsageError
from earwitness.deepfake.retrieval.guard import NOTHING, Excluded, Guard, Identity
from earwitness.deepfake.retrieval.hearing import Halves
from earwitness.deepfake.retrieval.recipe import Similarity
from earwitness.deepfake.retrieval.searching import NONE, Nearest, Rows, Searcher
from earwitness.deepfake.retrieval.store import Origin, read_features, read_info, read_origins


@dataclass(frozen=True)
class Retrieved:
    """The neighbours of Q queries, and for each query the segments that the guard excluded."""

    nearest: Nearest
    excluded: tuple[Excluded, ...]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many ranks are filled in every layer [Q]."""
        counts: NDArray[np.int64] = (self.nearest.rows != NONE).all(axis=1).sum(axis=1)
        return counts


@dataclass(frozen=True)
class Database:
    """Genuine speech: `embeddings` [N, L, F] and `shorts` [N, L, T, F], float16 and maybe on disk; `origins` [N]."""

    embeddings: Halves
    shorts: Halves
    origins: tuple[Origin, ...]
    similarity: Similarity = "cosine"
    approximate: bool = False
    where: str = "the database"

    @classmethod
    def open(cls, folder: str | Path) -> Database:
        """An index folder; the short features stay on disk. Raises `DataError`."""
        info = read_info(folder)
        origins = read_origins(folder, info.recipe)
        embeddings, shorts = read_features(folder, info.recipe, len(origins))
        return cls(embeddings, shorts, origins, info.recipe.similarity, info.approximate, str(folder))

    def __len__(self) -> int:
        return len(self.origins)

    @cached_property
    def searcher(self) -> Searcher:
        """Made when first asked."""
        return Searcher(self.embeddings, self.similarity, approximate=self.approximate)

    @cached_property
    def guard(self) -> Guard:
        """Made when first asked."""
        return Guard(self.origins)

    def taken(self, rows: Sequence[int] | Rows) -> Database:
        """A part of it, e.g. without the speakers of a test."""
        places = np.asarray(rows, np.int64)
        origins = tuple(self.origins[place] for place in places)
        return Database(
            self.embeddings[places], self.shorts[places], origins, self.similarity, self.approximate, self.where
        )

    def without_speakers(self, speakers: set[str]) -> Database:
        """The part that none of these speakers speaks in."""
        return self.taken([n for n, origin in enumerate(self.origins) if origin.speaker not in speakers])

    def retrieve(self, queries: Halves, asking: Sequence[Identity], k: int, *, guard: bool = True) -> Retrieved:
        """The k nearest to each of [Q, L, F] in every layer, `asking` [Q] left out of their own neighbours.

        Where the database holds fewer than k segments, all of them are neighbours. Raises `DataError` for a database
        that holds none, or none but the asking recording's own, and `UsageError` for k below 1.
        """
        if k < 1:
            raise UsageError(f"{k} neighbours cannot be retrieved", fix="Ask for 1 or more.")
        if not len(self):
            raise DataError("holds no segment", where=self.where, fix="Add recordings with `earwitness index build`.")
        known = {identity: self.guard.excluded(identity) if guard else NOTHING for identity in set(asking)}
        excluded = tuple(known[identity] for identity in asking)
        own = max(map(len, excluded), default=0)
        if own == len(self):
            what = "holds nothing but the asking recording itself"
            raise DataError(what, where=self.where, fix="Add other recordings.")
        wide = self.searcher.nearest(queries, min(len(self), k + own))
        return Retrieved(_kept(wide, excluded, k), excluded)

    def features_of(self, nearest: Nearest) -> Halves:
        """Short features of neighbours [Q, L, K]: [Q, K, L, T, F], stacked by rank; zeros where there is none."""
        rows = nearest.rows.transpose(0, 2, 1)  # [Q, K, L]
        layers = np.arange(rows.shape[2])
        found = np.asarray(self.shorts[np.maximum(rows, 0), layers])
        found[rows == NONE] = 0
        return found


def _kept(wide: Nearest, excluded: Sequence[Excluded], k: int) -> Nearest:
    """The first k of each query and layer that are not excluded, in order."""
    queries, layers, _ = wide.rows.shape
    rows = np.full((queries, layers, k), NONE, np.int64)
    similarities = np.full((queries, layers, k), -np.inf, np.float32)
    for query in range(queries):
        allowed = (wide.rows[query] != NONE) & ~np.isin(wide.rows[query], excluded[query].rows)
        for layer in range(layers):
            places = np.flatnonzero(allowed[layer])[:k]
            rows[query, layer, : len(places)] = wide.rows[query, layer, places]
            similarities[query, layer, : len(places)] = wide.similarities[query, layer, places]
    return Nearest(rows, similarities)
