"""INSIDE's claim (arXiv 2508.19210, rebuilt): speakers who do not exist, half-way between two real ones, help a
verifier with few speakers to learn, also beside noise, rooms and other speeds.

The whole grid of {noise and rooms} x {speeds} x {INSIDE}, and beside noise two controls: real speakers made anew by the
same synthesis, and pairs at random. Every arm takes as many steps and batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.claims.invented import CONFIG, Invented, invented
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.claims.speaker_learning import (
    CROP,
    LearntVoices,
    cosines,
    embedded,
    learn_from,
    part,
    speaker_base,
    spectrum_batch,
)
from earwitness.claims.speakers import SpeakerMaterial
from earwitness.claims.store import Halves
from earwitness.claims.views import View
from earwitness.core.config import parse_config
from earwitness.corpora.batch import Batch
from earwitness.corpora.batches import Vocabulary
from earwitness.corpora.samplers import BalancedSampler, BatchOrder
from earwitness.speaker.comparison import Vectors, unit
from earwitness.speaker.identity_expansion.classes import ClassMap, class_map
from earwitness.speaker.identity_expansion.learning import ExpandedOrder, share_of
from earwitness.speaker.identity_expansion.pairs import Control
from earwitness.speaker.identity_expansion.report import artefact_auc, new_identities
from earwitness.speaker.recipe import SpeakerRecipe


@dataclass(frozen=True)
class Setting:
    """What an arm learns from: perturbed views too, other speeds as further speakers, and which new voices, if any."""

    noise: bool = False
    speeds: bool = False
    control: Control | None = None

    @property
    def played(self) -> tuple[float, ...]:
        """The speeds, 1 first."""
        return (1.0, 0.9, 1.1) if self.speeds else (1.0,)

    def views(self, synthetic: bool) -> tuple[View, ...]:
        """Of which one is drawn each time. Beside noise, synthetic speech is never heard without."""
        if not self.noise:
            return ("clean",)
        return (1, 2) if synthetic else ("clean", 1, 2)


SETTINGS = {
    "plain": Setting(),
    "plain-inside": Setting(control="none"),
    "speeds": Setting(speeds=True),
    "speeds-inside": Setting(speeds=True, control="none"),
    "noise": Setting(noise=True),
    "noise-inside": Setting(noise=True, control="none"),
    "both": Setting(noise=True, speeds=True),
    "both-inside": Setting(noise=True, speeds=True, control="none"),
    "noise-resynthesis": Setting(noise=True, control="resynthesis"),
    "noise-random-pairs": Setting(noise=True, control="random-pairs"),
}
PLAN = Plan(
    name="inside",
    source="arXiv 2508.19210, a reconstruction",
    statement="Identities half-way between nearby real speakers, as further classes, help to verify unseen speakers.",
    arms=(
        Arm("plain", "real speakers alone"),
        Arm("plain-inside", "and half as many new identities as there are speakers who can be parents"),
        Arm("speeds", "real speakers, and each of them played at 0.9 and 1.1 as two further ones"),
        Arm("speeds-inside", "the same, and new identities"),
        Arm("noise", "real speakers, heard through rooms, noise and narrow bands too"),
        Arm("noise-inside", "the same, and new identities"),
        Arm("both", "noise and speeds"),
        Arm("both-inside", "the same, and new identities"),
        Arm("noise-resynthesis", "noise, and as many real speakers made anew, under their own class"),
        Arm("noise-random-pairs", "noise, and identities between random speakers of one sex"),
    ),
    expected=(
        Expected("noise-inside", "noise", "new identities help beside noise and rooms"),
        Expected("plain-inside", "plain", "new identities help alone"),
        Expected("speeds-inside", "speeds", "new identities help beside speeds"),
        Expected("both-inside", "both", "new identities help beside noise and speeds"),
        Expected("noise-inside", "noise-resynthesis", "new identities help more than the same synthesis of real ones"),
        Expected("noise-inside", "noise-random-pairs", "nearby pairs help more than random ones"),
    ),
    notes=(
        "Network: ECAPA-TDNN of 64 channels trained from scratch on about 285 speakers, 125 of whom can be parents, as "
        "their sex is known; no score normalisation.",
        "Synthesis: conversion of the parents' recordings by WORLD, eight numbers a voice, no neural text to speech; "
        "what those numbers do not hold stays the recorded parent's. The paper's synthesiser is not known.",
        "62 identities with 3 utterances each; no filters, so that all arms have as many.",
        "Synthetic speech is heard through a room and noise each time, but in the arms without noise.",
        "Two controls were left out for time: linear mixing at 0.3, and pairs of both sexes.",
        "Identities are judged in recordings as they are: the nearest real speaker's cosine; the share that the "
        "trained network takes for a parent at its threshold of equal error on the parents; and a linear probe, real "
        "parents against synthetic speech, where an AUC above 0.9 says that the synthesis is heard.",
    ),
)
Invent = Callable[[SpeakerMaterial, int, Control], Invented]


@dataclass(frozen=True)
class InsideClaim:
    """Trials are scored by the cosine; `invent` gives a seed its new voices."""

    plan: Plan
    recipe: dict[str, Any]
    invent: Invent = invented

    @staticmethod
    def read(manifest: str | Path, folder: str | Path) -> SpeakerMaterial:
        """Raises `MissingPartError` where the synthesiser is not installed, before anything is heard."""
        CONFIG.synthesiser.build()
        return SpeakerMaterial.read(manifest, folder)

    def run(self, arm: str, seed: int, material: SpeakerMaterial, folder: Path) -> ArmRun:
        """Train on real and new voices, choose on dev, and score the test trials."""
        setting = SETTINGS[arm]
        recipe: SpeakerRecipe = parse_config(SpeakerRecipe, {**self.recipe, "seed": seed})
        new = None if setting.control is None else self.invent(material, seed, setting.control)
        train = _batches(setting, recipe, material, new)
        learnt = learn_from(train, len(train.classes), recipe, material, folder)
        first, second = (np.searchsorted(learnt.rows, side) for side in material.trials(seed).T)
        scores = cosines(part(learnt.embedding, first), part(learnt.embedding, second))
        return ArmRun(scores, () if new is None else _figures(learnt, material, new))


@dataclass(frozen=True)
class Voices:
    """Recordings that are drawn alike. `heard`: of each speed its views, [R, T, F] each; `classes` [R] at the first
    speed, and each further speed is `speakers` classes further on."""

    heard: tuple[tuple[Halves, ...], ...]
    classes: NDArray[np.int64]
    ids: tuple[str, ...]
    speakers: int = 0

    def crop(self, row: int, rng: np.random.Generator) -> tuple[Halves, int, str]:
        """A stretch [CROP, F] of a row at a random speed and in a random view, its class and its id."""
        speed = int(rng.integers(len(self.heard)))
        views = self.heard[speed]
        view = views[int(rng.integers(len(views)))]
        start = int(rng.integers(view.shape[1] - CROP + 1))
        return view[row, start : start + CROP], int(self.classes[row]) + speed * self.speakers, self.ids[row]


@dataclass(frozen=True)
class VoiceBatches:
    """`TrainData`: the numbers of an order are places in `real` rows, then those in the new ones."""

    parts: tuple[Voices, ...]
    rows: tuple[tuple[int, int], ...]  # part and row of each number
    classes: ClassMap
    order: BatchOrder

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self.order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places of the epoch's order; what is drawn follows from seed, epoch and place."""
        batches = self.order.batches(epoch)
        for place in places:
            rng = np.random.default_rng([self.order.seed, epoch, place])
            drawn = [
                self.parts[which].crop(row, rng) for which, row in (self.rows[number] for number in batches[place])
            ]
            crops, classes, ids = zip(*drawn, strict=True)
            yield spectrum_batch(np.stack(crops), np.array(classes), ids)


def _batches(setting: Setting, recipe: SpeakerRecipe, material: SpeakerMaterial, new: Invented | None) -> VoiceBatches:
    """As many draws with new voices as without: they are their share of the speakers, at most 30 %."""
    rows = material.sides(recipe.seed).train
    side = material.rows.with_table(material.rows.table[rows])
    speakers, size, draws = Vocabulary.of(side, "speaker"), recipe.loop.batch_size, recipe.draws or len(rows)
    identities = () if new is None else tuple(pair.new_id for pair in new.pairs if pair.is_new)
    classes = class_map(speakers.names, setting.played, identities)
    heard = tuple(tuple(material.spectra(view, speed) for view in setting.views(False)) for speed in setting.played)
    own = np.array([speakers.index(name) for name in material.speakers])
    real = Voices(heard, own, tuple(material.rows.table["id"]), len(speakers))
    places = tuple((0, int(row)) for row in rows)
    if new is None:
        order: BatchOrder = BalancedSampler(side, recipe.balance, size, recipe.seed, draws)
        return VoiceBatches((real,), places, classes, order)
    of = {pair.new_id: classes.index(pair.new_id if pair.is_new else pair.parent_a) for pair in new.pairs}
    names = new.rows.table["speaker"]
    views = tuple(new.spectra(view) for view in setting.views(True))
    made = Voices((views,), np.array([of[name] for name in names]), tuple(new.rows.table["id"]))
    share = round(share_of(names.n_unique(), len(speakers)) * draws)
    order = ExpandedOrder(
        BalancedSampler(side, recipe.balance, size, recipe.seed, draws - share),
        BalancedSampler(new.rows, ("speaker",), size, recipe.seed, share),
        len(rows),
    )
    return VoiceBatches((real, made), (*places, *((1, row) for row in range(len(names)))), classes, order)


def _figures(learnt: LearntVoices, material: SpeakerMaterial, new: Invented) -> tuple[Figure, ...]:
    """What the trained network makes of the new voices beside their parents."""
    parents = {name for pair in new.pairs for name in (pair.parent_a, pair.parent_b)}
    rows = np.flatnonzero(np.isin(material.speakers, sorted(parents)))
    real = _prints(learnt, material.spectra(), rows, material.speakers)
    every = np.arange(len(new.rows))
    synthetic = _prints(learnt, new.spectra(), every, new.rows.table["speaker"].to_numpy().astype(str))
    found = new_identities(real, synthetic, new.pairs)
    return (
        Figure("identities", len(synthetic)),
        Figure("utterances that could not be made", new.failed),
        Figure("cosine with the nearest real speaker", float(found.nearest.mean())),
        Figure("taken for a parent, %", 100 * found.accepted),
        Figure("AUC of a probe, real against synthetic", artefact_auc(real, synthetic)),
    )


def _prints(
    learnt: LearntVoices, energies: Halves, rows: NDArray[np.int64], speakers: NDArray[np.str_]
) -> dict[str, Vectors]:
    """Unit embeddings [n, D] of rows by their speaker."""
    vectors = unit(embedded(learnt.network, energies, rows).mean.numpy().astype(np.float32))
    return {name: vectors[speakers[rows] == name] for name in sorted(set(speakers[rows].tolist()))}


CLAIM = InsideClaim(PLAN, speaker_base({"kind": "attentive_statistics", "form": "ws"}))
