"""One embedding a speaker: the unit mean of the unit embeddings of her utterances, and how well these agree (2.2)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.core.writing import write_atomically
from earwitness.speaker.comparison import Vectors, unit

ARRAYS = ("ids", "vectors", "norm", "n_utt", "purity")


class AveragingConfig(Config):
    """Which utterances make a speaker's embedding: `least` to `most`, of `seconds` each, the loudest first.

    Speakers whose `purity` is below are refused: one name for several voices, or the wrong name. All values are ours;
    the paper says that embeddings are averaged.
    """

    least: int = Field(5, ge=1)
    most: int = Field(50, ge=1)
    seconds: tuple[float, float] = (3.0, 10.0)
    purity: float = Field(0.5, ge=0, le=1)


@dataclass(frozen=True)
class SpeakerVectors:
    """Speakers by sorted `ids`: unit `vectors` [n, D], `norm` [n] the mean length of an utterance's embedding, `n_utt`
    [n] and `purity` [n], the length of the mean of the unit vectors, 0 to 1.

    Raises `DataError` where the arrays do not fit, or the ids are not sorted and distinct.
    """

    ids: tuple[str, ...]
    vectors: Vectors
    norm: NDArray[np.float32]
    n_utt: NDArray[np.int32]
    purity: NDArray[np.float32]

    def __post_init__(self) -> None:
        if list(self.ids) != sorted(set(self.ids)):
            raise DataError("speakers must be sorted and distinct")
        if self.vectors.ndim != 2 or any(len(part) != len(self.ids) for part in self._parts()):
            raise DataError(f"{len(self.ids)} speakers need as many vectors, lengths, counts and purities")

    def __len__(self) -> int:
        return len(self.ids)

    def scaled(self, speaker: str) -> Vectors:
        """A speaker's vector [D] at the length of her utterances' embeddings: what a synthesiser is given."""
        place = self.ids.index(speaker)
        return np.asarray(self.vectors[place] * self.norm[place], np.float32)

    def only(self, speakers: Sequence[str]) -> SpeakerVectors:
        """These speakers. Raises `DataError` for one who is not there."""
        places = {name: place for place, name in enumerate(self.ids)}
        if unknown := sorted(set(speakers) - set(places)):
            raise DataError(f"there is no embedding of speaker '{unknown[0]}'")
        rows = [places[name] for name in sorted(set(speakers))]
        names = tuple(self.ids[row] for row in rows)
        return SpeakerVectors(names, self.vectors[rows], self.norm[rows], self.n_utt[rows], self.purity[rows])

    def write(self, path: str | Path) -> None:
        """As `.npz` of plain arrays, whole or not at all; equal vectors give equal bytes."""
        buffer = io.BytesIO()
        values = (np.array(self.ids, dtype=np.str_), *self._parts())
        np.savez(buffer, allow_pickle=False, **dict(zip(ARRAYS, values, strict=True)))
        write_atomically(path, buffer.getvalue())

    @classmethod
    def read(cls, path: str | Path) -> SpeakerVectors:
        """From a file that `write` made; nothing is unpickled. Raises `DataError`."""
        try:
            with np.load(path, allow_pickle=False) as file:
                ids, *parts = (file[name] for name in ARRAYS)
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"holds no speaker vectors ({error})", where=path) from None
        return cls(tuple(str(name) for name in ids), *parts)

    def _parts(self) -> tuple[NDArray[Any], ...]:
        return self.vectors, self.norm, self.n_utt, self.purity


@dataclass(frozen=True)
class Averaged:
    """Speakers who have an embedding, and those who were refused, each with the reason."""

    speakers: SpeakerVectors
    refused: dict[str, str]


def averaged(embeddings: Mapping[str, Vectors], config: AveragingConfig) -> Averaged:
    """The embedding of every speaker from those of her utterances, [n, D] each."""
    kept: dict[str, tuple[Vectors, float, int, float]] = {}
    refused: dict[str, str] = {}
    for speaker, vectors in sorted(embeddings.items()):
        if len(vectors) < config.least:
            low, high = config.seconds
            refused[speaker] = f"fewer than {config.least} utterances of {low:g} to {high:g} s"
            continue
        mean = unit(vectors).mean(axis=0, dtype=np.float64)
        purity = float(np.linalg.norm(mean))
        if purity < config.purity:
            refused[speaker] = f"purity below {config.purity:g}: more than one voice, or a wrong name"
            continue
        norm = float(np.linalg.norm(vectors, axis=1).mean())
        kept[speaker] = (unit(mean.astype(np.float32)), norm, len(vectors), purity)
    return Averaged(table_of(kept), refused)


def table_of(rows: Mapping[str, tuple[Vectors, float, int, float]]) -> SpeakerVectors:
    """Rows (unit vector, norm, utterances, purity) by speaker as one table."""
    ids = tuple(sorted(rows))
    columns = [np.array([rows[name][place] for name in ids]) for place in range(4)]
    return SpeakerVectors(
        ids,
        columns[0].reshape(len(ids), -1 if ids else 0).astype(np.float32),
        columns[1].astype(np.float32),
        columns[2].astype(np.int32),
        columns[3].astype(np.float32),
    )
