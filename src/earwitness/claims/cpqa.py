"""CPQA's claim (arXiv 2505.13338; the method is a reconstruction): where the sentiment of a class and a valence agree,
the class is right more often.

Two experiments in one. *Planted*: labels and valences are drawn, so the truth is known; 40 % of the labels are flipped.
*Acted*: a recogniser is asked about acted emotions of speakers whom it never learnt from. Every arm says which labels
it keeps; its error is of those alone, and what it pays for it, the share that is kept, stands beside it. The controls
keep as many: drawn at random, or those of the highest probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.audio.reading import RATE, load
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.claims.store import Store
from earwitness.core.errors import DataError, MetricError
from earwitness.core.hashing import sha256_data
from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits.grouping import draw
from earwitness.evaluation.loading import load_emotions
from earwitness.evaluation.recognising import OwnRecogniser
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.classification import Confusion
from earwitness.metrics.scores import Floats
from earwitness.paralinguistic.labels import named_corpus
from earwitness.speech_llm.cpqa.classes import CLASSES, LABELLED, canonical
from earwitness.speech_llm.cpqa.filters import Thresholds, drop_of_window, normalised_entropy
from earwitness.speech_llm.cpqa.planted import PlantedConfig, left_at_random, plant
from earwitness.speech_llm.cpqa.recognisers import ValenceFromClasses
from earwitness.speech_llm.cpqa.sweeping import Guess, best, sweep

CORPUS = "nemo"
"""The acted corpus that the shipped emotion model did not learn from."""
RECOGNISER = "emotion"
WINDOW_S = 4.0
PLANTED = PlantedConfig(windows=2000)
DROPPED, NOT_ASKED = -1.0, -2.0
"""Scores of rows that an arm leaves out, and of those of the other experiment; others are places in `LABELLED`."""
Places = NDArray[np.int64]


@dataclass(frozen=True)
class CondensedMaterial:
    """Acted rows, the sha256 of their audio, where they come from, and the folder where probabilities are kept."""

    rows: Manifest
    hashes: tuple[str, ...]
    source: str
    folder: Path

    @classmethod
    def read(cls, manifest: str | Path, folder: str | Path) -> CondensedMaterial:
        """From a manifest in the form of `corpus import`. Raises `DataError` where the corpus is not in it."""
        table = Manifest.read(manifest)
        if "corpus" not in table.table.columns:
            raise DataError("rows have no `corpus`", where=manifest, fix="Give one as `corpus import` writes it.")
        named = [name for name in table.table["corpus"].drop_nulls().unique() if named_corpus(name) == CORPUS]
        rows = table.filter(pl.col("corpus").is_in(named) & pl.col("speaker").is_not_null())
        rows = rows.filter(pl.col("emotion").map_elements(_is_labelled, return_dtype=pl.Boolean, skip_nulls=True))
        if not len(rows):
            raise DataError(f"holds nothing of {CORPUS}", where=manifest, fix="Give a manifest with that corpus.")
        return cls(rows, tuple(audio_hashes(rows)), str(manifest), Path(folder))

    @property
    def key(self) -> str:
        """Of audio, labels, the recogniser and what is planted."""
        table = self.rows.table
        told = [table["speaker"].to_list(), table["emotion"].to_list(), _recogniser_key(), self.settings]
        return sha256_data([list(self.hashes), told])

    @property
    def inputs(self) -> dict[str, str]:
        """The table and the audio."""
        return {"rows": self.rows.sha256, "audio": sha256_data(list(self.hashes))}

    @property
    def settings(self) -> dict[str, Any]:
        """What is planted, and how recordings are heard."""
        return {"planted": PLANTED.model_dump(mode="json"), "window_s": WINDOW_S, "recogniser": RECOGNISER}

    @property
    def licences(self) -> list[str]:
        """Of all rows, sorted."""
        return sorted(set(self.rows.table["licence"].drop_nulls()))

    @cached_property
    def truth(self) -> Places:
        """Places in `LABELLED`, [R]."""
        return np.array([_place(str(name)) for name in self.rows.table["emotion"]])

    @cached_property
    def speakers(self) -> NDArray[np.str_]:
        """Of each row."""
        return self.rows.table["speaker"].to_numpy().astype(str)

    @cached_property
    def probabilities(self) -> Floats:
        """Of each row over `CLASSES`, [R, 9]; computed where they are not kept yet."""
        store = Store(self.folder / f"cpqa-{self.key[:16]}", len(self.rows), {"shares": (len(CLASSES),)})
        store.fill(self._heard, 16, "recognising")
        return np.asarray(store.arrays[0], np.float64)

    def tuning(self, seed: int) -> NDArray[np.bool_]:
        """Which rows thresholds are chosen on: half of the speakers, drawn by seed; the others are tested."""
        names = sorted(set(self.speakers.tolist()), key=lambda name: draw(seed, name))
        return np.isin(self.speakers, names[: len(names) // 2])

    def tested(self, seeds: Sequence[int]) -> TestedGuesses:
        """The planted windows and the acted rows of these seeds."""
        return TestedGuesses.of(self, seeds)

    def _heard(self, parts: Sequence[Sequence[int]]) -> Iterator[tuple[NDArray[np.float16], ...]]:
        recogniser = OwnRecogniser(load_emotions(RECOGNISER))
        size = round(WINDOW_S * RATE)
        for part in parts:
            rows = [self.rows.row(place) for place in part]
            waves = [load(self.rows.resolve(row), RATE, row.channel, row.start or 0.0, row.end).samples for row in rows]
            windows = np.stack([np.resize(wave, size) for wave in waves])  # shorter ones repeated, as the model does
            yield (recogniser.probabilities(windows).astype(np.float16),)


@dataclass(frozen=True)
class TestedGuesses:
    """`Tested`: of each seed the planted windows, then the acted rows of the speakers who are tested."""

    truths: tuple[Places, ...]
    planted: int
    units: Units
    words: str
    measure: str = "100 - UWA of what is kept"
    definition: str = (
        "per cent, 100 minus the mean recall of the classes that occur among the labels that an arm keeps; mean over "
        "seeds; units: planted windows of a seed in hundreds, speakers"
    )

    @classmethod
    def of(cls, material: CondensedMaterial, seeds: Sequence[int]) -> TestedGuesses:
        """Planted windows are drawn in groups of a hundred of one seed, acted rows by speaker."""
        truths, planted_units, speakers = [], [], []
        for seed in seeds:
            rows = ~material.tuning(seed)
            truths.append(np.concatenate([plant(PLANTED, seed).truth, material.truth[rows]]))
            planted_units.append([f"{seed} {number // 100}" for number in range(PLANTED.windows)])
            speakers.append(material.speakers[rows].tolist())
        return cls(tuple(truths), PLANTED.windows, *_units(planted_units, speakers))

    def count(self, place: int) -> int:
        """Planted windows and rows of the seed at this place."""
        return len(self.truths[place])

    def error(self, place: int, scores: Floats) -> Callable[[Floats], float]:
        """100 - UWA of the labels that are kept."""
        start = sum(len(found) for found in self.truths[:place])
        kept = np.flatnonzero(scores >= 0)
        units = self.units.take(start + kept)
        size = len(LABELLED)
        cells = self.truths[place][kept] * size + scores[kept].astype(np.int64)

        def measured(counts: Floats) -> float:
            weights = units.weights(counts)
            if not weights.any():
                raise MetricError("nothing that is kept was drawn")
            matrix = np.bincount(cells, weights, minlength=size**2).reshape(size, size).astype(np.float64)
            return 100 * (1 - Confusion(LABELLED, matrix).ua)

        return measured


@dataclass(frozen=True)
class CpqaClaim:
    """`planted`: arms of the first experiment; the others are of the second."""

    plan: Plan

    read = CondensedMaterial.read

    def run(self, arm: str, seed: int, material: CondensedMaterial, folder: Path) -> ArmRun:
        """Say which labels are kept; nothing is learnt but the thresholds of `acted-tuned`."""
        rows = ~material.tuning(seed)
        if arm.startswith("planted"):
            scores, truth = _planted(arm, seed)
            acted = np.full(int(rows.sum()), NOT_ASKED)
            return ArmRun(np.concatenate([scores, acted]), tuple(_told(scores, truth)))
        scores, extra = _acted(arm, seed, material)
        planted = np.full(PLANTED.windows, NOT_ASKED)
        return ArmRun(np.concatenate([planted, scores]), (*_told(scores, material.truth[rows]), *extra))


def _planted(arm: str, seed: int) -> tuple[Floats, Places]:
    found = plant(PLANTED.model_copy(update={"independent": "independent" in arm}), seed)
    if arm.endswith("all"):
        kept = np.ones(PLANTED.windows, np.bool_)
    else:
        kept = found.at_random if arm.endswith("random") else found.kept
    return np.where(kept, found.called, DROPPED).astype(np.float64), found.truth


def _acted(arm: str, seed: int, material: CondensedMaterial) -> tuple[Floats, tuple[Figure, ...]]:
    tuning = material.tuning(seed)
    guesses = guesses_of_acted(material)
    called = np.array([LABELLED.index(one.emotion) for one in guesses])
    sure = material.probabilities.max(axis=1)
    published = _kept(guesses, Thresholds())[~tuning]
    extra: tuple[Figure, ...] = ()
    if arm == "acted-all":
        kept = np.ones(int((~tuning).sum()), np.bool_)
    elif arm == "acted-kept":
        kept = published
    elif arm == "acted-tuned":
        chosen = best(sweep([one for one, inside in zip(guesses, tuning, strict=True) if inside]), 0.3).thresholds
        kept = _kept(guesses, chosen)[~tuning]
        extra = (Figure("x", chosen.upper), Figure("y", chosen.lower))
    elif arm == "acted-random":
        kept = left_at_random(called[~tuning], published, np.random.default_rng([seed, 6]))
    else:
        kept = np.zeros(len(published), np.bool_)
        kept[np.argsort(-sure[~tuning], kind="stable")[: int(published.sum())]] = True
    return np.where(kept, called[~tuning], DROPPED).astype(np.float64), extra


def guesses_of_acted(material: CondensedMaterial) -> list[Guess]:
    """What the recogniser says of each acted row, with the truth; valence is made of its classes."""
    shares = material.probabilities
    valence = ValenceFromClasses().dimensions(np.empty((0, 0), np.float32), shares)[:, 0]
    called = [CLASSES[place] for place in shares.argmax(axis=1)]
    rows = zip(called, valence, material.truth, strict=True)
    return [Guess(name, float(value), LABELLED[place]) for name, value, place in rows]


def _kept(guesses: Sequence[Guess], thresholds: Thresholds) -> NDArray[np.bool_]:
    return np.array([drop_of_window(one.emotion, one.valence, thresholds) is None for one in guesses])


def _told(scores: Floats, truth: Places) -> Iterator[Figure]:
    kept = scores >= 0
    counts = {name: int((scores == place).sum()) for place, name in enumerate(LABELLED)}
    yield Figure("kept, %", 100 * float(kept.mean()))
    yield Figure("right of the kept, %", 100 * float((scores[kept] == truth[kept]).mean()))
    yield Figure("entropy of the kept", normalised_entropy(counts))


def _units(planted: Sequence[Sequence[str]], speakers: Sequence[Sequence[str]]) -> tuple[Units, str]:
    """Groups of planted windows and speakers are drawn apart; rows are in the order of seeds, planted ones first."""
    drawn = Units.of([name for seed in planted for name in seed], "hundred planted windows")
    heard = Units.of([name for seed in speakers for name in seed], "speaker")
    codes, at, of = [], 0, 0
    for one, two in zip(planted, speakers, strict=True):
        codes += [drawn.codes[at : at + len(one)], drawn.count + heard.codes[of : of + len(two)]]
        at, of = at + len(one), of + len(two)
    words = f"{at} planted windows, and {of} tests of recordings of {CORPUS} by {heard.count} speakers"
    return Units("hundred windows x speaker", np.concatenate(codes), (*drawn.blocks, *heard.blocks)), words


def _is_labelled(name: str) -> bool:
    return canonical(name) in LABELLED


def _place(name: str) -> int:
    found = canonical(name)
    assert found is not None
    return LABELLED.index(found)


def _recogniser_key() -> str:
    return OwnRecogniser(load_emotions(RECOGNISER)).id


ARMS: Mapping[str, str] = {
    "planted-all": "planted: all labels, 40 % of them flipped",
    "planted-kept": "planted: those whose valence agrees, x = 0.5, y = 0.4",
    "planted-random": "planted: as many of each label, drawn at random",
    "planted-independent-kept": "planted, valences shuffled: those whose valence agrees",
    "planted-independent-random": "planted, valences shuffled: as many of each label, drawn at random",
    "acted-all": "acted: all labels",
    "acted-kept": "acted: those whose valence from classes agrees, x = 0.5, y = 0.4",
    "acted-tuned": "acted: the same, thresholds chosen on other speakers with at least 30 % kept",
    "acted-sure": "acted: as many as acted-kept, of the highest probability",
    "acted-random": "acted: as many of each label as acted-kept, drawn at random",
}
CLAIM = CpqaClaim(
    Plan(
        name="cpqa",
        source="arXiv 2505.13338, a reconstruction",
        statement="Keeping the labels whose class and valence agree leaves labels that are right more often.",
        arms=tuple(Arm(name, words) for name, words in ARMS.items()),
        expected=(
            Expected("planted-kept", "planted-all", "agreement helps where valence knows the truth"),
            Expected("planted-kept", "planted-random", "and it is not the dropping that helps"),
            Expected(
                "planted-independent-kept",
                "planted-independent-random",
                "agreement helps where valence is independent (a control: it must not be seen)",
            ),
            Expected("acted-kept", "acted-all", "agreement helps on acted emotions"),
            Expected("acted-kept", "acted-random", "and it is not the dropping that helps"),
            Expected("acted-kept", "acted-sure", "agreement helps more than confidence"),
            Expected("acted-tuned", "acted-kept", "thresholds chosen on other speakers help"),
        ),
        notes=(
            "A reconstruction: the paper's inequalities, its recognisers and its labelled television speech are not "
            "here. Its own figure (33.65 % UWA) is of other data and other recognisers.",
            "Acted: the shipped model `emotion`, which learnt from EmoDB (German) and never from nEMO (Polish), the "
            "corpus of this test, whose licence allows no commercial use. One window of 4 s a recording, a shorter one "
            "repeated. The model cannot answer `surprised`, which is a sixth of the recordings.",
            "Acted: no valence model is at hand, so valence is made of the model's own class probabilities. It hears "
            "nothing of its own; acted-kept against acted-sure says whether it is more than a threshold on confidence.",
            "Each seed tests three of six speakers and chooses thresholds on the others, by UWA over the grid of "
            "`earwitness qa sweep`. An arm that keeps fewer labels may keep none of a class; the mean is then over "
            "fewer classes.",
        ),
    )
)
