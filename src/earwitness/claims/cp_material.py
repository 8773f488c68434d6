"""What the claim about CP-Bench is tried on: the small benchmark of our own, and what can be recognised of its clips.

The questions are those of `earwitness-cp-mini`, about acted emotions of ten speakers of EmoDB. Manner is recognised as
the shipped model `emotion` does it, but by heads that never heard the speaker: for each one a head learns from the
others, with every seed anew. What the frozen parts make of a recording is computed once and kept.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from earwitness.claims.cp_listeners import Known
from earwitness.claims.store import Store
from earwitness.core.errors import DataError, MetricError
from earwitness.core.hashing import sha256_data, sha256_samples
from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.samplers import BalancedSampler
from earwitness.corpora.splits import exclude_licences
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.scores import Floats
from earwitness.paralinguistic.emotion import EmotionNetwork, build_network, softmax
from earwitness.paralinguistic.emotion_losses import CATEGORY
from earwitness.paralinguistic.emotion_recipe import EmotionRecipe
from earwitness.paralinguistic.emotion_task import EmotionTask, KnownRows
from earwitness.paralinguistic.emotion_training import described
from earwitness.paralinguistic.labels import CATEGORIES, Category, Labels, read_labels
from earwitness.paralinguistic.transcripts import Spelt
from earwitness.speech_llm.bench.controls import TRANSCRIPT_TAG
from earwitness.speech_llm.bench.recordings import Recordings, Stretch
from earwitness.speech_llm.cpqa.gender import GenderGuess, PitchGender
from earwitness.speech_llm.items import Item, QuestionType, Tag
from earwitness.speech_llm.mini.building import PERSONS, build_mini
from earwitness.speech_llm.mini.chance import WORDS, tag
from earwitness.speech_llm.mini.recipe import MiniRecipe, read_recipe
from earwitness.training.left_out import KeptRows, over_kept
from earwitness.training.loop import fit, seed_run
from earwitness.training.pooled import View, pooled_vectors
from earwitness.training.recipe import read_recipe as read_training

MINI = Path("recipes/bench/earwitness-cp-mini.yaml")
EMOTION = Path("recipes/default/emotion.yaml")
VIEW: View = "clean"
GENDER = PitchGender()
NAMED: Mapping[str, Category] = {"anger": "angry", "happiness": "happy", "sadness": "sad"}
"""Emotions of the corpus that `CATEGORIES` names otherwise."""


@dataclass(frozen=True)
class BenchMaterial:
    """Items with their transcripts under a tag, the folder of their audio; the rows of the corpus (those that are asked
    about, and all that an emotion head learns from), and the folder where what was recognised is kept."""

    items: tuple[Item, ...]
    root: Path
    rows: Manifest
    mini: MiniRecipe
    emotion: EmotionRecipe
    hashes: tuple[str, ...]
    source: str
    folder: Path

    @classmethod
    def read(cls, manifest: str | Path, folder: str | Path) -> BenchMaterial:
        """From a manifest in the form of `corpus import`, by the two recipes, which are looked for from the current
        folder. Raises `DataError` where the manifest has not the recordings, `RecipeError` for a recipe."""
        mini = read_recipe(MINI)
        emotion: EmotionRecipe = read_training(EMOTION, EmotionRecipe)
        table = exclude_licences(Manifest.read(manifest))
        if "corpus" not in table.table.columns:
            raise DataError("rows have no `corpus`", where=manifest, fix="Give one as `corpus import` writes it.")
        rows = table.filter(pl.col("corpus") == mini.corpus, pl.col("speaker").is_not_null())
        if not len(rows):
            raise DataError(f"holds nothing of {mini.corpus}", where=manifest, fix="Give a manifest with that corpus.")
        root = Path(os.path.commonpath([rows.resolve(row).parent for row in rows.rows()]))
        items = build_mini(rows, mini, root).items
        return cls(
            tuple(with_transcript(item) for item in items),
            root,
            rows,
            mini,
            emotion,
            tuple(audio_hashes(rows)),
            str(manifest),
            Path(folder),
        )

    @property
    def key(self) -> str:
        """Of questions, audio, labels, and how the clips are listened to."""
        table = self.rows.table
        told = [table[name].to_list() for name in ("id", "speaker", "emotion")]
        return sha256_data([list(self.hashes), told, repr(self.items), self.settings])

    @property
    def inputs(self) -> dict[str, str]:
        """The table, the audio and the questions."""
        return {
            "rows": self.rows.sha256,
            "audio": sha256_data(list(self.hashes)),
            "items": sha256_data(repr(self.items)),
        }

    @property
    def settings(self) -> dict[str, Any]:
        """What is asked, and how manner is recognised."""
        learnt = self.emotion.model_dump(mode="json", exclude={"name", "notes", "data"})
        return {"mini": self.mini.model_dump(mode="json"), "emotion": learnt, "view": VIEW, "gender": GENDER.id}

    @property
    def licences(self) -> list[str]:
        """Of all rows, sorted."""
        return sorted(set(self.rows.table["licence"].drop_nulls()))

    @cached_property
    def clips(self) -> Mapping[str, Stretch]:
        """What is asked about."""
        return {item.clip_id: Stretch.of(item) for item in self.items}

    @cached_property
    def sounds(self) -> Mapping[str, str]:
        """The sha256 of the samples of each clip, as clients hear it."""
        heard = Recordings(self.root)
        return {name: sha256_samples(heard.load(stretch).samples) for name, stretch in self.clips.items()}

    @property
    def topics(self) -> Mapping[str, str]:
        """What each sentence is about, in the words of the questions."""
        return {topic.transcript: f"about {topic.about}" for topic in self.mini.topics}

    def references(self) -> dict[tuple[str, str], str]:
        """The answer by sound and question."""
        return {(self.sounds[item.clip_id], item.question): item.answer for item in self.items}

    def known(self, seed: int, *, words: bool, voice: bool) -> dict[str, Known]:
        """What is known of each clip, by its sound: the words as they are labelled, the voice as it was recognised."""
        manners = self.manners(seed) if voice else {}
        speakers = self.speakers if voice else {}
        found = {}
        for item in self.items:
            clip = item.clip_id
            about = self.topics.get(tag(item, WORDS) or "") if words else None
            found[self.sounds[clip]] = Known(about, manners.get(clip), speakers.get(clip))
        return found

    @cached_property
    def labels(self) -> Labels:
        """The rows whose emotion the recogniser has a name for."""
        return read_labels(self.rows, self.emotion.labels)

    def manners(self, seed: int) -> dict[str, dict[str, float]]:
        """How likely each manner is in each row, by the head of this seed that left its speaker out."""
        store = Store(self._place("heads", seed), len(self.rows), {"logits": (len(CATEGORIES),)})
        store.fill(partial(self._recognised, seed), len(self.rows), f"learning manners ({seed})")
        mask = self.labels.config.mask(str(self.mini.corpus))
        shares = softmax(np.where(mask, store.arrays[0].astype(np.float64), -np.inf))
        told = {adjective: NAMED.get(label, label) for label, adjective in self.mini.emotions.items()}
        places = {adjective: CATEGORIES.index(name) for adjective, name in told.items() if name in CATEGORIES}
        return {
            name: {adjective: float(row[place]) for adjective, place in places.items()}
            for name, row in zip(self.rows.table["id"], shares, strict=True)
        }

    @cached_property
    def speakers(self) -> dict[str, dict[str, float] | None]:
        """How likely a woman and a man speak in each clip, by pitch; None where the labeller is unsure."""
        store = Store(self._place("pitch", 0), len(self.clips), {"woman": ()})
        store.fill(self._pitched, 16, "listening to pitch")
        shares = store.arrays[0].astype(np.float64)
        return {
            name: None if np.isnan(share) else {PERSONS["f"]: float(share), PERSONS["m"]: 1 - float(share)}
            for name, share in zip(self.clips, shares, strict=True)
        }

    def tested(self, seeds: Sequence[int]) -> TestedItems:
        """The same items with each seed."""
        return TestedItems.of(self.items, len(seeds))

    def _place(self, what: str, seed: int) -> Path:
        return self.folder / f"cp-{what}-{self.key[:16]}-{seed}"

    def _recognised(self, seed: int, parts: Sequence[Sequence[int]]) -> Iterator[tuple[NDArray[np.float16], ...]]:
        """Logits of rows, each by a head that learnt from the other speakers."""
        vectors = pooled_vectors(self.emotion.network.build(), self.emotion, self.rows, [VIEW], self.folder / "pooled")
        speakers = self.rows.table["speaker"].to_numpy()
        logits = np.zeros((len(self.rows), len(CATEGORIES)), np.float16)
        for name in np.unique(speakers):
            place = self._place("fit", seed) / sha256_data(name)[:8]
            head = self._learnt(vectors, speakers != name, seed, place)
            own = speakers == name
            with torch.inference_mode():
                logits[own] = head(torch.from_numpy(vectors[own, 0].astype(np.float32)))[CATEGORY].half().numpy()
        shutil.rmtree(self._place("fit", seed), ignore_errors=True)
        for places in parts:
            yield (logits[list(places)],)

    def _learnt(
        self, vectors: NDArray[np.float16], others: NDArray[np.bool_], seed: int, folder: Path
    ) -> EmotionNetwork:
        """A head on the vectors of the rows that have a category and are of these speakers, as the recipe says."""
        recipe = self.emotion.model_copy(update={"seed": seed})
        known = self.rows.table["id"].is_in(self.labels.manifest.table["id"].implode()).to_numpy()
        rows = self.labels.manifest.with_table(self.labels.manifest.table.filter(others[known]))
        seed_run(seed, "init")
        info = described(recipe, self.labels, Spelt((), {}, 0))
        network = build_network(over_kept(recipe.network, vectors.shape[2]), info)
        task = EmotionTask(KnownRows.of((self.labels,), {}), recipe.losses, None, None)
        order = BalancedSampler(rows, recipe.balance, recipe.loop.batch_size, seed, recipe.draws)
        data = KeptRows.of(rows, vectors[others & known], order)
        fit(network, task, data, None, recipe, folder, resume=folder.exists())
        return network.eval()

    def _pitched(self, parts: Sequence[Sequence[int]]) -> Iterator[tuple[NDArray[np.float16], ...]]:
        """The probability of a woman, NaN where the labeller is unsure."""
        heard, clips = Recordings(self.root), list(self.clips.values())
        for part in parts:
            guesses = [GENDER.gender(heard.load(clips[place]).samples) for place in part]
            yield (np.array([_woman(guess) for guess in guesses], np.float16),)


@dataclass(frozen=True)
class TestedItems:
    """`Tested`: a score is what the judge gave an item, 0 to 100; units are clips."""

    kinds: tuple[QuestionType, ...]
    units: Units
    words: str
    measure: str = "100 - UAS"
    definition: str = (
        "per cent, 100 minus the mean over the types of question of the mean rating (0 to 100) of a type; mean over "
        "seeds; units: clips"
    )

    @classmethod
    def of(cls, items: Sequence[Item], seeds: int) -> TestedItems:
        """A clip is one unit in all seeds."""
        kinds = tuple(item.type for item in items)
        units = Units.of([item.clip_id for item in items] * seeds, "clip")
        words = f"{len(items)} questions of {len(set(kinds))} types about {units.count} clips"
        return cls(kinds, units, words)

    def count(self, place: int) -> int:
        """Items of a seed."""
        return len(self.kinds)

    def error(self, place: int, scores: Floats) -> Callable[[Floats], float]:
        """100 - UAS."""
        units = self.units.take(place * len(self.kinds) + np.arange(len(self.kinds)))
        names = sorted(set(self.kinds))
        codes = np.array([names.index(kind) for kind in self.kinds])

        def measured(counts: Floats) -> float:
            weights = units.weights(counts)
            totals = np.bincount(codes, weights)
            if not totals.all():
                raise MetricError("a type without a question was drawn")
            return float(100 - (np.bincount(codes, weights * scores) / totals).mean())

        return measured


def with_transcript(item: Item) -> Item:
    """With the words also under the tag that the harness looks for."""
    return replace(item, tags=(*item.tags, Tag(TRANSCRIPT_TAG, tag(item, WORDS) or "")))


def _woman(guess: GenderGuess) -> float:
    if guess.gender == "unknown" or guess.confidence is None:
        return float("nan")
    return guess.confidence if guess.gender == "female" else 1 - guess.confidence
