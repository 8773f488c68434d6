"""What the claim about CP-Bench is tried on: the small benchmark of our own, and what can be recognised of its clips.

The questions are those of `earwitness-cp-mini`, about acted emotions of ten speakers of EmoDB. Manner is recognised as
the shipped model `emotion` does it, but by heads that never heard the speaker: for each one a head learns from the
others, with every seed anew. What the frozen parts make of a recording is computed once and kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from earwitness.audio.reading import RATE, load
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
from earwitness.paralinguistic.emotion import build_network, softmax
from earwitness.paralinguistic.emotion_losses import CATEGORY
from earwitness.paralinguistic.emotion_recipe import EmotionRecipe
from earwitness.paralinguistic.emotion_task import EmotionTask, KnownRows
from earwitness.paralinguistic.emotion_training import described
from earwitness.paralinguistic.labels import CATEGORIES, Labels, read_labels
from earwitness.paralinguistic.transcripts import Spelt
from earwitness.speech_llm.bench.controls import TRANSCRIPT_TAG
from earwitness.speech_llm.bench.recordings import Recordings, Stretch
from earwitness.speech_llm.cpqa.gender import PitchGender
from earwitness.speech_llm.items import Item, QuestionType, Tag
from earwitness.speech_llm.mini.building import PERSONS, build_mini
from earwitness.speech_llm.mini.chance import WORDS, tag
from earwitness.speech_llm.mini.recipe import MiniRecipe, read_recipe
from earwitness.training.left_out import KeptRows, over_kept
from earwitness.training.loop import fit, seed_run
from earwitness.training.pooled import pooled_vectors
from earwitness.training.recipe import read_recipe as read_training

MINI = Path("recipes/bench/earwitness-cp-mini.yaml")
EMOTION = Path("recipes/default/emotion.yaml")
VIEW = "clean"
GENDER = PitchGender()
NAMED = {"anger": "angry", "happiness": "happy", "sadness": "sad"}
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
    def sounds(self) -> Mapping[str, str]:
        """The sha256 of the samples of each clip, as clients hear it."""
        heard = Recordings(self.root)
        clips = {item.clip_id: Stretch.of(item) for item in self.items}
        return {name: sha256_samples(heard.load(stretch).samples) for name, stretch in clips.items()}

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

    def manners(self, seed: int) -> dict[str, dict[str, float]]:
        """How likely each manner is in each row, by the head of this seed that left its speaker out."""
        labels = read_labels(self.rows, self.emotion.labels)
        mask = labels.config.mask(str(self.mini.corpus))
        store = Store(self._place("heads", seed), len(self.rows), {"logits": (len(CATEGORIES),)})
        store.fill(lambda parts: self._recognised(labels, seed, parts), len(self.rows), f"learning manners ({seed})")
        shares = softmax(np.where(mask, store.arrays[0].astype(np.float64), -np.inf))
        names = {label: NAMED.get(label, label) for label in self.mini.emotions}
        told = [
            (self.mini.emotions[label], CATEGORIES.index(name)) for label, name in names.items() if name in CATEGORIES
        ]  # type: ignore[arg-type]
        return {
            name: {adjective: float(row[place]) for adjective, place in told}
            for name, row in zip(self.rows.table["id"], shares, strict=True)
        }

    @cached_property
    def speakers(self) -> dict[str, dict[str, float] | None]:
        """How likely a woman and a man speak, by pitch; None where the labeller is unsure."""
        store = Store(self._place("pitch", 0), len(self.rows), {"woman": ()})
        store.fill(self._pitched, 16, "listening to pitch")
        shares = store.arrays[0].astype(np.float64)
        return {
            name: None if np.isnan(share) else {PERSONS["f"]: float(share), PERSONS["m"]: 1 - float(share)}
            for name, share in zip(self.rows.table["id"], shares, strict=True)
        }

    def tested(self, seeds: Sequence[int]) -> TestedItems:
        """The same items with each seed."""
        return TestedItems.of(self.items, len(seeds))

    def _place(self, what: str, seed: int) -> Path:
        return self.folder / f"cp-{what}-{self.key[:16]}-{seed}"

    def _recognised(
        self, labels: Labels, seed: int, parts: Sequence[Sequence[int]]
    ) -> Iterator[tuple[NDArray[np.float16], ...]]:
        """Logits of all rows, each by a head that learnt from the other speakers; one part."""
        vectors = pooled_vectors(self.emotion.network.build(), self.emotion, self.rows, [VIEW], self.folder / "pooled")
        speakers = self.rows.table["speaker"].to_numpy()
        logits = np.zeros((len(self.rows), len(CATEGORIES)), np.float16)
        for name in np.unique(speakers):
            learnt = labels.manifest.table["speaker"].to_numpy() != name
            rows = np.flatnonzero(self.rows.table["id"].is_in(labels.manifest.table["id"].implode()).to_numpy())[learnt]
            part = replace(labels, manifest=labels.manifest.with_table(labels.manifest.table.filter(learnt)))
            out = np.flatnonzero(speakers == name)
            head = self._learnt(part, vectors[rows], seed, self._place("fit", seed) / str(name).replace(":", "-"))
            logits[out] = head(torch.from_numpy(vectors[out, 0].astype(np.float32)))
        for places in parts:
            yield (logits[list(places)],)

    def _learnt(
        self, labels: Labels, vectors: NDArray[np.float16], seed: int, folder: Path
    ) -> Callable[[torch.Tensor], NDArray[np.float16]]:
        """A head on the vectors of these rows, as the recipe says."""
        recipe = self.emotion.model_copy(update={"seed": seed})
        seed_run(seed, "init")
        network = build_network(
            over_kept(recipe.network, vectors.shape[2]), described(recipe, labels, Spelt((), {}, 0))
        )
        task = EmotionTask(KnownRows.of((labels,), {}), recipe.losses, None, None)
        order = BalancedSampler(labels.manifest, recipe.balance, recipe.loop.batch_size, seed, recipe.draws)
        fit(network, task, KeptRows.of(labels.manifest, vectors, order), None, recipe, folder, resume=folder.exists())
        network.eval()

        @torch.inference_mode()
        def logits(heard: torch.Tensor) -> NDArray[np.float16]:
            return network(heard)[CATEGORY].half().numpy()

        return logits

    def _pitched(self, parts: Sequence[Sequence[int]]) -> Iterator[tuple[NDArray[np.float16], ...]]:
        for part in parts:
            rows = [self.rows.row(place) for place in part]
            waves = [load(self.rows.resolve(row), RATE, row.channel, row.start or 0.0, row.end).samples for row in rows]
            guesses = [GENDER.gender(wave) for wave in waves]
            sure = {"female": lambda share: share, "male": lambda share: 1 - share}
            yield (
                np.array(
                    [sure[one.gender](one.confidence) if one.gender in sure else np.nan for one in guesses], np.float16
                ),
            )


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
