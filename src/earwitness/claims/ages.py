"""The recordings that claims about ages are tried on: human speech of speakers whose age is known, split by speaker.

Speakers are in `ROTATIONS` folds, spread over the ages alike. A seed tests one fold, chooses epochs on the next and
learns from the rest, of all its speakers or of some (`SETTINGS`); who is tested is the same in every setting.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.claims.kept import HeardFrames
from earwitness.claims.material import ROTATIONS, Places, Sides
from earwitness.claims.store import Halves
from earwitness.core.errors import DataError, MetricError
from earwitness.core.hashing import sha256_data
from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import exclude_licences
from earwitness.corpora.splits.grouping import draw
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.regression import mae
from earwitness.metrics.scores import Floats

CORPORA = ("speechocean762", "speechocean762_more")
"""One collection: 195 speakers of Mandarin reading English, 6 to 43 years old."""
BAND_YEARS = 5.0
SHARES = {"all": 1.0, "3of4": 3 / 4, "1of2": 1 / 2, "1of4": 1 / 4, "1of8": 1 / 8}
TAILED = "tailed"
SETTINGS = (*SHARES, TAILED)
"""Shares of the training speakers; and all of the commonest five years, half of the second, a quarter of the third, ...
(at least one speaker each)."""


@dataclass(frozen=True)
class AgeMaterial:
    """Rows with an age and a speaker, the sha256 of their audio, the manifest that they come from, and the folder in
    which features are kept."""

    rows: Manifest
    hashes: tuple[str, ...]
    source: str
    folder: Path

    @classmethod
    def read(cls, manifest: str | Path, folder: str | Path) -> AgeMaterial:
        """From a manifest in the form of `corpus import`. Raises `DataError` where `CORPORA` have fewer speakers of
        known age than there are folds."""
        known = pl.col("corpus").is_in(list(CORPORA)), pl.col("speaker").is_not_null(), pl.col("age").is_not_null()
        table = exclude_licences(Manifest.read(manifest)).table.filter(*known)
        if table["speaker"].n_unique() < ROTATIONS:
            fix = f"One of: {', '.join(CORPORA)}."
            raise DataError(f"has no {ROTATIONS} speakers of known age", where=manifest, fix=fix)
        rows = Manifest.read(manifest).with_table(table)
        return cls(rows, tuple(audio_hashes(rows)), str(manifest), Path(folder))

    @property
    def key(self) -> str:
        """Of ids, ages, audio and the rule of the folds."""
        return sha256_data([list(self.hashes), self.rows.table["id"].to_list(), self.ages.tolist(), self.settings])

    @property
    def inputs(self) -> dict[str, str]:
        """The table and the audio."""
        return {"rows": self.rows.sha256, "audio": self.key}

    @property
    def settings(self) -> dict[str, Any]:
        """Folds, and the shares of the training speakers."""
        return {"folds": ROTATIONS, "shares": dict(SHARES), "band_years": BAND_YEARS}

    @property
    def licences(self) -> list[str]:
        """Of all rows, sorted."""
        return sorted(set(self.rows.table["licence"].drop_nulls()))

    @cached_property
    def ages(self) -> Floats:
        """Of each row, years."""
        return self.rows.table["age"].to_numpy().astype(np.float64)

    @cached_property
    def speakers(self) -> NDArray[np.str_]:
        """Of each row."""
        return self.rows.table["speaker"].to_numpy().astype(str)

    @cached_property
    def age_of(self) -> dict[str, float]:
        """Of each speaker: that of the first row, where rows differ by a year."""
        found: dict[str, float] = {}
        for name, age in zip(self.speakers.tolist(), self.ages.tolist(), strict=True):
            found.setdefault(name, age)
        return found

    @cached_property
    def fold(self) -> NDArray[np.int64]:
        """Of each row: speakers go round the folds from the youngest on; of one age in an order drawn by hash."""
        names = sorted(self.age_of, key=lambda name: (self.age_of[name], draw(0, name)))
        of = {name: place % ROTATIONS for place, name in enumerate(names)}
        return np.array([of[name] for name in self.speakers])

    def sides(self, seed: int, setting: str = "all") -> Sides:
        """Of the rotation of a seed (from 1); seeds that differ by `ROTATIONS` share it."""
        tested = (seed - 1) % ROTATIONS
        chosen = (tested + 1) % ROTATIONS
        learnt = np.flatnonzero((self.fold != tested) & (self.fold != chosen))
        kept = self._kept(sorted(set(self.speakers[learnt].tolist())), setting)
        train = learnt[np.isin(self.speakers[learnt], list(kept))]
        return Sides(train, np.flatnonzero(self.fold == chosen), np.flatnonzero(self.fold == tested))

    def _kept(self, speakers: Sequence[str], setting: str) -> set[str]:
        """Whom a setting learns from; a smaller share is part of a larger one. Raises `DataError` for an unknown."""
        if setting not in SETTINGS:
            raise DataError(f"there is no setting '{setting}'", fix=f"One of: {', '.join(SETTINGS)}.")
        order = sorted(speakers, key=lambda name: draw(1, name))
        if setting != TAILED:
            return set(order[: round(SHARES[setting] * len(order))])
        bands: dict[int, list[str]] = defaultdict(list)
        for name in order:
            bands[int(self.age_of[name] // BAND_YEARS)].append(name)
        by_size = sorted(bands, key=lambda band: (-len(bands[band]), band))
        return {name for rank, band in enumerate(by_size) for name in bands[band][: max(1, len(bands[band]) >> rank)]}

    def tested(self, seeds: Sequence[int]) -> TestedAges:
        """The test rows of these seeds."""
        return TestedAges.of(self, [self.sides(seed).test for seed in seeds])

    def features(self) -> Halves:
        """Kept frames of all rows, [R, S, T, D]: hidden states of the encoder, five frames a second."""
        return HeardFrames.of(self.rows, self.hashes, "clean", self.folder).short


@dataclass(frozen=True)
class TestedAges:
    """`Tested`: the test rows of each seed, judged by the mean absolute error; scores are ages in years."""

    rows: tuple[Places, ...]
    ages: tuple[Floats, ...]
    units: Units  # of the rows of all seeds, one after the other
    words: str
    measure: str = "MAE in years"
    definition: str = "mean absolute error over recordings, in years; mean over seeds"

    @classmethod
    def of(cls, material: AgeMaterial, rows: Sequence[Places]) -> TestedAges:
        """Units are speakers."""
        every = np.concatenate(rows)
        units = Units.of(material.speakers[every], "speaker")
        words = f"{len(np.unique(every))} recordings of {units.count} speakers"
        return cls(tuple(rows), tuple(material.ages[places] for places in rows), units, words)

    def count(self, place: int) -> int:
        """Rows of the seed at this place."""
        return len(self.rows[place])

    def error(self, place: int, scores: Floats) -> Callable[[Floats], float]:
        """In years, of the ages [N] that were answered."""
        start = sum(len(found) for found in self.rows[:place])
        units = self.units.take(np.arange(start, start + len(scores)))
        ages = self.ages[place]

        def years(counts: Floats) -> float:
            weights = units.weights(counts)
            if not weights.sum() > 0:
                raise MetricError("no speaker of this seed was drawn", where="resample")
            return mae(ages, scores, weights)

        return years
