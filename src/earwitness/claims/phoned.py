"""The recordings of claims about voices with the phone of each frame, heard once and kept; and batches of both.

Phones are heard by hama (0.5 s a recording on a slow core) in the very 4 s of which the spectra are kept. Perturbed
views of a recording start at the same sample, so they share its labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.claims.learning import AT_ONCE
from earwitness.claims.material import Places
from earwitness.claims.speaker_learning import CROP, VIEWS, spectrum_batch
from earwitness.claims.speakers import SpeakerMaterial
from earwitness.claims.spectra import AUGMENTATION, FRONTEND
from earwitness.claims.store import Halves, Store
from earwitness.claims.views import SECONDS, heard
from earwitness.core.hashing import sha256_data
from earwitness.corpora.batch import Batch
from earwitness.corpora.batches import Vocabulary
from earwitness.speaker.phones import HamaConfig, Recogniser, frame_labels, in_random_order
from earwitness.speaker.phonetic_traits.data import PairOrder
from earwitness.speaker.phonetic_traits.recipe import SpeakerTraitsRecipe

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class PhonedMaterial(SpeakerMaterial):
    """With who hears the phones."""

    recogniser: Recogniser = field(repr=False)

    @classmethod
    def read(cls, manifest: str | Path, folder: str | Path) -> PhonedMaterial:
        """Raises `MissingPartError` where hama is not installed, and what `SpeakerMaterial.read` raises."""
        recogniser, found = HamaConfig().build(), SpeakerMaterial.read(manifest, folder)
        return cls(found.rows, found.hashes, found.source, found.folder, recogniser)

    @property
    def settings(self) -> dict[str, Any]:
        """And who heard the phones."""
        return {**super().settings, "phones": self.recogniser.maker.name}

    def labels(self) -> Labels:
        """The phone of each frame of the kept spectra, [R, T], -1 for none; heard where they are not there yet."""
        key = sha256_data([self.key, SECONDS, FRONTEND.window, FRONTEND.hop, list(self.recogniser.inventory.phones)])
        frames = (round(SECONDS * FRONTEND.rate) - FRONTEND.window) // FRONTEND.hop + 1
        store = Store(self.folder / f"phones-{key[:16]}", len(self.rows), {"labels": (frames,)})
        store.fill(self._heard, AT_ONCE, "hearing phones")
        return store.arrays[0].astype(np.int64)

    def _heard(self, parts: Sequence[Sequence[int]]) -> Iterator[tuple[Halves, ...]]:
        utterances = heard(self.rows, "clean", AUGMENTATION.build())
        for part in parts:
            yield (np.stack([self._labels_of(utterances[row].samples.numpy()) for row in part]).astype(np.float16),)

    def _labels_of(self, samples: NDArray[np.float32]) -> Labels:
        track = self.recogniser.recognise(samples)
        return frame_labels(track.sample_labels(len(samples), FRONTEND.rate), FRONTEND.window, FRONTEND.hop)


def relabelled(labels: Labels, seed: int) -> Labels:
    """The stretches of each row [R, T] in random order: the same histogram, over other sounds."""
    return np.stack([in_random_order(row, np.random.default_rng([seed, place])) for place, row in enumerate(labels)])


@dataclass(frozen=True)
class PhonedSpectra:
    """What a network hears: views of all rows [R, T, F], and the label of each frame [R, T]."""

    views: tuple[Halves, ...]
    labels: Labels
    speakers: NDArray[np.str_]

    @classmethod
    def of(cls, material: PhonedMaterial, labels: Labels) -> PhonedSpectra:
        """The clean view first."""
        return cls(tuple(material.spectra(view) for view in VIEWS), labels, material.speakers)

    def batch(self, rows: Places, names: Vocabulary) -> Batch:
        """Rows heard whole, as they are."""
        classes = np.array([names.index(name) for name in self.speakers[rows]])
        return phoned_batch(self.views[0][rows], self.labels[rows], classes, rows)


@dataclass(frozen=True)
class PhonedPairs:
    """`TrainData`: two recordings a speaker side by side; views and crops are drawn by (seed, epoch, place)."""

    heard: PhonedSpectra
    rows: Places
    names: Vocabulary
    order: PairOrder
    seed: int

    @classmethod
    def of(cls, recipe: SpeakerTraitsRecipe, heard: PhonedSpectra, rows: Places) -> PhonedPairs:
        """Of the rows of the training side."""
        names = Vocabulary(tuple(sorted(set(heard.speakers[rows].tolist()))))
        classes = [names.index(name) for name in heard.speakers[rows]]
        order = PairOrder(classes, recipe.loop.batch_size // 2, recipe.seed, recipe.draws or len(rows))
        return cls(heard, rows, names, order, recipe.seed)

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self.order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places of the epoch's order."""
        batches = self.order.batches(epoch)
        for place in places:
            rows = self.rows[np.array(batches[place]).ravel()]
            rng = np.random.default_rng([self.seed, epoch, place])
            starts = rng.integers(0, self.heard.labels.shape[1] - CROP + 1, len(rows))
            views = rng.integers(0, len(self.heard.views), len(rows))
            drawn = list(zip(views, rows, starts, strict=True))
            crops = np.stack([self.heard.views[view][row, start : start + CROP] for view, row, start in drawn])
            labels = np.stack([self.heard.labels[row, start : start + CROP] for _, row, start in drawn])
            classes = np.array([self.names.index(name) for name in self.heard.speakers[rows]])
            yield phoned_batch(crops, labels, classes, rows)


@dataclass(frozen=True)
class PhonedRows:
    """All rows of one side once, in order, heard whole: dev data for `fit`, and what is tested."""

    heard: PhonedSpectra
    rows: Places

    def __iter__(self) -> Iterator[Batch]:
        names = Vocabulary(tuple(sorted(set(self.heard.speakers[self.rows].tolist()))))
        for start in range(0, len(self.rows), AT_ONCE):
            yield self.heard.batch(self.rows[start : start + AT_ONCE], names)


def phoned_batch(energies: Halves, labels: Labels, classes: NDArray[np.int64], rows: Places) -> Batch:
    """Energies [B, T, F] with the label of each frame [B, T] and the class of each speaker [B]."""
    plain = spectrum_batch(energies, classes, tuple(str(row) for row in rows))
    targets = replace(plain.targets, phones=torch.from_numpy(np.ascontiguousarray(labels)))
    return replace(plain, targets=targets)
