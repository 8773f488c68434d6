"""Who says what when: the phones of a recording, and the labels of its samples and frames (arXiv 2501.05729)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import DataError
from earwitness.speaker.phones.inventory import NONE, Inventory
from earwitness.speaker.phones.symbols import Reading

Labels = NDArray[np.int64]
TOO_LONG_S = 0.1  # aligners round the end up; what ends later is of another recording


@dataclass(frozen=True)
class Maker:
    """Where a track comes from: `name` of a recogniser with its version, or of a folder; `language` as far as known."""

    kind: Literal["files", "recogniser", "clusters"]
    name: str
    language: str = "not stated"

    @property
    def words(self) -> str:
        """As reports say it; clusters are never called phones."""
        if self.kind == "clusters":
            return f"pseudo-phones ({self.name}): clusters of spectra, not phones of any language"
        how = "read from files" if self.kind == "files" else "recognised"
        return f"phones {how} ({self.name}; language: {self.language})"


@dataclass(frozen=True)
class PhoneSegment:
    """From `start_s` to `end_s`, seconds; `phone` None is a sound that the inventory has no name for."""

    start_s: float
    end_s: float
    phone: str | None


@dataclass(frozen=True)
class PhoneTrack:
    """The segments of a recording in the order of their file, and who made them.

    `unmapped` counts symbols that have no phone in the inventory; their segments have none either.
    """

    segments: tuple[PhoneSegment, ...]
    inventory: Inventory
    maker: Maker
    unmapped: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of_symbols(
        cls, marks: Iterable[tuple[float, float, str | None]], reading: Reading, inventory: Inventory, maker: Maker
    ) -> PhoneTrack:
        """From start, end and symbol (None: no sound of its own, such as the end of a word)."""
        segments, unmapped = [], Counter[str]()
        for start_s, end_s, symbol in marks:
            phone = None if symbol is None else reading(symbol)
            if symbol is not None and phone is None:
                unmapped[symbol] += 1
            segments.append(PhoneSegment(start_s, end_s, phone))
        return cls(tuple(segments), inventory, maker, tuple(sorted(unmapped.items())))

    def cut(self, start_s: float, end_s: float) -> PhoneTrack:
        """The part between two times, which count from its start then."""
        inside = tuple(
            PhoneSegment(max(one.start_s, start_s) - start_s, min(one.end_s, end_s) - start_s, one.phone)
            for one in self.segments
            if one.start_s < end_s and one.end_s > start_s
        )
        return replace(self, segments=inside)

    def require_length(self, duration_s: float, where: object = None) -> None:
        """Raises `DataError` where the track goes on after the recording's end."""
        end_s = max((one.end_s for one in self.segments), default=0.0)
        if end_s > duration_s + TOO_LONG_S:
            what = f"the phone track ends at {end_s:.2f} s, the recording at {duration_s:.2f} s"
            raise DataError(what, where=where, fix="Give the track of this very recording.")

    def sample_labels(self, samples: int, rate: int) -> Labels:
        """The label of each sample [samples]: seconds times rate cut to whole numbers; where no segment is, silence.

        Where segments overlap the later one counts. Raises `DataError` as `require_length` does.
        """
        self.require_length(samples / rate)
        labels = np.full(samples, self.inventory.uncovered, np.int64)
        for one in self.segments:
            labels[int(one.start_s * rate) : int(one.end_s * rate)] = self.inventory.index(one.phone)
        return labels


def frame_labels(labels: Labels, window: int, hop: int) -> Labels:
    """The label of each analysis frame [T], T = (N - window) // hop + 1: the most frequent one among its samples [N].

    Of equally frequent ones the smallest, but no phone (-1) only where no phone is as frequent.

    >>> frame_labels(np.array([1, 1, 2, 2, 2, 0]), window=4, hop=2).tolist()
    [1, 2]
    """
    if len(labels) < window:
        return np.zeros(0, np.int64)
    starts = np.arange(0, len(labels) - window + 1, hop)
    best, most = np.full(len(starts), NONE, np.int64), np.zeros(len(starts), np.int64)
    there = np.unique(labels)
    for label in [*there[there != NONE], *there[there == NONE]]:
        before = np.concatenate([[0], np.cumsum(labels == label)])
        count = before[starts + window] - before[starts]
        best = np.where(count > most, label, best)
        most = np.maximum(count, most)
    return best


def seconds_of(labels: Labels, inventory: Inventory, rate: float) -> NDArray[np.float64]:
    """How long each phone of the inventory is heard [I], seconds, from labels at `rate` a second."""
    return np.bincount(labels[labels != NONE], minlength=len(inventory)) / rate


def joined(parts: Sequence[tuple[float, PhoneTrack]]) -> PhoneTrack:
    """The tracks of consecutive pieces, each with the second at which it starts, as one. At least one there must be."""
    first = parts[0][1]
    segments = tuple(
        PhoneSegment(one.start_s + start_s, one.end_s + start_s, one.phone)
        for start_s, part in parts
        for one in part.segments
    )
    unmapped: Counter[str] = Counter()
    for _, part in parts:
        unmapped.update(dict(part.unmapped))
    return replace(first, segments=segments, unmapped=tuple(sorted(unmapped.items())))


def in_random_order(labels: Labels, rng: np.random.Generator) -> Labels:
    """The stretches of equal labels in random order: the same histogram, over other sounds. The control of a track."""
    stretches = np.split(labels, np.flatnonzero(np.diff(labels)) + 1)
    return np.concatenate([stretches[place] for place in rng.permutation(len(stretches))])
