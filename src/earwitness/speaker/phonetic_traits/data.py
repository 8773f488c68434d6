"""Batches of speakers with two utterances each, their phone labels cropped together with the audio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from earwitness.audio.perturb.base import item_rng
from earwitness.audio.perturb.chain import SeriesConfig
from earwitness.audio.reading import load
from earwitness.audio.recording import Samples
from earwitness.core.errors import DataError, RecipeError
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.batches import Kept, Perturb, Vocabulary
from earwitness.corpora.manifest import Manifest, Row
from earwitness.speaker.phones import PhoneTrack, frame_labels
from earwitness.speaker.phones.track import Labels
from earwitness.speaker.phonetic_traits.recipe import SpeakerTraitsRecipe

Pair = tuple[int, int]


@dataclass(frozen=True)
class Framing:
    """How samples become frames: rate in Hz, window and hop in samples."""

    rate: int
    window: int
    hop: int


@dataclass(frozen=True)
class PhonedRows:
    """Rows with a phone track each, by id. Decoded audio stays in memory as 16-bit numbers."""

    manifest: Manifest
    tracks: Mapping[str, PhoneTrack]
    framing: Framing
    speakers: Vocabulary
    rows: tuple[Row, ...] = field(init=False)
    _kept: dict[int, Kept] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.manifest.rows()))

    def __len__(self) -> int:
        return len(self.rows)

    def sound(self, place: int) -> tuple[Samples, Labels]:
        """Samples and their labels, both [N]. Raises `AudioError`, `DataError`."""
        row = self.rows[place]
        if place not in self._kept:
            path, start_s = self.manifest.resolve(row), row.start or 0.0
            self._kept[place] = Kept.of(load(path, self.framing.rate, row.channel, start_s, row.end).samples)
        samples = self._kept[place].samples()
        track = self.tracks.get(row.id)
        if track is None:
            raise DataError("has no phone track", where=row.id, fix="Give every row one.")
        try:
            return samples, track.sample_labels(len(samples), self.framing.rate)
        except DataError as error:
            raise DataError(error.what, where=row.id, fix=error.fix) from None

    def batch(self, sounds: Sequence[tuple[Samples, Labels]], places: Sequence[int]) -> Batch:
        """Equally long sounds as one batch."""
        waveforms = torch.from_numpy(np.stack([samples for samples, _ in sounds]).astype(np.float32))
        framed = [frame_labels(labels, self.framing.window, self.framing.hop) for _, labels in sounds]
        speakers = [self.speakers.index(self.rows[place].speaker) for place in places]
        targets = Targets(speaker=torch.tensor(speakers), phones=torch.from_numpy(np.stack(framed)))
        lengths = torch.full((len(sounds),), waveforms.shape[1])
        return Batch(waveforms, lengths, targets, tuple(self.rows[place].id for place in places), self.framing.rate)


class WholeRows:
    """Every row once, whole, a batch each, in order: for dev."""

    def __init__(self, rows: PhonedRows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Batch]:
        for place in range(len(self._rows)):
            yield self._rows.batch([self._rows.sound(place)], [place])


class PairOrder:
    """Which two rows of which speakers stand in which batch: a function of (seed, epoch).

    All speakers in random order, then all again; no speaker stands in a batch twice. The two rows are different ones
    where the speaker has several.
    """

    def __init__(self, classes: Sequence[int], speakers_a_batch: int, seed: int, draws: int) -> None:
        self._rows = [np.flatnonzero(np.array(classes) == k) for k in sorted(set(classes))]
        self._size = min(speakers_a_batch, len(self._rows))
        self._seed = seed
        self.count = max(1, round(draws / (2 * self._size)))
        if self._size < 2:
            raise DataError("traits are compared between speakers, and there is one", fix="Give two speakers at least.")

    def batches(self, epoch: int) -> list[list[Pair]]:
        """Of an epoch: pairs of row indices."""
        rng = np.random.default_rng([self._seed, epoch])
        found: list[list[Pair]] = []
        while len(found) < self.count:
            order = rng.permutation(len(self._rows))
            for start in range(0, len(order) - self._size + 1, self._size):
                found.append([self._pair(rng, int(speaker)) for speaker in order[start : start + self._size]])
        return found[: self.count]

    def _pair(self, rng: np.random.Generator, speaker: int) -> Pair:
        first, second = rng.choice(self._rows[speaker], 2, replace=len(self._rows[speaker]) < 2)
        return int(first), int(second)


class PairBatches:
    """`TrainData`: first and second utterances lie side by side, at even and odd places."""

    def __init__(self, rows: PhonedRows, recipe: SpeakerTraitsRecipe) -> None:
        assert recipe.audio.crop_s is not None
        self._rows = rows
        classes = [rows.speakers.index(row.speaker) for row in rows.rows]
        self._order = PairOrder(classes, recipe.loop.batch_size // 2, recipe.seed, recipe.draws or len(rows))
        self._crop = round(recipe.audio.crop_s * recipe.audio.rate)
        made_of = recipe.perturbations
        self._perturb: Perturb | None = SeriesConfig(components=made_of).build() if made_of else None
        self._seed, self._workers = recipe.seed, recipe.loop.workers

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self._order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterable[Batch]:
        """The batches at these places of the epoch's order."""
        pairs = self._order.batches(epoch)
        batches = _Epoch(self._rows, pairs, self._crop, self._perturb, (self._seed, epoch))
        return DataLoader(batches, batch_size=None, sampler=list(places), num_workers=self._workers)


@dataclass(frozen=True)
class _Epoch(Dataset[Batch]):
    rows: PhonedRows
    pairs: list[list[Pair]]
    crop: int
    perturb: Perturb | None
    key: tuple[int, int]  # seed and epoch

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, place: int) -> Batch:
        rows = [row for pair in self.pairs[place] for row in pair]
        sounds = [self._cropped(row, f"{place}/{number}") for number, row in enumerate(rows)]
        return self.rows.batch(sounds, rows)

    def _cropped(self, row: int, draw: str) -> tuple[Samples, Labels]:
        rng = item_rng(*self.key, f"{self.rows.rows[row].id}/{draw}")
        samples, labels = self.rows.sound(row)
        places = crop_places(len(samples), self.crop, rng)
        cut = samples[places]
        if self.perturb is not None:
            cut = self.perturb(cut, self.rows.framing.rate, rng)
            if len(cut) != self.crop:
                raise RecipeError("a perturbation changes the length, which moves phones away from their labels")
        return cut, labels[places]


def crop_places(samples: int, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which samples [length] a random crop takes, of what is shorter all again and again; labels are cut alike."""
    if samples < length:
        return np.arange(length) % samples
    return np.arange(length) + int(rng.integers(0, samples - length + 1))
