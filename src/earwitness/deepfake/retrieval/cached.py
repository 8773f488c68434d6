"""What the classifier of RAD learns from: short features that were computed once, of queries and of their neighbours.

A neighbour's features stay in the database; what is kept of it is its place. In a `Batch`, `waveforms` are features
[B, 1 + K, L, T, F], the query first, and `lengths` [B] are how many neighbours each query has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.corpora.batch import Batch, Targets
from earwitness.deepfake.retrieval.database import Database
from earwitness.deepfake.retrieval.guard import Identity
from earwitness.deepfake.retrieval.hearing import Halves
from earwitness.deepfake.retrieval.searching import Nearest

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Queries:
    """R labelled recordings, one segment each: `embeddings` [R, L, F], `shorts` [R, L, T, F], `labels` [R] (1 bona
    fide, 0 spoof), and who they are."""

    embeddings: Halves
    shorts: Halves
    labels: NDArray[np.int64]
    asking: tuple[Identity, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def taken(self, places: Places) -> Queries:
        """A part of them."""
        asking = tuple(self.asking[place] for place in places)
        return Queries(self.embeddings[places], self.shorts[places], self.labels[places], asking)


@dataclass(frozen=True)
class CachedRows:
    """Queries with their neighbours; without a database, without neighbours (K = 0)."""

    queries: Queries
    database: Database | None = None
    nearest: Nearest | None = None
    counts: Places | None = None
    excluded: int = 0  # segments that the guard kept from their own recordings, over all queries

    @classmethod
    def retrieved(cls, queries: Queries, database: Database, k: int, *, guard: bool = True) -> CachedRows:
        """Each query's k nearest; k = 0 retrieves nothing. Raises what `Database.retrieve` raises."""
        if k == 0:
            return cls(queries)
        found = database.retrieve(queries.embeddings, queries.asking, k, guard=guard)
        width = int(found.counts.max(initial=1))
        nearest = Nearest(found.nearest.rows[..., :width], found.nearest.similarities[..., :width])
        return cls(queries, database, nearest, found.counts, sum(map(len, found.excluded)))

    def __len__(self) -> int:
        return len(self.queries)

    def batch(self, places: Places) -> Batch:
        """Some of the rows."""
        own = self.queries.shorts[places][:, None]
        counts = np.zeros(len(places), np.int64)
        if self.database is not None and self.nearest is not None and self.counts is not None:
            part = Nearest(self.nearest.rows[places], self.nearest.similarities[places])
            own = np.concatenate([own, self.database.features_of(part)], axis=1)
            counts = self.counts[places]
        values, labels = torch.from_numpy(own.astype(np.float32)), torch.from_numpy(self.queries.labels[places])
        ids = tuple(self.queries.asking[place].id or str(place) for place in places)
        return Batch(values, torch.from_numpy(counts), Targets(labels), ids)


@dataclass(frozen=True)
class EpochsOf:
    """`TrainData`: every row once an epoch, in an order drawn by (seed, epoch)."""

    rows: CachedRows
    batch_size: int
    seed: int

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return -(-len(self.rows) // self.batch_size)

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places of the epoch's order."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.rows))
        for place in places:
            yield self.rows.batch(order[place * self.batch_size :][: self.batch_size])


@dataclass(frozen=True)
class InOrder:
    """Every row once, the same each time: dev data for `fit`."""

    rows: CachedRows
    batch_size: int = 64

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.rows), self.batch_size):
            yield self.rows.batch(np.arange(start, min(start + self.batch_size, len(self.rows))))
