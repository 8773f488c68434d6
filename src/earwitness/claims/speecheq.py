"""SpeechEQ's claim (arXiv 2206.13101, a reconstruction): phoneme and gender recognition beside it make a shared encoder
better at emotions; with it the weight of CTC (Cai et al., Interspeech 2021), on speakers who were not learnt from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.claims.emotions import VIEWS, EmotionFrames, EmotionMaterial
from earwitness.claims.material import Places
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.core.config import parse_config
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.samplers import MixedSampler
from earwitness.metrics.classification import confusion
from earwitness.paralinguistic.emotion import EmotionNetwork, build_network
from earwitness.paralinguistic.emotion_losses import CATEGORY
from earwitness.paralinguistic.emotion_recipe import EmotionRecipe
from earwitness.paralinguistic.emotion_task import EmotionTask, KnownRows, joined
from earwitness.paralinguistic.emotion_training import EmotionSides, described, shared_block, spell_sides, with_block
from earwitness.paralinguistic.labels import CATEGORIES, Labels
from earwitness.training.conflicts import conflict_shares
from earwitness.training.loop import FitResult, fit, seed_run
from earwitness.training.recipe import assign

AT_ONCE = 32
COUNTED = "alignment={rule: none}"

RECIPE: dict[str, Any] = {
    "name": "claim",
    "task": "emotion",
    "data": {"manifests": ["kept frames"]},
    "split": {"kind": "by_column"},
    "network": {
        "branches": [
            {
                "frontend": {"kind": "kept", "dim": 384},
                "encoder": {"kind": "conv_transformer", "dim": 64, "strides": [1], "blocks": 1, "heads": 4},
                "pooling": {"kind": "attentive_mean", "bottleneck": 32},
            }
        ]
    },
    "heads": {"hidden": 64},
    "losses": {"intensity": 0.0, "phonemes": 0.0, "gender": 0.0},
    "draws": 320,
    "optimiser": {"kind": "adam", "lr": 0.001},
    "schedule": {"kind": "warmup_cosine", "warmup": 0.1},
    "loop": {"epochs": 10, "batch_size": 16, "clip_norm": 5.0, "select": {"metric": "ua", "mode": "max"}},
}
"""A small encoder on kept frames; 200 steps of 16 recordings, in every arm alike."""


@dataclass(frozen=True)
class EmotionClaim:
    """`arms`: for each arm of the plan `key.sub=value` changes of `recipe`."""

    plan: Plan
    recipe: dict[str, Any]
    arms: Mapping[str, Sequence[str]]

    read = EmotionMaterial.read

    def run(self, arm: str, seed: int, material: EmotionMaterial, folder: Path) -> ArmRun:
        """Train, choose on dev, and call a category for each test row among those of its corpus."""
        data = self.recipe
        for change in self.arms[arm]:
            data = assign(data, change)
        recipe: EmotionRecipe = parse_config(EmotionRecipe, {**data, "seed": seed})
        network, result = learn_emotions(recipe, material, folder)
        test = material.side(material.sides(seed).test)
        calls = called(network, material.kept(), material.sides(seed).test, test)
        return ArmRun(calls.astype(np.float64), (*told_of(calls, test), *shares_of(network, result)))


def learn_emotions(recipe: EmotionRecipe, material: EmotionMaterial, folder: Path) -> tuple[EmotionNetwork, FitResult]:
    """Train on the sides of the recipe's seed; epochs are chosen on dev as the recipe says."""
    places = material.sides(recipe.seed)
    train, dev, test = (material.side(rows) for rows in (places.train, places.dev, places.test))
    spelt = spell_sides(recipe, EmotionSides(_heard_whole(material, places.train), dev, test, ()))
    seed_run(recipe.seed, "init")
    network = build_network(recipe.network, described(recipe, train, spelt[0]))
    recipe = with_block(recipe, network)
    task = EmotionTask(KnownRows.of((train, dev), joined(spelt)), recipe.losses)
    views = tuple(material.kept(view) for view in VIEWS)
    order = MixedSampler(train.manifest, recipe.loop.batch_size, recipe.seed, recipe.draws)
    ids = tuple(material.rows.table["id"])
    batches = EmotionFrameBatches(views, ids, places.train, order)
    result = fit(network, task, batches, WholeRows(views[0], ids, places.dev), recipe, folder, resume=folder.exists())
    return network.eval(), result


@torch.inference_mode()
def called(network: EmotionNetwork, heard: EmotionFrames, rows: Places, labels: Labels) -> NDArray[np.int64]:
    """The likeliest category of each row among those of its corpus, as places in `CATEGORIES`, [N]."""
    ids = tuple(str(row) for row in range(len(heard.frames)))
    logits = [network(b.waveforms, b.lengths)[CATEGORY] for b in WholeRows(heard, ids, rows)]
    masks = np.stack([labels.config.mask(name) for name in labels.manifest.table["corpus"].to_list()])
    return np.asarray(np.where(masks, torch.cat(logits).numpy(), -np.inf).argmax(axis=1))


def told_of(calls: NDArray[np.int64], test: Labels) -> tuple[Figure, ...]:
    """WA and macro-F1; UA of women and of men; what constant calls reach."""
    truth = test.manifest.table["emotion"].to_list()
    names = [CATEGORIES[place] for place in calls]
    whole = confusion(truth, names, CATEGORIES)
    found = [Figure("WA, %", 100 * whole.wa), Figure("macro-F1, %", 100 * whole.macro_f1)]
    sexes = test.manifest.table["sex"].to_list()
    for sex, word in (("f", "women"), ("m", "men")):
        rows = [place for place, value in enumerate(sexes) if value == sex]
        if rows:
            part = confusion([truth[row] for row in rows], [names[row] for row in rows], CATEGORIES)
            found.append(Figure(f"UA of {word}, %", 100 * part.ua))
    constant = (Figure("WA of the most frequent class, %", 100 * whole.majority_wa),)
    return (*found, *constant, Figure("UA of any constant call, %", 100 * whole.chance_ua))


def shares_of(network: EmotionNetwork, result: FitResult) -> tuple[Figure, ...]:
    """The share of the steps on which each auxiliary task's gradient went against that of the category at the shared
    encoder, before any repair: conflicts over steps on which both had a gradient, over the whole run."""
    epochs = [epoch.gradients for epoch in result.history if epoch.gradients]
    if not epochs:
        return ()
    mean = {name: float(np.mean([epoch[name] for epoch in epochs])) for name in epochs[0]}
    shares = conflict_shares(mean, CATEGORY, (shared_block(network),))
    return tuple(Figure(f"steps against the category: {task}, %", 100 * share) for task, share in shares.items())


def _heard_whole(material: EmotionMaterial, rows: Places) -> Labels:
    """The rows whose transcript is heard to its end: its symbols are those that are learnt."""
    return material.side(rows[material.kept().whole[rows]])


@dataclass(frozen=True)
class EmotionFrameBatches:
    """`TrainData` over kept frames, heard whole; views are drawn by (seed, epoch, place in the epoch)."""

    views: tuple[EmotionFrames, ...]
    ids: tuple[str, ...]
    rows: Places
    order: MixedSampler

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self.order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places of the epoch's order."""
        batches = self.order.batches(epoch)
        for place in places:
            rows = self.rows[np.array(batches[place])]
            drawn = np.random.default_rng([self.order.seed, epoch, place]).integers(0, len(self.views), len(rows))
            frames = np.stack([self.views[view].frames[row] for view, row in zip(drawn, rows, strict=True)])
            yield frame_batch(frames, self.views[0], rows, self.ids)


@dataclass(frozen=True)
class WholeRows:
    """Some rows once, in order, as they are."""

    heard: EmotionFrames
    ids: tuple[str, ...]
    rows: Places

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.rows), AT_ONCE):
            rows = self.rows[start : start + AT_ONCE]
            yield frame_batch(self.heard.frames[rows], self.heard, rows, self.ids)


def frame_batch(frames: NDArray[np.float16], heard: EmotionFrames, rows: Places, ids: Sequence[str]) -> Batch:
    """Frames [B, T, D] as the front-end `kept` takes them; lengths are counted in values."""
    counts = heard.counts[rows]
    values = torch.from_numpy(frames[:, : counts.max()].astype(np.float32)).flatten(1)
    lengths = torch.from_numpy(counts * frames.shape[2])
    targets = Targets(whole=torch.from_numpy(heard.whole[rows]))
    return Batch(values, lengths, targets, tuple(ids[row] for row in rows))


CLAIM = EmotionClaim(
    Plan(
        name="speecheq",
        source="arXiv 2206.13101, a reconstruction; weight of CTC: Cai et al., Interspeech 2021",
        statement="Recognising phonemes and gender beside emotions makes a shared encoder better at emotions.",
        arms=(
            Arm("category", "the category alone"),
            Arm("gender", "and gender, weight 0.1"),
            Arm("ctc-0.001", "and the transcript's characters by CTC, weight 0.001"),
            Arm("ctc-0.01", "the same, weight 0.01"),
            Arm("ctc-0.1", "the same, weight 0.1"),
            Arm("all", "gender and characters, weight 0.1 each"),
            Arm("all-aligned", "the same, conflicts of the gradients repaired by PCGrad (an extension of ours)"),
        ),
        expected=(
            Expected("gender", "category", "gender helps"),
            Expected("ctc-0.001", "category", "CTC helps at weight 0.001"),
            Expected("ctc-0.01", "category", "CTC helps at weight 0.01"),
            Expected("ctc-0.1", "category", "CTC helps at weight 0.1"),
            Expected("ctc-0.1", "ctc-0.001", "more CTC helps more"),
            Expected("all", "category", "both help together"),
            Expected("all-aligned", "all", "repairing conflicts helps"),
        ),
        notes=(
            "Encoder: one Transformer block on the second hidden state of the frozen encoder of Whisper tiny.en, "
            "not a fine-tuned wav2vec 2.0; two speakers are tested by a seed, six learnt from.",
            "Intensity is left out: no free corpus at hand has it. No corpora are mixed: EmoDB alone may be used "
            "commercially; with others in the manifest they are mixed by the root of their size.",
            "Transcripts are spelt in characters. EmoDB has ten sentences, and its free copy is cut at 2 s: CTC learns "
            "from the fifth or so of the recordings that end before.",
            "All arms have one learning rate; Cai et al. lower it without CTC, since their training diverges.",
            "A conflict is a negative cosine with the category's gradient at the shared encoder, in batches of 16.",
        ),
    ),
    recipe=RECIPE,
    arms={
        "category": (),
        "gender": ("losses.gender=0.1", COUNTED),
        "ctc-0.001": ("losses.phonemes=0.001", COUNTED),
        "ctc-0.01": ("losses.phonemes=0.01", COUNTED),
        "ctc-0.1": ("losses.phonemes=0.1", COUNTED),
        "all": ("losses.gender=0.1", "losses.phonemes=0.1", COUNTED),
        "all-aligned": ("losses.gender=0.1", "losses.phonemes=0.1", "alignment={rule: pcgrad}"),
    },
)
