"""The recordings that claims about classes of sound are tried on: spoken digits of a few speakers, split by speaker.

Six speakers say ten digits five times each (Free Spoken Digit Dataset). They are in three folds of two; a seed tests
one and learns from the others. There is no dev side: nothing is chosen, the last weights are tested, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.claims.material import Places
from earwitness.core.errors import DataError, MetricError
from earwitness.core.hashing import sha256_data
from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import exclude_licences
from earwitness.corpora.splits.grouping import draw
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.scores import Floats
from earwitness.training.sound_classes import with_class

DIGITS, OTHER = "fsdd", "emodb"
FOLDS = 3
MOST_OTHER = 200  # as many as a teacher learns from


@dataclass(frozen=True)
class DigitMaterial:
    """`rows` with the digit in the column `sound`, `other` recordings without any digits, the sha256 of the audio of
    both, one after the other, and the manifest that they come from."""

    rows: Manifest
    other: Manifest
    hashes: tuple[str, ...]
    source: str

    @classmethod
    def read(cls, manifest: str | Path, folder: str | Path) -> DigitMaterial:
        """From a manifest in the form of `corpus import`; nothing is kept in `folder`. Raises `DataError` where it
        lacks one of both corpora, or there are fewer speakers than folds."""
        table = exclude_licences(Manifest.read(manifest))
        rows = table.filter(pl.col("corpus") == DIGITS, pl.col("speaker").is_not_null())
        other = _some(table.filter(pl.col("corpus") == OTHER))
        if rows.table["speaker"].n_unique() < FOLDS or not len(other):
            raise DataError(f"has no {FOLDS} speakers of '{DIGITS}', or nothing of '{OTHER}'", where=manifest)
        hashes = (*audio_hashes(rows), *audio_hashes(other))
        return cls(with_class(rows, "transcript"), other, hashes, str(manifest))

    @property
    def key(self) -> str:
        """Of ids, audio and the rule of the folds."""
        return sha256_data([list(self.hashes), self.rows.table["id"].to_list(), self.settings])

    @property
    def inputs(self) -> dict[str, str]:
        """The tables and the audio."""
        return {"rows": self.rows.sha256, "other": self.other.sha256, "audio": self.key}

    @property
    def settings(self) -> dict[str, Any]:
        """The corpora and the folds."""
        return {"digits": DIGITS, "other": OTHER, "folds": FOLDS}

    @property
    def licences(self) -> list[str]:
        """Of all rows, sorted."""
        return sorted({*self.rows.table["licence"].drop_nulls(), *self.other.table["licence"].drop_nulls()})

    @cached_property
    def fold(self) -> NDArray[np.int64]:
        """Of each row: speakers go round the folds in an order drawn by hash."""
        names = sorted(set(self.rows.table["speaker"]), key=lambda name: draw(0, name))
        of = {name: place % FOLDS for place, name in enumerate(names)}
        return np.array([of[name] for name in self.rows.table["speaker"]])

    def test(self, seed: int) -> Places:
        """The rows that a seed (from 1) tests; seeds that differ by `FOLDS` share them."""
        return np.flatnonzero(self.fold == (seed - 1) % FOLDS)

    def train(self, seed: int) -> Places:
        """All others."""
        return np.flatnonzero(self.fold != (seed - 1) % FOLDS)

    def part(self, places: Places) -> Manifest:
        """Some of the rows."""
        return self.rows.with_table(self.rows.table[places])

    def tested(self, seeds: Sequence[int]) -> TestedDigits:
        """The test rows of these seeds."""
        return TestedDigits.of(self, [self.test(seed) for seed in seeds])


@dataclass(frozen=True)
class TestedDigits:
    """`Tested`: the test rows of each seed, judged by how many are named wrongly; units are their speakers."""

    rows: tuple[Places, ...]
    units: Units  # of the rows of all seeds, one after the other
    words: str
    measure: str = "error"
    definition: str = "share of test recordings that are named wrongly, in per cent; mean over seeds"

    @classmethod
    def of(cls, material: DigitMaterial, rows: Sequence[Places]) -> TestedDigits:
        """Of a seed's rows each."""
        every = np.concatenate(rows)
        units = Units.of(material.rows.table["speaker"].to_numpy().astype(str)[every], "speaker")
        words = f"{len(np.unique(every))} spoken digits of {units.count} speakers"
        return cls(tuple(rows), units, words)

    def count(self, place: int) -> int:
        """Rows of the seed at this place."""
        return len(self.rows[place])

    def error(self, place: int, scores: Floats) -> Callable[[Floats], float]:
        """In per cent, of scores [N] that are 1 where a row was named rightly, else 0."""
        start = sum(len(found) for found in self.rows[:place])
        units = self.units.take(np.arange(start, start + len(scores)))

        def rate(counts: Floats) -> float:
            weights = units.weights(counts)
            if not weights.sum() > 0:
                raise MetricError("no speaker of this seed was drawn", where="resample")
            return float(100 * (weights * (1 - scores)).sum() / weights.sum())

        return rate


def _some(rows: Manifest) -> Manifest:
    """At most `MOST_OTHER` rows, drawn by hash."""
    order = pl.Series([draw(0, name) for name in rows.table["id"]], dtype=pl.Float64)
    return rows.with_table(rows.table.with_columns(_order=order).sort("_order", "id").head(MOST_OTHER).drop("_order"))
