"""Left-out folds: every row is judged by somebody who heard neither its maker nor its speaker.

1. Spoofs go to the fold that names their family; a family that no fold names is in none: learnt from, never judged.
2. Human speech goes to folds by speaker, in hash order; the recordings of a shared voice each on their own; where
   `corpora` names folds, by corpus instead.
3. A copy (a spoof with a `source_recording` that is here) is judged where its family and its source share a fold.
4. The member that leaves a fold out hears none of its rows, no copy of its human recordings, and nothing that shares
   a recording, or the very same audio, with what it is judged on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from earwitness.core.config import Config, nearest
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits.grouping import draw

NO_FOLD = -1


@dataclass(frozen=True)
class Folds:
    """Each row's `fold` [R], -1 for none; `judged` [R]; `heard` [R, K]: the member that leaves out k learns from it."""

    fold: NDArray[np.int64]
    judged: NDArray[np.bool_]
    heard: NDArray[np.bool_]


class FoldSplit(Config):
    """See the module's text. `families`: those that are left out together, a fold each; `corpora` likewise."""

    kind: Literal["folds"]
    families: tuple[tuple[str, ...], ...] = Field(min_length=2)
    corpora: tuple[tuple[str, ...], ...] = ()
    shared_voices: tuple[str, ...] = ()
    judged_only: tuple[str, ...] = ()  # systems (regular expressions) that no member learns from
    learnt_only: tuple[str, ...] = ()  # corpora (regular expressions) that nothing is judged on
    seed: int = 0

    @model_validator(mode="after")
    def _as_many_corpora(self) -> FoldSplit:
        if self.corpora and len(self.corpora) != len(self.families):
            raise ValueError(f"corpora names {len(self.corpora)} folds, families {len(self.families)}")
        return self

    @property
    def count(self) -> int:
        """How many folds there are, K."""
        return len(self.families)

    def assign(self, manifest: Manifest, hashes: Sequence[str]) -> Folds:
        """The folds of labelled rows; `hashes` of their audio, row by row.

        Raises `DataError` for a row without a label, and for a family or corpus that the manifest does not have.
        """
        table = manifest.table
        if table["label"].null_count():
            raise DataError("rows without a label cannot be judged", fix="Give every row label bonafide or spoof.")
        human = (table["label"] == "bonafide").to_numpy()
        fold = np.where(human, self._of_humans(table), self._of_families(table))
        of_source = _folds_of_sources(table, fold, human)
        judged = (fold != NO_FOLD) & (human | (of_source == NO_FOLD) | (of_source == fold))
        if self.learnt_only:
            judged &= ~_matches(table["corpus"], self.learnt_only)
        kin = _kin(table, hashes)
        learnt = ~_matches(table["system"], self.judged_only)
        heard = np.ones((len(fold), self.count), bool)
        for k in range(self.count):
            tested = set().union(*(kin[row] for row in np.flatnonzero(judged & (fold == k))))
            related = np.array([bool(keys & tested) for keys in kin], bool)
            heard[:, k] = learnt & (fold != k) & (of_source != k) & ~related
        return Folds(fold, judged, heard)

    def _of_families(self, table: pl.DataFrame) -> NDArray[np.int64]:
        there = table.select(pl.coalesce("family", "system")).to_series().to_list()
        return np.array(_looked_up(there, self.families, "family"), np.int64)

    def _of_humans(self, table: pl.DataFrame) -> NDArray[np.int64]:
        if self.corpora:
            return np.array(_looked_up(table["corpus"].to_list(), self.corpora, "corpus"), np.int64)
        found = []
        for name, speaker in table.select("id", "speaker").iter_rows():
            unit = name if speaker is None or speaker in self.shared_voices else f"speaker:{speaker}"
            found.append(int(draw(self.seed, unit) * self.count))
        return np.array(found, np.int64)


def _looked_up(there: Sequence[str | None], folds: Sequence[Sequence[str]], what: str) -> list[int]:
    """The fold that names each value; every named value must be there."""
    known = {value for value in there if value}
    for name in (name for names in folds for name in names):
        if name not in known:
            guess = nearest(name, known)
            raise DataError(
                f"there is no {what} '{name}' in the manifest", fix=f"Did you mean '{guess}'?" if guess else None
            )
    place = {name: k for k, names in enumerate(folds) for name in names}
    return [place.get(value or "", NO_FOLD) for value in there]


def _matches(names: pl.Series, patterns: Sequence[str]) -> NDArray[np.bool_]:
    """Which names match one of the patterns from their start."""
    found = [any(re.match(pattern, name or "") for pattern in patterns) for name in names]
    return np.array(found, bool)


def _folds_of_sources(table: pl.DataFrame, fold: NDArray[np.int64], human: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The fold of the human recording that each spoof is a copy of; -1 where there is none."""
    names = table["id"].to_list()
    sources = table["source_recording"].to_list()
    of: dict[str, int] = {}
    for place in np.flatnonzero(human):
        of[names[place]] = int(fold[place])
        if sources[place]:
            of[str(sources[place])] = int(fold[place])
    found = [NO_FOLD if human[i] else of.get(source or "", NO_FOLD) for i, source in enumerate(sources)]
    return np.array(found, np.int64)


def _kin(table: pl.DataFrame, hashes: Sequence[str]) -> list[set[str]]:
    """What ties each row to others: its recording, and its audio."""
    columns = ("id", "source_recording")
    rows = zip(table.select(columns).iter_rows(), hashes, strict=True)
    return [{f"recording:{source or name}", f"audio:{audio}"} for (name, source), audio in rows]
