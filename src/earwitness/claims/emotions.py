"""The recordings that claims about emotions are tried on: acted emotions of speakers who are known, their kept frames.

Rows: human recordings of the corpora in `paralinguistic.labels.CORPORA` whose licence allows it, with a category.
Speakers are in `ROTATIONS` folds, those of a corpus and sex one after the other. A seed tests one fold, chooses on the
next and learns from the rest: nobody is tested who was learnt from or chosen on. The error is 100 - UA.

Frames are a hidden state of the encoder of Whisper tiny.en for the first 4 s, neither trimmed nor repeated, each
recording by itself. A transcript counts where the recording is heard to its end; the free EmoDB cuts of exactly 2 s
often stop within the sentence, and count only where they end in digital silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from earwitness.audio.audible import is_audible
from earwitness.claims.kept import FRONTEND
from earwitness.claims.material import ROTATIONS, Places, Sides
from earwitness.claims.spectra import AUGMENTATION
from earwitness.claims.store import Halves, Store
from earwitness.claims.views import SECONDS, View
from earwitness.core.errors import DataError, MetricError
from earwitness.core.hashing import sha256_data
from earwitness.corpora.batches import UtteranceDataset, UtteranceOptions
from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import exclude_licences
from earwitness.corpora.splits.grouping import draw
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.classification import Confusion
from earwitness.metrics.scores import Floats
from earwitness.paralinguistic.labels import CATEGORIES, CORPORA, Labels, named_corpus, read_labels

STATE = 2  # hidden state that is kept, as in the claims about detection
CUT_CORPUS, CUT_S = "emodb", 2.0  # cuts of exactly this length
END_S = 0.02  # of a cut that must be silent for its transcript to count
VIEWS: tuple[View, ...] = ("clean", 1)
AT_ONCE = 16


@dataclass(frozen=True)
class EmotionFrames:
    """`frames` [R, T, D] of all rows with zeros after their ends; how many frames count, [R]; and whether a recording
    holds all of its transcript, [R]."""

    frames: Halves
    counts: NDArray[np.int64]
    whole: NDArray[np.bool_]


@dataclass(frozen=True)
class EmotionMaterial:
    """Labelled rows, the sha256 of their audio, the manifest that they come from, and the folder of kept frames."""

    labels: Labels
    hashes: tuple[str, ...]
    source: str
    folder: Path

    @classmethod
    def read(cls, manifest: str | Path, folder: str | Path) -> EmotionMaterial:
        """From a manifest in the form of `corpus import`. Raises `DataError` where it holds no corpus of emotions."""
        labels = _drawn(exclude_licences(Manifest.read(manifest)))
        return cls(labels, tuple(audio_hashes(labels.manifest)), str(manifest), Path(folder))

    @property
    def rows(self) -> Manifest:
        """All rows."""
        return self.labels.manifest

    @property
    def key(self) -> str:
        """Of ids, audio, labels and the rule of the folds."""
        table = self.rows.table
        return sha256_data([list(self.hashes), table["id"].to_list(), table["emotion"].to_list(), self.settings])

    @property
    def inputs(self) -> dict[str, str]:
        """The table and the audio."""
        return {"rows": self.rows.sha256, "audio": self.key}

    @property
    def settings(self) -> dict[str, Any]:
        """Folds, corpora, and what was left out."""
        return {"folds": ROTATIONS, "corpora": list(self.labels.corpora), "labels": self.labels.told()}

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
        """Of each row: speakers of a corpus and sex go round the folds in an order drawn by hash."""
        told = self.rows.table.select("speaker", "corpus", pl.col("sex").fill_null("")).unique().iter_rows()
        groups: dict[tuple[str, str], list[str]] = {}
        for name, corpus, sex in sorted(told, key=lambda one: draw(0, one[0])):
            groups.setdefault((corpus, sex), []).append(name)
        of = {name: place % ROTATIONS for names in groups.values() for place, name in enumerate(names)}
        return np.array([of[name] for name in self.speakers])

    def sides(self, seed: int) -> Sides:
        """Of the rotation of a seed (from 1); seeds that differ by `ROTATIONS` share it."""
        tested = (seed - 1) % ROTATIONS
        chosen = (tested + 1) % ROTATIONS
        learnt = (self.fold != tested) & (self.fold != chosen)
        return Sides(np.flatnonzero(learnt), np.flatnonzero(self.fold == chosen), np.flatnonzero(self.fold == tested))

    def side(self, rows: Places) -> Labels:
        """The labels of some rows, in this order."""
        part = self.rows.with_table(self.rows.table[rows])
        return replace(self.labels, manifest=part, intensity=self.labels.intensity[rows], dropped={})

    def tested(self, seeds: Sequence[int]) -> TestedEmotions:
        """The test rows of these seeds."""
        return TestedEmotions.of(self, [self.sides(seed).test for seed in seeds])

    def kept(self, view: View = "clean") -> EmotionFrames:
        """The frames of all rows as one view hears them; computed where they are not there yet."""
        part = [[row.channel, row.start, row.end] for row in self.rows.rows()]
        perturbed = None if view == "clean" else AUGMENTATION.model_dump(mode="json")
        told = [SECONDS, STATE, FRONTEND.model_dump(mode="json"), perturbed]
        key = sha256_data([self.rows.table["id"].to_list(), list(self.hashes), part, told])
        frontend = FRONTEND.build()
        shape = (round(SECONDS * frontend.frames_per_second), frontend.dim // len(frontend.aggregation.layers))
        shapes = {"frames": shape, "facts": (2,)}
        store = Store(self.folder / f"emotion-{key[:16]}-{view}", len(self.rows), shapes)
        store.fill(partial(_heard, self.rows, view), AT_ONCE, f"hearing ({view})")
        frames, facts = store.arrays
        return EmotionFrames(frames, facts[:, 0].astype(np.int64), facts[:, 1] > 0)


@dataclass(frozen=True)
class TestedEmotions:
    """`Tested`: the test rows of each seed. A score is the place of the called class in `CATEGORIES`."""

    rows: tuple[Places, ...]
    truth: NDArray[np.int64]
    units: Units
    words: str
    measure: str = "100 - UA"
    definition: str = (
        "per cent, 100 minus the mean recall of the classes; mean over seeds; a resample in which a seed "
        "has no speaker is drawn again"
    )

    @classmethod
    def of(cls, material: EmotionMaterial, rows: Sequence[Places]) -> TestedEmotions:
        """Units are the speakers of all rows that are tested."""
        everything = np.concatenate(rows)
        units = Units.of(material.speakers[everything].tolist(), "speaker")
        categories = sorted({CATEGORIES[place] for place in material.labels.category[everything]})
        words = (
            f"{len(everything)} recordings of {', '.join(material.labels.corpora)}, {units.count} speakers, "
            f"{len(categories)} categories"
        )
        return cls(tuple(rows), material.labels.category, units, words)

    def count(self, place: int) -> int:
        """Rows of the seed at this place."""
        return len(self.rows[place])

    def error(self, place: int, scores: Floats) -> Callable[[Floats], float]:
        """100 - UA of called classes [N]."""
        start = sum(len(found) for found in self.rows[:place])
        units = self.units.take(start + np.arange(len(self.rows[place])))
        size = len(CATEGORIES)
        cells = self.truth[self.rows[place]] * size + scores.astype(np.int64)

        def measured(counts: Floats) -> float:
            weights = units.weights(counts)
            if not weights.any():
                raise MetricError("no speaker of a seed was drawn")
            matrix = np.bincount(cells, weights, minlength=size**2).reshape(size, size).astype(np.float64)
            return 100 * (1 - Confusion(CATEGORIES, matrix).ua)

        return measured


def _drawn(rows: Manifest) -> Labels:
    """Human recordings of speakers who are known, with a category."""
    table = rows.table
    if "corpus" not in table.columns:
        raise DataError("rows have no `corpus`", fix="Give a manifest as `earwitness corpus import` writes it.")
    emotional = [name for name in table["corpus"].drop_nulls().unique() if named_corpus(name) in CORPORA]
    human = (pl.col("label") == "bonafide") & pl.col("speaker").is_not_null()
    found = rows.filter(human & pl.col("corpus").is_in(emotional))
    if not len(found):
        raise DataError("holds no corpus of emotions that may be used", fix=f"One of: {', '.join(CORPORA)}.")
    return read_labels(found)


def _heard(rows: Manifest, view: View, parts: Sequence[Sequence[int]]) -> Iterator[tuple[Halves, ...]]:
    """Frames, and how many there are and whether the transcript is in them, part by part."""
    frontend = FRONTEND.build()
    options = UtteranceOptions(
        crop_s=SECONDS,
        crop_from="start",
        short="keep",
        perturbation=None if view == "clean" else AUGMENTATION.build(),
    )
    utterances = UtteranceDataset(rows, options)
    utterances.set_epoch(0 if view == "clean" else view)
    corpora = rows.table["corpus"].to_list()
    width, most = frontend.dim // len(frontend.aggregation.layers), round(SECONDS * frontend.frames_per_second)
    for part in parts:
        frames = np.zeros((len(part), most, width), np.float16)
        facts = np.zeros((len(part), 2), np.float16)
        for number, place in enumerate(part):
            item = utterances[place]
            with torch.inference_mode():
                state = frontend.hidden_states(item.samples[None])[STATE][0].half().numpy()[:most]
            frames[number, : len(state)] = state
            facts[number] = len(state), item.whole and not _torn(item.samples.numpy(), item.rate, corpora[place])
        yield frames, facts


def _torn(samples: NDArray[np.float32], rate: int, corpus: str) -> bool:
    """Whether a recording is a cut that stops within its sentence."""
    is_cut = named_corpus(corpus) == CUT_CORPUS and len(samples) == round(CUT_S * rate)
    return is_cut and is_audible(samples[-round(END_S * rate) :])
