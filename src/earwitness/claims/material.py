"""The recordings that claims about detection are tried on: which rows, which sides for which seed, their kept frames.

Rows: every synthetic recording of a manifest, and of human speech at most `PER_SPEAKER` recordings of a speaker, drawn
by hash; without non-commercial licences. Families of synthesis and human speakers are in `ROTATIONS` folds. A seed
tests one fold, chooses on the next and learns from the rest, so five seeds test everything once, and nobody is tested
on a family, a speaker or a recording that was learnt from or chosen on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.claims.kept import HeardFrames
from earwitness.claims.views import View
from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_data
from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import FoldSplit, exclude_licences
from earwitness.corpora.splits.folds import Folds
from earwitness.corpora.splits.grouping import draw
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.scores import Floats
from earwitness.metrics.trials import Trials

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
    """Places of rows in the material: what a seed learns from, chooses on, and is tested on."""

    train: Places
    dev: Places
    test: Places


@dataclass(frozen=True)
class DetectionMaterial:
    """Rows with the column `stratum` (a corpus of human speech, or a family), the sha256 of their audio, their folds,
    the manifest that they come from, and the folder in which frames are kept."""

    rows: Manifest
    hashes: tuple[str, ...]
    folds: Folds
    source: str
    folder: Path

    @classmethod
    def read(cls, manifest: str | Path, folder: str | Path) -> DetectionMaterial:
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

    @property
    def key(self) -> str:
        """Of ids, audio and the rule of the folds."""
        return sha256_data([list(self.hashes), self.rows.table["id"].to_list(), SPLIT.model_dump(mode="json")])

    @property
    def inputs(self) -> dict[str, str]:
        """The table and the audio."""
        return {"rows": self.rows.sha256, "audio": self.key}

    @property
    def settings(self) -> dict[str, Any]:
        """How many recordings of a speaker, and the folds."""
        return {"per_speaker": PER_SPEAKER, "split": SPLIT.model_dump(mode="json")}

    @property
    def licences(self) -> list[str]:
        """Of all rows, sorted."""
        return sorted(set(self.rows.table["licence"].drop_nulls()))

    def tested(self, seeds: Sequence[int]) -> TestedRows:
        """The test rows of these seeds."""
        return TestedRows.of(self, [self.sides(seed).test for seed in seeds])

    def kept(self, view: View = "clean") -> HeardFrames:
        """The frames of all rows as one view hears them; computed where they are not there yet."""
        return HeardFrames.of(self.rows, self.hashes, view, self.folder)


@dataclass(frozen=True)
class TestedRows:
    """`Tested`: the test rows of each seed, judged by the EER; every row's class and unit (of all that are tested)."""

    rows: tuple[Places, ...]
    human: NDArray[np.bool_]
    units: Units
    measure: str = "EER"
    definition: str = "interpolated, in per cent; mean over seeds"

    @classmethod
    def of(cls, material: DetectionMaterial, rows: Sequence[Places]) -> TestedRows:
        """Units are speakers of human speech and systems of synthesis; a row without one is its own."""
        table, human = material.rows.table, material.labels == 1
        everything = np.unique(np.concatenate(rows))
        codes = np.full(len(human), -1)
        blocks: list[int] = []
        for chosen, name in ((human, "speaker"), (~human, "system")):
            places = everything[chosen[everything]]
            names = table[places].select(pl.coalesce(name, "id")).to_series().to_list()
            found = Units.of(names, name)
            codes[places] = found.codes + sum(blocks)
            blocks.extend(found.blocks)
        return cls(tuple(rows), human, Units("speaker x system", codes, tuple(blocks)))

    @property
    def words(self) -> str:
        """How many of which."""
        everything = np.unique(np.concatenate(self.rows))
        human, (speakers, systems) = int(self.human[everything].sum()), self.units.blocks
        spoof = len(everything) - human
        return f"{human} human recordings of {speakers} speakers, {spoof} synthetic ones of {systems} systems"

    def count(self, place: int) -> int:
        """Rows of the seed at this place."""
        return len(self.rows[place])

    def error(self, place: int, scores: Floats) -> Callable[[Floats], float]:
        """EER in per cent (interpolated) of scores [N], higher = bona fide."""
        rows = self.rows[place]
        human = self.human[rows]
        order = np.concatenate([rows[human], rows[~human]])
        trials = Trials(scores[human], scores[~human], self.units.take(order))
        return lambda counts: 100 * trials.resample(counts).eer()


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
