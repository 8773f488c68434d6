"""The recordings that claims about voices are tried on: human speech with named speakers, and trials between test rows.

Rows: at most `PER_SPEAKER` recordings of a speaker, drawn by hash, of corpora whose speakers are known. Speakers are in
`ROTATIONS` folds, corpus by corpus. A seed tests one fold, chooses on the next and learns from the rest: nobody is
tested who was learnt from or chosen on. Trials are between two recordings of a corpus and, where it is known, of one
sex: all of one speaker, and `MOST_DIFFERENT` of two, drawn by the seed.
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

from earwitness.claims.material import ROTATIONS, Sides
from earwitness.claims.spectra import spectra
from earwitness.claims.store import Halves
from earwitness.claims.views import View
from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_data
from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import exclude_licences
from earwitness.corpora.splits.grouping import draw
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.scores import Floats
from earwitness.metrics.trials import Trials

CORPORA = {
    "speechocean762": "speechocean762",
    "speechocean762_more": "speechocean762",  # the same speakers
    "emodb": "emodb",
    "telephone_prompts": "telephone_prompts",
    "librispeech_excerpt": "librispeech_excerpt",
    "demo_ground_truth": "demo_ground_truth",
}
"""Those whose speakers are known, and under which name their trials stand."""
PER_SPEAKER = 8
MOST_DIFFERENT = 4000
Pairs = NDArray[np.int64]


@dataclass(frozen=True)
class SpeakerMaterial:
    """Rows with the column `stratum` (the corpus), the sha256 of their audio, the manifest that they come from, and the
    folder in which spectra are kept."""

    rows: Manifest
    hashes: tuple[str, ...]
    source: str
    folder: Path

    @classmethod
    def read(cls, manifest: str | Path, folder: str | Path) -> SpeakerMaterial:
        """From a manifest in the form of `corpus import`. Raises `DataError` where it holds none of `CORPORA`."""
        rows = _drawn(exclude_licences(Manifest.read(manifest)))
        return cls(rows, tuple(audio_hashes(rows)), str(manifest), Path(folder))

    @property
    def key(self) -> str:
        """Of ids, audio and the rule of the folds."""
        return sha256_data([list(self.hashes), self.rows.table["id"].to_list(), self.settings])

    @property
    def inputs(self) -> dict[str, str]:
        """The table and the audio."""
        return {"rows": self.rows.sha256, "audio": self.key}

    @property
    def settings(self) -> dict[str, Any]:
        """How many recordings of a speaker, folds and trials."""
        return {"per_speaker": PER_SPEAKER, "folds": ROTATIONS, "different_trials": MOST_DIFFERENT}

    @property
    def licences(self) -> list[str]:
        """Of all rows, sorted."""
        return sorted(set(self.rows.table["licence"].drop_nulls()))

    @cached_property
    def speakers(self) -> NDArray[np.str_]:
        """Of each row."""
        return self.rows.table["speaker"].to_numpy().astype(str)

    @cached_property
    def fold(self) -> NDArray[np.int64]:
        """Of each row: speakers go round the folds of their corpus in an order drawn by hash."""
        table = self.rows.table
        of: dict[str, int] = {}
        for corpus in sorted(set(table["stratum"])):
            names = sorted(set(table.filter(pl.col("stratum") == corpus)["speaker"]), key=lambda name: draw(0, name))
            of |= {name: place % ROTATIONS for place, name in enumerate(names)}
        return np.array([of[name] for name in self.speakers])

    def sides(self, seed: int) -> Sides:
        """Of the rotation of a seed (from 1); seeds that differ by `ROTATIONS` share it."""
        tested = (seed - 1) % ROTATIONS
        chosen = (tested + 1) % ROTATIONS
        learnt = (self.fold != tested) & (self.fold != chosen)
        return Sides(np.flatnonzero(learnt), np.flatnonzero(self.fold == chosen), np.flatnonzero(self.fold == tested))

    def trials(self, seed: int) -> Pairs:
        """What a seed tests: pairs of rows [n, 2], those of one speaker first."""
        places = self.sides(seed).test
        first, second = (places[side] for side in np.triu_indices(len(places), k=1))
        table = self.rows.table
        corpus, sex = table["stratum"].to_numpy(), table["sex"].fill_null("").to_numpy()
        alike = (sex[first] == sex[second]) | (sex[first] == "") | (sex[second] == "")
        pairs = np.stack([first, second], axis=1)[(corpus[first] == corpus[second]) & alike]
        same = self.same(pairs)
        different = np.flatnonzero(~same)
        if len(different) > MOST_DIFFERENT:
            different = np.sort(np.random.default_rng(seed).choice(different, MOST_DIFFERENT, replace=False))
        return np.concatenate([pairs[same], pairs[different]])

    def same(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Which trials are of one speaker."""
        names = self.speakers[pairs]
        return np.asarray(names[:, 0] == names[:, 1])

    def tested(self, seeds: Sequence[int]) -> TestedTrials:
        """The trials of these seeds."""
        return TestedTrials.of(self, [self.trials(seed) for seed in seeds])

    def spectra(self, view: View = "clean", speed: float = 1.0) -> Halves:
        """Filterbank energies of all rows as one view hears them, [R, T, 80]; computed where they are not there yet."""
        return spectra(self.rows, self.hashes, view, self.folder, speed)


@dataclass(frozen=True)
class TestedTrials:
    """`Tested`: the trials of each seed, judged by the EER; a trial counts as often as both its speakers are drawn."""

    pairs: tuple[Pairs, ...]
    same: tuple[NDArray[np.bool_], ...]
    units: Units
    words: str
    measure: str = "EER"
    definition: str = "interpolated, in per cent; mean over seeds"

    @classmethod
    def of(cls, material: SpeakerMaterial, pairs: Sequence[Pairs]) -> TestedTrials:
        """Units are the speakers of all trials."""
        names = material.speakers[np.concatenate(pairs)]
        same = tuple(material.same(found) for found in pairs)
        units = Units.pairs(names[:, 0].tolist(), names[:, 1].tolist(), "speaker")
        targets, all_ = sum(int(found.sum()) for found in same), len(names)
        words = f"{targets} trials of one speaker and {all_ - targets} of two, {units.count} speakers"
        return cls(tuple(pairs), same, units, words)

    def count(self, place: int) -> int:
        """Trials of the seed at this place."""
        return len(self.pairs[place])

    def error(self, place: int, scores: Floats) -> Callable[[Floats], float]:
        """EER in per cent (interpolated) of scores [N], higher = same speaker."""
        start = sum(len(found) for found in self.pairs[:place])
        same = self.same[place]
        order = start + np.concatenate([np.flatnonzero(same), np.flatnonzero(~same)])
        trials = Trials(scores[same], scores[~same], self.units.take(order))
        return lambda counts: 100 * trials.resample(counts).eer()


def _drawn(rows: Manifest) -> Manifest:
    """Human recordings of `CORPORA`, at most `PER_SPEAKER` of a speaker, with the column `stratum`."""
    known = pl.col("label") == "bonafide", pl.col("corpus").is_in(list(CORPORA)), pl.col("speaker").is_not_null()
    table = rows.table.filter(*known)
    if not len(table):
        raise DataError("holds no corpus whose speakers are known", fix=f"One of: {', '.join(CORPORA)}.")
    order = pl.Series([draw(0, name) for name in table["id"]])
    rank = pl.struct("_order", "id").rank("ordinal").over("speaker")
    table = table.with_columns(_order=order).filter(rank <= PER_SPEAKER).drop("_order")
    return rows.with_table(table.with_columns(stratum=pl.col("corpus").replace_strict(CORPORA)))
