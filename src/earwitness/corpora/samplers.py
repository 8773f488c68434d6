"""The order of batches: a function of (seed, epoch), so that a resumed run goes on where the other stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch.utils.data import Sampler

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest

Indices = NDArray[np.int64]


class BatchOrder(Sampler[list[int]], ABC):
    """Base of the orders: for `DataLoader(batch_sampler=...)`."""

    def __init__(self, batch_size: int, seed: int) -> None:
        if batch_size < 1:
            raise DataError(f"a batch of {batch_size} rows cannot be made", fix="Choose a batch size of 1 or more.")
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Go to an epoch; a resumed run leaves out its first `start` batches."""
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[list[int]]:
        yield from self.batches(self.epoch)[self.start :]

    def __len__(self) -> int:
        """Batches that this epoch still has."""
        return max(0, self.count - self.start)

    @property
    @abstractmethod
    def count(self) -> int:
        """Batches of a whole epoch; every epoch has as many."""

    @abstractmethod
    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch, row indices each."""

    def _rng(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch])

    def _batches_of(self, rows: int) -> int:
        """How many batches `_cut` makes of so many rows."""
        return max(1, rows // self.batch_size) if rows % self.batch_size == 1 else -(-rows // self.batch_size)

    def _cut(self, order: Indices) -> list[list[int]]:
        """A single last row joins the batch before it: batch-norm cannot learn from one row."""
        starts = [i * self.batch_size for i in range(self._batches_of(len(order)))]
        return [order[i:j].tolist() for i, j in zip(starts, [*starts[1:], len(order)], strict=True)]


class LengthBucketSampler(BatchOrder):
    """Each row once an epoch, in batches of similar length, the batches in random order.

    Lengths are jittered by up to `jitter` (relative) before sorting, so that batches differ between epochs.
    """

    def __init__(self, durations_s: Sequence[float], batch_size: int, seed: int = 0, jitter: float = 0.1) -> None:
        super().__init__(batch_size, seed)
        self.durations_s = np.asarray(durations_s, dtype=np.float64)
        self.jitter = jitter

    @property
    def count(self) -> int:
        """Batches of a whole epoch."""
        return self._batches_of(len(self.durations_s))

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch."""
        rng = self._rng(epoch)
        blurred = self.durations_s * rng.uniform(1 - self.jitter, 1 + self.jitter, len(self.durations_s))
        found = self._cut(np.argsort(blurred, kind="stable"))
        return [found[i] for i in rng.permutation(len(found))]


class BalancedSampler(BatchOrder):
    """Rows drawn so that the values of a column come equally often: of several columns each within the one before.

    `BalancedSampler(manifest, ("label", "corpus"), 32)` gives half bona fide and half spoof, and within either every
    corpus alike. A cell's rows come in random order, each once before any comes again. An epoch has `size` draws (by
    default the number of rows). Null counts as a value.
    """

    def __init__(
        self, manifest: Manifest, columns: Sequence[str], batch_size: int, seed: int = 0, size: int | None = None
    ) -> None:
        super().__init__(batch_size, seed)
        missing = [name for name in columns if name not in manifest.table.columns]
        if missing or not columns or not len(manifest):
            what = f"there is no column `{missing[0]}`" if missing else "there is nothing to balance"
            raise DataError(what, fix="Name columns of the manifest, and give it rows.")
        self.size = len(manifest) if size is None else size
        self.cells, self.weights = _cells(manifest.table, list(columns))

    @property
    def count(self) -> int:
        """Batches of a whole epoch."""
        return self._batches_of(self.size)

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch."""
        rng = self._rng(epoch)
        # systematic draw: each cell gets its share to within one row
        marks = (np.arange(self.size) + rng.random()) / self.size
        cell_of = np.minimum(np.searchsorted(np.cumsum(self.weights), marks, side="right"), len(self.cells) - 1)
        order = np.concatenate(
            [
                _rounds(rows, int(n), rng)
                for rows, n in zip(self.cells, np.bincount(cell_of, minlength=len(self.cells)), strict=True)
            ]
        )
        return self._cut(rng.permutation(order))


class MixedSampler(BalancedSampler):
    """Rows of several corpora: a corpus with probability ~ sqrt(rows), within it every class alike, then a row.

    `corpus` and `within` are columns of the manifest. Else as `BalancedSampler`.
    """

    def __init__(
        self,
        manifest: Manifest,
        batch_size: int,
        seed: int = 0,
        size: int | None = None,
        *,
        corpus: str = "corpus",
        within: str = "emotion",
    ) -> None:
        super().__init__(manifest, (corpus, within), batch_size, seed, size)
        names = manifest.table[corpus].to_list()
        of_cell = [names[rows[0]] for rows in self.cells]
        share = {name: np.sqrt(names.count(name)) * of_cell.count(name) ** -1.0 for name in set(names)}
        weights = np.array([share[name] for name in of_cell])
        self.weights = weights / weights.sum()


def _cells(table: pl.DataFrame, columns: list[str]) -> tuple[list[Indices], NDArray[np.float64]]:
    """The row indices of each combination of values, and its weight: equal parts at every level."""
    keyed = table.select(columns).with_row_index("_row").group_by(columns, maintain_order=True).agg("_row")
    weight = pl.lit(1.0)
    for depth, name in enumerate(columns):
        siblings = pl.struct(name).n_unique()
        weight = weight / (siblings.over(columns[:depth]) if depth else siblings)
    keyed = keyed.with_columns(_weight=weight)
    rows = [np.asarray(found, dtype=np.int64) for found in keyed["_row"].to_list()]
    return rows, keyed["_weight"].to_numpy()


def _rounds(rows: Indices, n: int, rng: np.random.Generator) -> Indices:
    """`n` of the rows: all in random order, then all again."""
    rounds = [rng.permutation(rows) for _ in range(-(-n // len(rows)))]
    return np.concatenate(rounds)[:n] if rounds else rows[:0]
