"""SVVAD's claim (arXiv 2305.19581, mostly rebuilt): a voice activity detection of one person, trained through a frozen
verifier without a label of any frame, lowers the error where others speak in the recording too.

A seed's verifier is learnt as in the other claims about voices, on speakers who are not tested; then it is frozen, and
each arm learns from the same mixtures of the speakers that it knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from earwitness.audio.windows import Whole
from earwitness.claims.material import Places
from earwitness.claims.mixed import SHARES, THINNED, MixedMaterial
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.claims.recipes import BUDGET
from earwitness.claims.speaker_learning import VIEWS, embedded, learn_from, speaker_base
from earwitness.claims.spectra import FRONTEND
from earwitness.claims.store import Halves
from earwitness.core.config import parse_config
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.batches import Vocabulary
from earwitness.corpora.mixtures import MixtureTrial, mixed_trial
from earwitness.corpora.samplers import BalancedSampler
from earwitness.evaluation.personal_vad.safety import injections, others_only, swapped
from earwitness.evaluation.personal_vad.scoring import Enrolled
from earwitness.evaluation.personal_vad.systems import (
    ENERGY,
    NO_VAD,
    ORACLE,
    ORACLE_GAMMA,
    ORACLE_TARGET,
    SVVAD,
    TWO_STEP,
    Flags,
    frame_flags,
    gamma_auc,
    measure_untrained,
)
from earwitness.metrics.detection import eer
from earwitness.nn.network import Network
from earwitness.nn.types import Frames
from earwitness.speaker.comparison import Vectors, enrol, unit
from earwitness.speaker.personal_vad.examples import MixtureBatches
from earwitness.speaker.personal_vad.hearing import PersonalVerifier
from earwitness.speaker.personal_vad.recipe import PersonalVadRecipe
from earwitness.speaker.personal_vad.task import PATHS, PersonalVadTask, PersonalVadTrainee
from earwitness.speaker.personal_vad.training import build_trainee, mixture_batches
from earwitness.speaker.personal_vad.verifier import FrozenVerifier
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.training.data import SplitData
from earwitness.training.loop import fit
from earwitness.training.model_folder import ModelInfo
from earwitness.training.recipe import assign

CROP = 100
"""Frames (2 s) of the verifier's training."""
UNTRAINED: Mapping[str, str] = {
    "none": NO_VAD,
    "energy": ENERGY,
    "oracle": ORACLE,
    "oracle-target": ORACLE_TARGET,
    "oracle-gamma": ORACLE_GAMMA,
    "two-step": TWO_STEP,
}
TRAINED: Mapping[str, tuple[str, ...]] = {
    "svvad": (),
    "gamma": ("network.beta='off'",),
    "absence": ("losses.absence=1",),
    "no-triplet": ("losses.triplet=0",),
    "no-reference": ("losses.reference=0",),
    "no-negative": ("losses.negative=0",),
    "no-identity": ("losses.identity=0",),
    "no-coverage": ("losses.coverage=0",),
}
"""What each arm sets in the recipe."""
PLAN = Plan(
    name="svvad",
    source="arXiv 2305.19581, a reconstruction",
    statement="Frames weighed for the claimed speaker, learnt through a frozen verifier without labels of frames, "
    "lower the error of verification where others share the recording.",
    arms=(
        Arm("none", "the verifier alone"),
        Arm("energy", "without the frames that are 30 dB below the loudest"),
        Arm("oracle", "the frames in which anybody speaks, as is known of the mixture"),
        Arm("oracle-target", "the frames in which the leading voice speaks, as is known of the mixture"),
        Arm("oracle-gamma", "the same frames, all others muted and not left out: what a perfect gamma does"),
        Arm("two-step", "the stretches that resemble the claimed voice most (no training)"),
        Arm("svvad", "SVVAD: gamma and beta, all terms"),
        Arm("gamma", "gamma alone, all terms"),
        Arm("absence", "SVVAD, and a term of ours that mutes recordings without the speaker"),
        Arm("no-triplet", "SVVAD without the triplet"),
        Arm("no-reference", "SVVAD without the term of the clean reference"),
        Arm("no-negative", "SVVAD without the term that others must not become the speaker"),
        Arm("no-identity", "SVVAD without the term that clean speech is left alone"),
        Arm("no-coverage", "SVVAD without the term against silence"),
    ),
    expected=(
        Expected("svvad", "none", "SVVAD beats no VAD"),
        Expected("svvad", "energy", "SVVAD beats a VAD that knows no voice"),
        Expected("svvad", "two-step", "SVVAD beats choosing stretches by the verifier"),
        Expected("gamma", "none", "gamma alone beats no VAD"),
        Expected("absence", "none", "SVVAD with the term of absence beats no VAD"),
        Expected("absence", "svvad", "the term of absence helps"),
        Expected("svvad", "gamma", "beta helps"),
        Expected("svvad", "no-triplet", "the triplet helps"),
        Expected("svvad", "no-reference", "the term of the clean reference helps"),
        Expected("svvad", "no-negative", "the term of the others helps"),
        Expected("svvad", "no-identity", "the term of clean speech helps"),
        Expected("svvad", "no-coverage", "the term against silence helps"),
        Expected("oracle-target", "none", "the truth, frames left out, beats no VAD"),
        Expected("oracle-gamma", "none", "the truth as gamma beats no VAD"),
    ),
    notes=(
        "Mostly a reconstruction: of the paper only abstract and figure are known; its losses, sizes, mixtures and "
        "verifier are not.",
        "Verifier: ECAPA-TDNN of 64 channels at 50 frames a second, trained from scratch on about 290 speakers, then "
        "frozen. In half of its crops another voice was muted, as a perfect gamma would: a verifier that never heard "
        "this makes little of the truth itself.",
        "The network before it: one block of either kind, 32 values wide, 250 steps of 8 mixtures of 2 s.",
        "Mixtures of whole recordings of 4 s, 10 to 30 % of it silent, no noise; the voices of a mixture are of one "
        "corpus, their sexes may differ. The EER counts shares of 0.8 to 0.2, in turn and at once.",
        "A gamma AUC of 0.5 means that gamma does not tell the speaker's frames from others'; a correlation of 1 that "
        "it is the same whoever is claimed.",
        "White noise and silence: the 99th percentile of the scores of 50 claimed voices; below that of plain "
        "non-targets no voice is written into them. False accepts at the plain verifier's threshold of equal error.",
    ),
)


@dataclass(frozen=True)
class HeardMixtures:
    """What a seed tests: the verifier's frames [N, T, F] of each trial, when the leading voice and others speak [N, T],
    the claimed voices [N, E], and what is scored without any training, by system."""

    frames: Halves
    lead: Flags
    others: Flags
    voices: Vectors
    scores: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Stage:
    """What all arms of a seed share: the frozen verifier, the training speakers' voices, mixtures of both sides."""

    verifier: FrozenVerifier
    known: dict[str, Vectors]
    learnt: KeptMixtures
    trials: tuple[MixtureTrial, ...]
    heard: HeardMixtures


@dataclass(frozen=True)
class SvvadClaim:
    """A verifier is learnt for the first arm of a seed, and held with the mixtures for the others of that seed."""

    plan: Plan
    speaker: dict[str, Any]
    recipe: dict[str, Any]
    _held: dict[tuple[int, str], Stage] = field(default_factory=dict, init=False, compare=False, repr=False)

    read = MixedMaterial.read

    def run(self, arm: str, seed: int, material: MixedMaterial, folder: Path) -> ArmRun:
        """Train where the arm learns anything, and score the seed's mixtures. Dev chooses the verifier's epoch, and
        none of an arm: its last weights are tested."""
        stage = self._stage(seed, material, folder)
        if arm in UNTRAINED:
            scores = stage.heard.scores[UNTRAINED[arm]]
            return ArmRun(scores, _shares(scores, stage.trials))
        recipe = self._recipe(seed, TRAINED[arm])
        trainee = build_trainee(recipe, KeptVerifier(stage.verifier.network), stage.known)
        fit(trainee, PersonalVadTask(recipe.losses), stage.learnt, None, recipe, folder / "vad", resume=True)
        scores, auc = _scored(trainee.eval(), stage.heard)
        ear = PersonalVerifier(trainee.vad, stage.verifier, INFO)
        told = (Figure("gamma AUC", auc), *_safety(ear, stage, material, scores))
        return ArmRun(scores, _shares(scores, stage.trials) + told)

    def _recipe(self, seed: int, changes: Sequence[str] = ()) -> PersonalVadRecipe:
        data = self.recipe
        for change in changes:
            data = assign(data, change)
        recipe: PersonalVadRecipe = parse_config(PersonalVadRecipe, {**data, "seed": seed})
        return recipe

    def _stage(self, seed: int, material: MixedMaterial, folder: Path) -> Stage:
        key = (seed, material.key)
        if key not in self._held:
            self._held.clear()
            recipe: SpeakerRecipe = parse_config(SpeakerRecipe, {**self.speaker, "seed": seed})
            crops = MutedCrops.of(recipe, material)
            network = learn_from(crops, len(crops.speakers), recipe, material, folder / "verifier").network
            self._held[key] = _staged(network, self._recipe(seed), material)
        return self._held[key]


@dataclass(frozen=True)
class MutedCrops:
    """`TrainData` of the verifier: crops of 2 s, in half of which another voice speaks too and is muted, as a perfect
    gamma would: there stand zeros, and the mean that is taken away is that of both.

    A verifier that never heard muted frames gains nothing by the truth about who speaks when.
    """

    views: tuple[Halves, ...]
    rows: Places
    classes: NDArray[np.int64]
    speakers: Vocabulary
    order: BalancedSampler

    @classmethod
    def of(cls, recipe: SpeakerRecipe, material: MixedMaterial) -> MutedCrops:
        """The rows of the training side, drawn as the recipe balances them."""
        rows = material.sides(recipe.seed).train
        side = material.part(rows)
        speakers = Vocabulary.of(side, "speaker")
        classes = np.array([speakers.index(name) for name in material.speakers[rows]])
        order = BalancedSampler(side, recipe.balance, recipe.loop.batch_size, recipe.seed, recipe.draws)
        return cls(tuple(material.spectra(view) for view in VIEWS), rows, classes, speakers, order)

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self.order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places of the epoch's order; the other voice is the next one's of the batch."""
        batches = self.order.batches(epoch)
        for place in places:
            rng = np.random.default_rng([self.order.seed, epoch, place])
            drawn = np.array(batches[place])
            starts = rng.integers(0, self.views[0].shape[1] - CROP + 1, len(drawn))
            views = rng.integers(0, len(self.views), len(drawn))
            chosen = zip(views, self.rows[drawn], starts, strict=True)
            crops = np.stack([self.views[view][row, start : start + CROP] for view, row, start in chosen])
            values = muted(crops.astype(np.float32), rng)
            yield flat_batch(values, Targets(speaker=torch.from_numpy(self.classes[drawn])))


def muted(crops: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """[B, T, F] without each filter's mean; half of them, drawn, keep 0.3 to 1 of their frames."""
    found: NDArray[np.float32] = crops - crops.mean(axis=1, keepdims=True)
    size = crops.shape[1]
    for place in np.flatnonzero(rng.random(len(crops)) < 0.5):
        kept = int(rng.integers(round(0.3 * size), size + 1))
        start = int(rng.integers(size - kept + 1))
        both = crops[place - 1].copy()
        both[start : start + kept] = crops[place, start : start + kept]
        found[place] = 0
        found[place, start : start + kept] = both[start : start + kept] - both.mean(axis=0)
    return found


def flat_batch(values: NDArray[np.float32], targets: Targets, paths: int = 1) -> Batch:
    """Frames [B, T, F] as `kept` front-ends take them."""
    flat = torch.from_numpy(values).flatten(1)
    ids = tuple(str(number) for number in range(len(flat)))
    return Batch(flat, torch.full((len(flat),), flat.shape[1]), targets, ids, paths=paths)


class KeptVerifier(FrozenVerifier):
    """The same where frames were computed before, handed in flat: [B, T * F]."""

    def features(self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None) -> Frames:
        """[B, T * F] -> [B, T, F]."""
        return Frames(waveforms.reshape(len(waveforms), -1, self.features_dim))


@dataclass(frozen=True)
class KeptMixtures:
    """`TrainData`: mixtures made once, their frames [4 B, T, F] a batch, the same in every epoch."""

    batches: tuple[Halves, ...]

    @classmethod
    def of(cls, mixtures: MixtureBatches, verifier: FrozenVerifier) -> KeptMixtures:
        """All batches of an epoch."""
        found = (mixtures.batch(0, place) for place in range(mixtures.count(0)))
        return cls(tuple(verifier.features(one.waveforms).values.half().numpy() for one in found))

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return len(self.batches)

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places."""
        for place in places:
            yield flat_batch(self.batches[place].astype(np.float32), Targets(), PATHS)


def _staged(network: Network, recipe: PersonalVadRecipe, material: MixedMaterial) -> Stage:
    """From a learnt verifier, which then hears recordings and no kept spectra any more."""
    sides = material.sides(recipe.seed)
    vectors = unit(embedded(network, material.spectra(), sides.train).mean.numpy().astype(np.float32))
    names = material.speakers[sides.train]
    known = {name: enrol(vectors[names == name]) for name in sorted(set(names.tolist()))}
    hop = THINNED * FRONTEND.hop
    network.branches[0].frontend = FRONTEND.model_copy(update={"mean_norm": True, "hop": hop}).build()
    verifier = FrozenVerifier(network)
    data = SplitData(material.part(sides.train), material.part(sides.dev), material.part(sides.test))
    made, _ = mixture_batches(recipe, data, FRONTEND.rate, known)
    ear = PersonalVerifier(build_trainee(recipe, verifier, known).vad, verifier, INFO)
    trials = material.mixtures(recipe.seed)
    return Stage(verifier, known, KeptMixtures.of(made, verifier), trials, _heard(ear, trials, material))


def _heard(ear: PersonalVerifier, trials: Sequence[MixtureTrial], material: MixedMaterial) -> HeardMixtures:
    enrolled = Enrolled(ear, material.rows.root)
    frames, flags, voices, scores = [], [], [], []
    for trial in trials:
        mixture, voice = mixed_trial(trial, material.rows.root, ear.info.rate), enrolled.of(trial.enrol)
        features = ear.features(mixture.samples)
        frames.append(features.values[0].half().numpy())
        flags.append(frame_flags(ear, mixture, features))
        voices.append(voice)
        scores.append(measure_untrained(ear, mixture, voice))
    lead, others = (np.stack(side) for side in zip(*flags, strict=True))
    by_system = {name: np.array([one[name] for one in scores], np.float64) for name in scores[0]}
    return HeardMixtures(np.stack(frames), lead, others, np.stack(voices), by_system)


AT_ONCE = 16


@torch.inference_mode()
def _scored(trainee: PersonalVadTrainee, heard: HeardMixtures) -> tuple[NDArray[np.float64], float]:
    """Scores of all trials [N], and the AUC of gamma: the speaker's frames against others', mean over targets."""
    scores, aucs = [], []
    for start in range(0, len(heard.frames), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        voices = torch.from_numpy(heard.voices[part])
        gated = trainee.vad(Frames(torch.from_numpy(heard.frames[part]).float()), voices)
        scores.append((trainee.heard(gated) * voices).sum(1).double().numpy())
        for gamma, lead, others in zip(gated.gamma[..., 0].numpy(), heard.lead[part], heard.others[part], strict=True):
            aucs.append(gamma_auc(gamma, lead & ~others, others & ~lead))
    return np.concatenate(scores), float(np.mean([auc for auc in aucs if auc is not None]))


def _shares(scores: NDArray[np.float64], trials: Sequence[MixtureTrial]) -> tuple[Figure, ...]:
    """The EER at each share, both modes: the mean of theirs."""
    found = []
    for rho in SHARES:
        rates = []
        for mode in sorted({trial.mode for trial in trials if trial.rho == rho}):
            here = np.array([trial.rho == rho and trial.mode == mode for trial in trials])
            target = np.array([trial.label for trial in trials])
            rates.append(eer(scores[here & target], scores[here & ~target]).value)
        found.append(Figure(f"EER % at {rho:g}", 100 * float(np.mean(rates))))
    return tuple(found)


def _safety(
    ear: PersonalVerifier, stage: Stage, material: MixedMaterial, scores: NDArray[np.float64]
) -> tuple[Figure, ...]:
    """Whether gates follow the claimed voice, and whether it is written into what does not hold it."""
    swap = swapped(ear, stage.trials, material.rows.root)
    labels = [trial.label for trial in stage.trials]
    table = pl.DataFrame({"label": labels, NO_VAD: stage.heard.scores[NO_VAD], SVVAD: scores}).with_columns(error=None)
    voices = np.unique(stage.heard.voices, axis=0)
    noise, silence = injections(ear, voices, table)
    others = others_only(table)
    correlation = () if swap.correlation is None else (Figure("correlation, voices swapped", swap.correlation),)
    return (
        *correlation,
        Figure("white noise, 99 %", noise.gated_99),
        Figure("silence, 99 %", silence.gated_99),
        Figure("plain non-targets, 99 %", noise.nontarget_99),
        Figure("false accepts % before", 100 * others.plain),
        Figure("false accepts % after", 100 * others.gated),
    )


INFO = ModelInfo(
    name="claim", task="personal-vad", network={}, windows=Whole(), polarity="higher = same speaker", licence="none"
)
CLAIM = SvvadClaim(
    PLAN,
    speaker_base({"kind": "attentive_statistics", "form": "ws"}, loop={**BUDGET["loop"], "epochs": 8}),
    {
        "name": "claim",
        "task": "personal-vad",
        "data": {"manifests": ["mixtures of recordings"]},
        "network": {
            "dim": 32,
            "conformer_blocks": 1,
            "transformer_blocks": 1,
            "condition": 32,
            "hidden": 128,
            "dropout": 0.0,
        },
        "mixing": {
            "seconds": [2.0, 2.0],
            "registration_s": [2.0, 2.0],
            "target_s": [2.0, 2.0],
            "noise_p": 0.0,
        },
        "draws": 1000,
        "optimiser": {"kind": "adamw", "lr": 0.002},
        "loop": {"epochs": 2, "batch_size": 8, "clip_norm": 5.0, "accelerator": "cpu"},
    },
)
