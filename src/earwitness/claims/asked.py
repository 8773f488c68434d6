"""The recordings that claims about language models that hear are tried on: acted sentences, and questions about them.

Rows, folds and kept frames are those of the claims about emotions; only EmoDB's ten sentences count, each of which is
spoken in every emotion. Every test row is asked three questions by rule (`speech_llm.training.sentences`): for its
words, for its emotion, and the contextual one that needs both. The error is that of the contextual one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.claims.emotions import EmotionMaterial
from earwitness.claims.material import Places
from earwitness.core.errors import DataError, MetricError
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.scores import Floats
from earwitness.paralinguistic.labels import CATEGORIES
from earwitness.speech_llm.training.sentences import EMOTIONS, SENTENCES, topics_of


@dataclass(frozen=True)
class AskedMaterial(EmotionMaterial):
    """Labelled rows whose sentence is known."""

    @classmethod
    def read(cls, manifest: str | Path, folder: str | Path) -> AskedMaterial:
        """From a manifest in the form of `corpus import`. Raises `DataError` where it holds none of the sentences."""
        found = EmotionMaterial.read(manifest, folder)
        table = found.rows.table
        known = table["transcript"].is_in(list(SENTENCES)) & table["emotion"].is_in(list(EMOTIONS))
        rows = np.flatnonzero(known.fill_null(False).to_numpy())
        if not len(rows):
            raise DataError("holds none of EmoDB's sentences with its transcript", where=manifest)
        return cls(found.side(rows), tuple(found.hashes[row] for row in rows), found.source, found.folder)

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """What each row says."""
        return tuple(topics_of(self.rows))

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """How each row is said."""
        return tuple(CATEGORIES[place] for place in self.labels.category)

    def tested(self, seeds: Sequence[int]) -> TestedQuestions:  # type: ignore[override]
        """The contextual question about the test rows of these seeds."""
        return TestedQuestions.about(self, [self.sides(seed).test for seed in seeds])


@dataclass(frozen=True)
class TestedQuestions:
    """`Tested`: one contextual question a test row; a score is 1 where it was answered rightly, else 0."""

    rows: tuple[Places, ...]
    units: Units  # of the rows of all seeds, one after the other
    words: str
    measure: str = "error on contextual questions"
    definition: str = (
        "share of contextual questions whose answer does not name the right one of four labels (no label counts as "
        "wrong), in per cent; mean over seeds"
    )

    @classmethod
    def about(cls, material: AskedMaterial, rows: Sequence[Places]) -> TestedQuestions:
        """Units are the speakers."""
        every = np.concatenate(rows)
        units = Units.of(material.speakers[every].tolist(), "speaker")
        return cls(tuple(rows), units, f"{len(every)} recordings of ten sentences, {units.count} speakers, EmoDB")

    def count(self, place: int) -> int:
        """Rows of the seed at this place."""
        return len(self.rows[place])

    def error(self, place: int, scores: Floats) -> Callable[[Floats], float]:
        """In per cent, of scores [N]."""
        start = sum(len(found) for found in self.rows[:place])
        units = self.units.take(np.arange(start, start + len(scores)))

        def rate(counts: Floats) -> float:
            weights = units.weights(counts)
            if not weights.any():
                raise MetricError("no speaker of a seed was drawn")
            return float(100 * (weights * (1 - scores)).sum() / weights.sum())

        return rate


@dataclass(frozen=True)
class Frames:
    """Frames [R, T, D] of all rows, and how many of each count, [R]."""

    values: NDArray[np.float16]
    counts: NDArray[np.int64]

    def of(self, row: int) -> NDArray[np.float32]:
        """The frames [T, D] of a row."""
        return self.values[row, : self.counts[row]].astype(np.float32)

    def silent(self) -> Frames:
        """The same lengths, all zeros: nothing is heard."""
        return replace(self, values=np.zeros_like(self.values))

    def exchanged(self, rows: Places, seed: int) -> Frames:
        """Each of `rows` gets the frames of another of them (a cycle in random order); the others keep theirs."""
        order = np.random.default_rng([seed, 91]).permutation(rows)
        values, counts = np.array(self.values), self.counts.copy()
        values[order], counts[order] = self.values[np.roll(order, 1)], self.counts[np.roll(order, 1)]
        return Frames(values, counts)
