"""Does it invent the voice that it looks for? Tests that need no target: noise, others' voices, and swapped conditions.

A network that is conditioned on a voice and trained through a verifier can learn to write that voice into any input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.core.errors import AudioError
from earwitness.corpora.mixtures import MixtureTrial, mixed_trial
from earwitness.evaluation.personal_vad.scoring import Enrolled
from earwitness.evaluation.personal_vad.systems import NO_VAD, SVVAD, frame_flags
from earwitness.metrics.detection import eer
from earwitness.nn.types import Frames
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.personal_vad.hearing import PersonalVerifier

MOST_VOICES = 50
SECONDS = 4.0
NOISE_RMS = 0.05
_AT_ONCE = 10  # voices


@dataclass(frozen=True)
class Injection:
    """Scores of many enrolled voices on an input in which nobody speaks. `within`: the gated mean stays in the range of
    the plain verifier's non-target scores (up to their 99th percentile)."""

    sound: str
    voices: int
    plain_mean: float
    gated_mean: float
    gated_99: float
    nontarget_99: float

    @property
    def within(self) -> bool:
        """Whether nothing was written into the sound."""
        return self.gated_mean <= self.nontarget_99


@dataclass(frozen=True)
class OthersOnly:
    """Shares of non-target trials that are accepted at one threshold, the plain verifier's EER threshold over all
    trials."""

    trials: int
    threshold: float
    plain: float
    gated: float


@dataclass(frozen=True)
class Swap:
    """The same mixture heard for its one voice and for the other: the correlation of the two gammas over frames in
    which one of them speaks alone; below 0 where the condition decides. None: gamma never moves."""

    mixtures: int
    correlation: float | None
    share_below_zero: float | None


def injections(
    verifier: PersonalVerifier, voices: Vectors, table: pl.DataFrame, seed: int = 0
) -> tuple[Injection, ...]:
    """White noise and silence of 4 s for up to 50 voices [V, E]."""
    limit = float(np.quantile(_nontargets(table, NO_VAD), 0.99))
    rng = np.random.default_rng(seed)
    size = round(SECONDS * verifier.info.rate)
    sounds = {"white noise": NOISE_RMS * rng.standard_normal(size), "silence": np.zeros(size)}
    found = []
    for name, samples in sounds.items():
        frames = verifier.features(samples.astype(np.float32))
        used = voices[:MOST_VOICES]
        gated = np.concatenate(
            [_scores(verifier, frames, used[start : start + _AT_ONCE]) for start in range(0, len(used), _AT_ONCE)]
        )
        plain = verifier.verifier.embed(frames).detach().numpy()[0] @ used.T
        found.append(
            Injection(name, len(used), float(plain.mean()), float(gated.mean()), float(np.quantile(gated, 0.99)), limit)
        )
    return tuple(found)


def others_only(table: pl.DataFrame) -> OthersOnly:
    """False accepts before and after, where the enrolled speaker is not heard at all."""
    heard = table.filter(pl.col("error").is_null())
    threshold = eer(heard.filter("label")[NO_VAD], heard.filter(~pl.col("label"))[NO_VAD]).threshold
    plain, gated = (_nontargets(table, system) for system in (NO_VAD, SVVAD))
    return OthersOnly(len(plain), threshold, float((plain >= threshold).mean()), float((gated >= threshold).mean()))


def swapped(verifier: PersonalVerifier, trials: Sequence[MixtureTrial], root: Path, most: int = 50) -> Swap:
    """Target trials in which voices take turns, conditioned on the speaker and then on the other voice, which is
    enrolled from the recording that is in the mixture."""
    voices = Enrolled(verifier, root)
    found: list[float] = []
    count = 0
    for trial in trials:
        if count >= most or not trial.label or trial.mode != "concat" or trial.rho == 1:
            continue
        try:
            pair = np.stack([voices.of(trial.enrol), voices.of(trial.others[0])])
            mixture = mixed_trial(trial, root, verifier.info.rate)
            frames = verifier.features(mixture.samples)
        except AudioError:
            continue  # told with its row of scores
        count += 1
        lead, others = frame_flags(verifier, mixture, frames)
        first, second = verifier.gate(frames, pair).gamma[..., 0].numpy()[:, lead ^ others]
        if first.std() > 1e-6 and second.std() > 1e-6:
            found.append(float(np.corrcoef(first, second)[0, 1]))
    if not found:
        return Swap(count, None, None)
    return Swap(count, float(np.mean(found)), float(np.mean(np.array(found) < 0)))


def enrolled_voices(verifier: PersonalVerifier, trials: Sequence[MixtureTrial], root: Path) -> Vectors:
    """Up to 50 voices [V, E]: those that the list enrols, then those of the cohort."""
    voices = Enrolled(verifier, root)
    found: list[Vectors] = []
    for name in dict.fromkeys(trial.enrol for trial in trials):
        if len(found) == MOST_VOICES:
            break
        try:
            found.append(voices.of(name))
        except AudioError:
            continue
    if verifier.cohort is not None:
        found.extend(verifier.cohort[: MOST_VOICES - len(found)])
    return np.stack(found)


def _scores(verifier: PersonalVerifier, frames: Frames, voices: Vectors) -> NDArray[np.float32]:
    heard = verifier.embed(verifier.gate(frames, voices)).numpy()
    return np.asarray((heard * voices).sum(axis=1), np.float32)


def _nontargets(table: pl.DataFrame, system: str) -> NDArray[np.float64]:
    heard = table.filter(pl.col("error").is_null() & ~pl.col("label"))
    return heard[system].to_numpy()
