"""Rows become batches for training.

    data = UtteranceDataset(manifest, UtteranceOptions(crop_s=4.0), speakers=Vocabulary.of(manifest, "speaker"))
    order = LengthBucketSampler(data.durations_s, batch_size=16, seed=1)
    for epoch in range(10):
        data.set_epoch(epoch), order.set_epoch(epoch)
        for batch in DataLoader(data, batch_sampler=order, collate_fn=collate, num_workers=2): ...

All that is random is drawn from (seed, epoch, id of the row) or (seed, epoch): neither the number of workers nor an
interruption changes what the network sees. To resume within an epoch: `order.set_epoch(epoch, start=batches_done)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from earwitness.audio.perturb.base import item_rng
from earwitness.audio.perturb.simple import SpeedConfig
from earwitness.audio.reading import load
from earwitness.audio.recording import Samples
from earwitness.audio.speech import SpeechRule, trim_silence
from earwitness.core.errors import AudioError, DataError
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.quality import QualityLevels

Perturb = Callable[[Samples, int, np.random.Generator], Samples]


@dataclass(frozen=True)
class UtteranceOptions:
    """How rows become samples: load, trim, crop, perturb, level; then the crop's length is made exact again.

    What is shorter than `crop_s` is repeated until it fills; with `short` keep it stays as it is. With `perturb` file
    the whole file is perturbed and then cropped, as RawBoost is meant; that costs more. With `twins` every item has its
    clean form too, of the same crop and speed.
    """

    rate: int = 16_000  # Hz
    crop_s: float | None = None  # None: the whole utterance
    crop_from: Literal["anywhere", "start"] = "anywhere"
    short: Literal["repeat", "keep"] = "repeat"
    trim: SpeechRule | Literal["silero", "energy"] | None = None  # leading and trailing silence, by this rule
    perturbation: Perturb | None = None
    perturb: Literal["crop", "file"] = "crop"
    twins: bool = False
    level_dbfs: float | None = None  # RMS level to scale to; None leaves it
    speeds: tuple[float, ...] = (1.0,)  # equally likely; speaker k of N at speed i is the class k + i N
    keep_in_memory: bool = False  # decoded audio as 16-bit numbers, in each worker
    seed: int = 0


@dataclass(frozen=True)
class Vocabulary:
    """Names and their class indices: the index of a name is its place in sorted order."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if list(self.names) != sorted(set(self.names)):
            raise DataError("a vocabulary's names must be sorted and distinct", fix="Use Vocabulary.of.")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, manifest: Manifest, column: str) -> Vocabulary:
        """The distinct values of a column. Raises `DataError` where there are none."""
        if column not in manifest.table.columns or manifest.table[column].null_count() == len(manifest):
            raise DataError(f"no row has a {column}", fix="Choose another column, or fill it.")
        return cls(tuple(sorted(manifest.table[column].drop_nulls().cast(pl.String).unique())))

    def index(self, name: str | None) -> int:
        """The class index; -1 for None and for names that are not in it."""
        return -1 if name is None else self._indices.get(name, -1)

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}


@dataclass(frozen=True)
class Utterance:
    """One loaded row: `samples` float32 [N] and its targets in the convention of `Targets`; with a twin, `samples` are
    clean and `augmented` float32 [N'] the same perturbed.
    """

    id: str
    samples: Tensor
    rate: int
    label: int
    speaker: int
    age: float
    emotion: int
    quality: int = -1
    sound: int = -1
    sex: int = -1
    whole: bool = True
    augmented: Tensor | None = None


class UtteranceDataset(Dataset[Utterance]):
    """Map-style access to rows. A file that cannot be read raises `AudioError` naming it: nothing is skipped."""

    def __init__(
        self,
        manifest: Manifest,
        options: UtteranceOptions = UtteranceOptions(),
        speakers: Vocabulary | None = None,
        emotions: Vocabulary | None = None,
        quality: QualityLevels | None = None,
        sounds: Mapping[str, int] | None = None,
    ) -> None:
        self.manifest = manifest
        self.sounds = sounds or {}  # class of sound by id of the row
        self.options = options
        self.speakers = speakers
        self.emotions = emotions
        self.quality = quality
        self._rows = list(manifest.rows())
        self._played = [SpeedConfig(factors=(speed,)).build() for speed in options.speeds]
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # seen by workers that are already running
        self._kept: dict[int, Kept] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def set_epoch(self, epoch: int) -> None:
        """Random crops and perturbations are drawn anew for each epoch."""
        self._epoch.fill_(epoch)

    def drawn_anew(self, view: int) -> UtteranceDataset:
        """The same rows with other crops and perturbations; what is kept in memory is kept once."""
        other = copy(self)
        other.options = replace(self.options, seed=self.options.seed + (view << 32))
        return other

    @property
    def durations_s(self) -> list[float]:
        """What the manifest says of each row's length. Raises `DataError` where it says nothing."""
        return [_duration(row) for row in self._rows]

    def __getitem__(self, index: int) -> Utterance:
        row = self._rows[index]
        rng = item_rng(self.options.seed, int(self._epoch), row.id)
        speed = 0 if len(self._played) == 1 else int(rng.integers(len(self._played)))
        samples = self._samples(index, row)
        (first, *others), changed = self._prepared(samples, rng, speed)
        return Utterance(
            id=row.id,
            samples=_tensor(first),
            augmented=_tensor(others[0]) if others else None,
            rate=self.options.rate,
            label={"bonafide": 1, "spoof": 0}.get(row.label or "", -1),
            speaker=self._speaker_class(row, speed),
            age=math.nan if row.age is None else row.age,
            emotion=self.emotions.index(row.emotion) if self.emotions else -1,
            quality=-1 if self.quality is None else self.quality.of(row.id, changed, int(self._epoch)),
            sound=self.sounds.get(row.id, -1),
            sex=sex_class(row.sex),
            whole=self.options.crop_s is None or len(samples) == self._taken(samples, self.options.speeds[speed]),
        )

    def _samples(self, index: int, row: Row) -> Samples:
        """The decoded and trimmed utterance, [N]."""
        if index in self._kept:
            return self._kept[index].samples()
        path = self.manifest.resolve(row)
        recording = load(path, rate=self.options.rate, channel=row.channel, start_s=row.start or 0.0, end_s=row.end)
        samples = recording.samples
        if self.options.trim is not None:
            samples = trim_silence(samples, self.options.rate, self.options.trim)
        if len(samples) == 0:
            raise AudioError("holds nothing to learn from", where=path, fix="Remove the row, or don't trim.")
        if not self.options.keep_in_memory:
            return samples
        # rounded before the first use too, so that the first epoch sees what the others see
        self._kept[index] = Kept.of(samples)
        return self._kept[index].samples()

    def _speaker_class(self, row: Row, speed: int) -> int:
        """A voice played faster or slower sounds like another one, and is learnt as another (arXiv 2210.17016)."""
        if self.speakers is None or (place := self.speakers.index(row.speaker)) < 0:
            return -1
        return place + speed * len(self.speakers)

    def _taken(self, samples: Samples, factor: float) -> int:
        """How many samples a crop takes of what is played by a factor."""
        assert self.options.crop_s is not None
        taken = round(round(self.options.crop_s * self.options.rate) * factor)
        return min(taken, len(samples)) if self.options.short == "keep" else taken

    def _prepared(self, samples: Samples, rng: np.random.Generator, speed: int = 0) -> tuple[list[Samples], bool]:
        """The item as the network hears it, with `twins` clean and then perturbed; and whether its one form is other
        than clean."""
        options, factor = self.options, self.options.speeds[speed]
        length = None if options.crop_s is None else round(options.crop_s * options.rate)
        taken = None if length is None else self._taken(samples, factor)
        if length is not None and taken is not None and options.short == "keep":
            length = min(length, round(taken / factor))
        start = 0 if taken is None or options.crop_from == "start" else crop_start(samples, taken, rng)
        if options.perturb == "crop" and taken is not None:
            samples, start = cropped(samples, taken, start), 0
        if factor != 1:
            start = round(start / factor)
            samples = self._played[speed](samples, options.rate, rng)
        clean = samples
        if options.perturbation is not None:
            samples = options.perturbation(samples, options.rate, rng)
        paths = [clean, samples] if options.twins else [samples]
        # where a perturbation changes the length, the crop begins at the same place of what was said
        paths = [path if length is None else cropped(path, length, _scaled(start, path, clean)) for path in paths]
        if options.level_dbfs is not None:
            paths = [levelled(path, options.level_dbfs) for path in paths]
        changed = samples is not clean and not np.array_equal(samples, clean)
        return paths, changed and not options.twins


@dataclass(frozen=True)
class Kept:
    """Samples as 16-bit numbers, with the factor by which they pass full scale."""

    numbers: NDArray[np.int16]
    scale: float

    @classmethod
    def of(cls, samples: Samples) -> Kept:
        scale = max(1.0, float(np.abs(samples).max()))
        return cls(np.rint(samples * (32_767 / scale)).astype(np.int16), scale)

    def samples(self) -> Samples:
        return self.numbers.astype(np.float32) * np.float32(self.scale / 32_767)


def sex_class(written: str | None) -> int:
    """The place in `SEXES` of a manifest's word (f, female, female_feminine, M, ...); -1 for none and for any other."""
    first = (written or "").strip().lower().split("_")[0]
    return {"f": 0, "female": 0, "m": 1, "male": 1}.get(first, -1)


def crop_start(samples: Samples, length: int, rng: np.random.Generator) -> int:
    """Where a random crop of `length` samples begins; 0 for what is shorter."""
    return 0 if len(samples) < length else int(rng.integers(0, len(samples) - length + 1))


def cropped(samples: Samples, length: int, start: int = 0) -> Samples:
    """`length` samples from `start`, or from as near to it as there are so many; what is shorter is repeated until it
    fills.
    """
    if len(samples) < length:
        return np.resize(samples, length)
    start = min(start, len(samples) - length)
    return samples[start : start + length]


def _scaled(place: int, samples: Samples, before: Samples) -> int:
    """A place in `before` as a place in what was made of it."""
    return place if len(samples) == len(before) else round(place * len(samples) / len(before))


def _tensor(samples: Samples) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))


def levelled(samples: Samples, level_dbfs: float) -> Samples:
    """Scaled to an RMS level in dB below full scale; silence stays silence."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return samples if rms == 0 else (samples * np.float32(10 ** (level_dbfs / 20) / rms)).astype(np.float32)


def _duration(row: Row) -> float:
    if row.end is not None:
        return row.end - (row.start or 0.0)
    if row.duration_s is None:
        raise DataError("has no `duration_s`", where=row.id, fix="Fill it in (earwitness corpus import does).")
    return row.duration_s if row.start is None else max(row.duration_s - row.start, 0.0)


def collate(items: Sequence[Utterance]) -> Batch:
    """Items as one batch, padded with zeros to the longest; items with twins as a batch of two paths, all clean ones
    first.
    """
    twins = [replace(item, samples=item.augmented, augmented=None) for item in items if item.augmented is not None]
    if twins and len(twins) < len(items):
        raise DataError("some items of a batch have a twin and some have none")
    paths = 2 if twins else 1
    items = [*items, *twins]
    lengths = torch.tensor([len(item.samples) for item in items])
    waveforms = torch.zeros(len(items), int(lengths.max()))
    for place, item in enumerate(items):
        waveforms[place, : len(item.samples)] = item.samples
    targets = Targets(
        label=torch.tensor([item.label for item in items]),
        speaker=torch.tensor([item.speaker for item in items]),
        age=torch.tensor([item.age for item in items], dtype=torch.float32),
        emotion=torch.tensor([item.emotion for item in items]),
        quality=torch.tensor([item.quality for item in items]),
        sound=torch.tensor([item.sound for item in items]),
        sex=torch.tensor([item.sex for item in items]),
        whole=torch.tensor([item.whole for item in items]),
    )
    return Batch(waveforms, lengths, targets, tuple(item.id for item in items), items[0].rate, paths)
