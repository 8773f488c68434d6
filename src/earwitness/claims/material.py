"""The recordings that all claims are tried on: which rows, which sides for which seed, and their kept frames.

Rows: every synthetic recording of a manifest, and of human speech at most `PER_SPEAKER` recordings of a speaker, drawn
by hash; without non-commercial licences. Families of synthesis and human speakers are in `ROTATIONS` folds. A seed
tests one fold, chooses on the next and learns from the rest, so five seeds test everything once, and nobody is tested
on a family, a speaker or a recording that was learnt from or chosen on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.claims.kept import HeardFrames, View
from earwitness.core.errors import DataError
from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import FoldSplit, exclude_licences
from earwitness.corpora.splits.folds import Folds
from earwitness.corpora.splits.grouping import draw

PER_SPEAKER = 4
SPLIT = FoldSplit(
    kind="folds",
    families=(
        ("world", "flow", "formant"),
        ("griffin-lim", "codec2", "autoregressive", "univnet"),
        ("istftnet", "diffusion"),
        ("hifigan", "parallel-wavegan"),
        ("melgan", "statistical-parametric", "diphone"),
    ),
    shared_voices=("lj",),
)
ROTATIONS = SPLIT.count
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Sides:
    """Places of rows in `Material.rows`: what a seed learns from, chooses on, and is tested on."""

    train: Places
    dev: Places
    test: Places


@dataclass(frozen=True)
class Material:
    """Rows with the column `stratum` (a corpus of human speech, or a family), the sha256 of their audio, their folds,
    the manifest that they come from, and the folder in which frames are kept."""

    rows: Manifest
    hashes: tuple[str, ...]
    folds: Folds
    source: str
    folder: Path

    @classmethod
    def read(cls, manifest: str | Path, folder: str | Path) -> Material:
        """From a manifest in the form of `corpus import`. Raises `DataError` where it lacks a family of `SPLIT`."""
        rows = _drawn(exclude_licences(Manifest.read(manifest)))
        hashes = audio_hashes(rows)
        return cls(rows, tuple(hashes), SPLIT.assign(rows, hashes), str(manifest), Path(folder))

    @property
    def labels(self) -> NDArray[np.int64]:
        """1 bona fide, 0 spoof, [R]."""
        return (self.rows.table["label"] == "bonafide").to_numpy().astype(np.int64)

    def sides(self, seed: int) -> Sides:
        """Of the rotation of a seed (from 1); seeds that differ by `ROTATIONS` share it."""
        tested = (seed - 1) % ROTATIONS
        chosen = (tested + 1) % ROTATIONS
        fold, judged, heard = self.folds.fold, self.folds.judged, self.folds.heard
        return Sides(
            train=np.flatnonzero(heard[:, tested] & heard[:, chosen]),
            dev=np.flatnonzero(judged & (fold == chosen) & heard[:, tested]),
            test=np.flatnonzero(judged & (fold == tested)),
        )

    def kept(self, view: View = "clean") -> HeardFrames:
        """The frames of all rows as one view hears them; computed where they are not there yet."""
        return HeardFrames.of(self.rows, self.hashes, view, self.folder)


def _drawn(rows: Manifest) -> Manifest:
    """At most `PER_SPEAKER` human recordings of a speaker, and every spoof, with the column `stratum`."""
    table = rows.table
    if table["label"].null_count():
        raise DataError("rows without a label cannot be judged", fix="Give every row label bonafide or spoof.")
    order = pl.Series([draw(0, name) for name in table["id"]])
    rank = pl.struct("_order", "id").rank("ordinal").over(pl.coalesce("speaker", "id"), "label")
    human = pl.col("label") == "bonafide"
    table = table.with_columns(_order=order).with_columns(_rank=rank).filter(~human | (pl.col("_rank") <= PER_SPEAKER))
    stratum = pl.when(human).then(pl.col("corpus")).otherwise(pl.coalesce("family", "system")).fill_null("unnamed")
    return rows.with_table(table.drop("_order", "_rank").with_columns(stratum=stratum))
