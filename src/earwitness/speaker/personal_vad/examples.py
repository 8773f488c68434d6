"""What SVVAD learns from: mixtures made on the fly, of which is known who is in them.

Everything that is drawn follows from (seed, epoch, place in the epoch), so that any stretch can be made again. When a
voice speaks is dropped where the mixture is made: it never reaches a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch.utils.data import DataLoader, Dataset

from earwitness.audio.perturb.base import item_rng
from earwitness.audio.recording import Samples
from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.batches import UtteranceDataset, crop_start, cropped
from earwitness.corpora.mixtures import Mode, Scene, mix
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.personal_vad.task import PATHS


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"a range is (low, high), and {pair[0]:g} is above {pair[1]:g}")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]


class MixingConfig(Config):
    """Ranges that each mixture draws from, evenly; lengths are the same within a batch.

    `noise_p`: the probability of noise at `snr_db`. `impostor_mixed`: that the impostors are two voices mixed as the
    mixture is, not one.
    """

    modes: tuple[Mode, ...] = Field(("concat", "overlap"), min_length=1)
    rho: Range = (0.2, 1.0)
    sir_db: Range = (-5.0, 15.0)
    snr_db: Range = (0.0, 20.0)
    noise_p: float = Field(0.5, ge=0, le=1)
    silence: Range = (0.1, 0.3)
    seconds: Range = (4.0, 8.0)
    registration_s: Range = (4.0, 6.0)
    target_s: Range = (3.0, 6.0)
    impostor_mixed: float = Field(0.5, ge=0, le=1)


class HardNegativesConfig(Config):
    """After so many steps the other voices are those nearest to the speaker among `of` random ones of the same sex."""

    after_steps: int = Field(2000, ge=0)
    of: int = Field(16, ge=2)


@dataclass(frozen=True)
class Cast:
    """The speakers of a side: the places of each one's recordings, each one's sex and corpus (None: not known), and
    where hard negatives are asked for, how alike two are [S, S].

    Voices are mixed with others of their corpus, where it has two others: elsewhere the channel would tell them apart.
    """

    places: tuple[tuple[int, ...], ...]
    sexes: tuple[str | None, ...]
    corpora: tuple[str | None, ...]
    alike: Vectors | None = None

    @classmethod
    def of(cls, data: UtteranceDataset, voices: dict[str, Vectors] | None = None) -> Cast:
        """`voices`: unit vectors of the speakers; one without any resembles nobody. Raises `DataError` for fewer than
        three speakers, or none with two recordings."""
        found: dict[str, list[int]] = {}
        sexes: dict[str, str | None] = {}
        corpora: dict[str, str | None] = {}
        table = data.manifest.table
        named = table["corpus"].to_list() if "corpus" in table.columns else [None] * table.height
        for place, (row, corpus) in enumerate(zip(data.manifest.rows(), named, strict=True)):
            if row.speaker is not None:
                found.setdefault(row.speaker, []).append(place)
                sexes[row.speaker], corpora[row.speaker] = row.sex, corpus
        names = sorted(found)
        if len(names) < 3 or all(len(places) < 2 for places in found.values()):
            fix = "Mixtures need three speakers, one of them with two recordings, on either side."
            raise DataError("too few voices to mix", where=data.manifest.root, fix=fix)
        alike = None
        if voices is not None:
            size = len(next(iter(voices.values())))
            stacked = np.stack([voices.get(name, np.zeros(size, np.float32)) for name in names])
            alike = np.asarray(stacked @ stacked.T, np.float32)
        places = tuple(tuple(found[name]) for name in names)
        return cls(places, tuple(sexes[n] for n in names), tuple(corpora[n] for n in names), alike)

    def drawn(self, rng: np.random.Generator, of: int | None) -> tuple[int, int, int, int]:
        """Two recordings of a speaker, and one of each of two others; with `of`, the nearest two among so many."""
        able = [speaker for speaker, places in enumerate(self.places) if len(places) > 1]
        speaker = able[int(rng.integers(len(able)))]
        first, second = rng.choice(len(self.places[speaker]), 2, replace=False)
        others = [place for place in range(len(self.places)) if place != speaker]
        near = [other for other in others if self.corpora[other] == self.corpora[speaker]]
        others = near if len(near) > 1 else others
        if of is not None and self.alike is not None:
            others = self._nearest(speaker, others, of, rng)
        else:
            others = [others[place] for place in rng.choice(len(others), 2, replace=False)]
        picked = [self.places[other][int(rng.integers(len(self.places[other])))] for other in others]
        return self.places[speaker][first], self.places[speaker][second], picked[0], picked[1]

    def _nearest(self, speaker: int, others: list[int], of: int, rng: np.random.Generator) -> list[int]:
        assert self.alike is not None
        same = [other for other in others if self.sexes[other] == self.sexes[speaker]]
        pool = same if len(same) > 1 else others
        some = [pool[place] for place in rng.choice(len(pool), min(of, len(pool)), replace=False)]
        return sorted(some, key=lambda other: -float(self.alike[speaker, other]))[:2]  # type: ignore[index]


@dataclass(frozen=True)
class Sizes:
    """How many examples an epoch has and a batch holds."""

    examples: int
    batch: int

    @property
    def batches(self) -> int:
        """In an epoch; the last one may be smaller."""
        return math.ceil(self.examples / self.batch)


class MixtureBatches:
    """`TrainData` of four paths (see `task`); iterated over, always the same epoch: dev data."""

    def __init__(
        self,
        data: UtteranceDataset,
        cast: Cast,
        config: MixingConfig,
        sizes: Sizes,
        seed: int,
        hard: HardNegativesConfig | None = None,
        workers: int = 0,
    ) -> None:
        self._data, self._cast, self._config = data, cast, config
        self._sizes, self._seed, self._hard, self._workers = sizes, seed, hard, workers

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self._sizes.batches

    def load(self, epoch: int, places: Sequence[int]) -> Iterable[Batch]:
        """The batches at these places."""
        asked = _Asked(self, epoch, places)
        return DataLoader(asked, batch_size=None, num_workers=self._workers, collate_fn=_as_it_is)  # type: ignore[arg-type]  # one batch, no list

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.load(0, range(self.count(0))))

    def batch(self, epoch: int, place: int) -> Batch:
        """One batch, made anew."""
        config, rate = self._config, self._data.options.rate
        first = place * self._sizes.batch
        numbers = range(first, min(first + self._sizes.batch, self._sizes.examples))
        rng = item_rng(self._seed, epoch, f"batch {place}")
        limits = (config.registration_s, config.target_s, config.seconds)
        lengths = [round(float(rng.uniform(*limit)) * rate) for limit in limits]
        hard = self._hard is not None and epoch * self.count(epoch) + place >= self._hard.after_steps
        of = self._hard.of if self._hard is not None and hard else None
        made = [self._example(item_rng(self._seed, epoch, f"mixture {n}"), lengths, of) for n in numbers]
        return _joined(made, [f"{epoch}/{number}" for number in numbers], rate)

    def _example(self, rng: np.random.Generator, lengths: Sequence[int], of: int | None) -> tuple[Samples, ...]:
        """Registration, target, mixture, impostor."""
        config, rate = self._config, self._data.options.rate
        registration, target, other, stand_in = (
            self._data[place].samples.numpy() for place in self._cast.drawn(rng, of)
        )
        noisy = rng.random() < config.noise_p
        scene = Scene(
            mode=config.modes[int(rng.integers(len(config.modes)))],
            rho=float(rng.uniform(*config.rho)),
            seconds=lengths[2] / rate,
            sir_db=float(rng.uniform(*config.sir_db)),
            snr_db=float(rng.uniform(*config.snr_db)) if noisy else None,
            silence=float(rng.uniform(*config.silence)),
        )
        alone = Scene("concat", 1.0, scene.seconds, None, scene.snr_db, scene.silence)
        of_impostors = scene if rng.random() < config.impostor_mixed else alone
        return (
            _crop(registration, lengths[0], rng),
            _crop(target, lengths[1], rng),
            mix(target, [other], scene, rate, rng).samples,
            mix(stand_in, [other], of_impostors, rate, rng).samples,
        )


class _Asked(Dataset[Batch]):
    """Some batches of an epoch, for a loader."""

    def __init__(self, batches: MixtureBatches, epoch: int, places: Sequence[int]) -> None:
        self._batches, self._epoch, self._places = batches, epoch, list(places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Batch:
        return self._batches.batch(self._epoch, self._places[index])


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _crop(samples: Samples, length: int, rng: np.random.Generator) -> Samples:
    return cropped(samples, length, crop_start(samples, length, rng))


def _joined(made: Sequence[tuple[Samples, ...]], ids: Sequence[str], rate: int) -> Batch:
    """Examples as a batch of four paths, padded to the longest of these."""
    parts = [example[path] for path in range(PATHS) for example in made]
    lengths = torch.tensor([len(part) for part in parts])
    waveforms = torch.zeros(len(parts), int(lengths.max()))
    for place, part in enumerate(parts):
        waveforms[place, : len(part)] = torch.from_numpy(part)
    return Batch(waveforms, lengths, Targets(), (*ids,) * PATHS, rate, PATHS)
