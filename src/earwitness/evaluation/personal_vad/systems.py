"""Ways of choosing what a frozen verifier hears of a mixture, all under the same verifier: from nothing at all to the
truth.

    no VAD               the plain verifier
    energy VAD           frames within 30 dB of the 95th percentile of the frame levels
    oracle VAD           frames in which anybody speaks
    oracle target VAD    frames in which the leading voice speaks: the target's, or who stands in for it (upper bound)
    oracle gamma         the truth as gamma: frames without the leading voice are muted, none is left out
    two-step             1.5 s every 0.25 s; kept where the cosine with the enrolled voice is above the middle between
                         the lowest and the highest of the recording
    SVVAD                as the model is; its gamma alone, without beta; gamma as weights of the pooling too

Where frames are left out, the mean of what is kept is taken out anew. `oracle` systems alone read when a voice speaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earwitness.core.errors import MetricError
from earwitness.corpora.mixtures import Mixture
from earwitness.metrics.detection import auc
from earwitness.nn.types import Frames
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.personal_vad.backbone import Gated
from earwitness.speaker.personal_vad.hearing import PersonalVerifier
from earwitness.speaker.personal_vad.verifier import without_frames

Flags = NDArray[np.bool_]
Floats = NDArray[np.float32]

NO_VAD, ENERGY, ORACLE, ORACLE_TARGET = "no VAD", "energy VAD", "oracle VAD", "oracle target VAD"
ORACLE_GAMMA = "oracle gamma"
TWO_STEP, SVVAD, GAMMA, POOLED = "two-step", "SVVAD", "SVVAD, gamma alone", "SVVAD, gamma pools too"
SYSTEMS = (NO_VAD, ENERGY, ORACLE, ORACLE_TARGET, ORACLE_GAMMA, TWO_STEP, GAMMA, SVVAD, POOLED)

BELOW_LOUDEST_DB = 30.0
STEP_WINDOW_S, STEP_HOP_S = 1.5, 0.25


@dataclass(frozen=True)
class Measured:
    """One trial: `scores` by system, and what gamma did, as far as the mixture allows to say.

    `auc_other`: the chance that gamma is higher in a frame of the leading voice alone than in one of others alone;
    `auc_rest` than in any frame without it. `gamma`: means over frames of the leading voice, of others alone, and
    without speech. None: no such frames.
    """

    scores: dict[str, float]
    auc_other: float | None
    auc_rest: float | None
    gamma: tuple[float | None, float | None, float | None]


@torch.inference_mode()
def measure(verifier: PersonalVerifier, mixture: Mixture, voice: Vectors) -> Measured:
    """All systems on one mixture, for one enrolled voice [E]."""
    frames = verifier.features(mixture.samples)
    gated = verifier.gate(frames, voice[None])
    lead, others = frame_flags(verifier, mixture, frames)
    alone = Gated(Frames(gated.gamma * frames.values), gated.gamma, torch.zeros_like(gated.beta))
    vectors = {
        **_untrained(verifier, mixture, voice),
        SVVAD: verifier.embed(gated),
        GAMMA: verifier.embed(alone),
        POOLED: verifier.verifier.embed(gated.frames, gated.gamma),
    }
    gamma = gated.gamma[0, :, 0].numpy()
    return Measured(
        scores={name: float(vectors[name][0].numpy() @ voice) for name in SYSTEMS},
        auc_other=gamma_auc(gamma, lead & ~others, others & ~lead),
        auc_rest=gamma_auc(gamma, lead, ~lead),
        gamma=(_mean(gamma, lead), _mean(gamma, others & ~lead), _mean(gamma, ~lead & ~others)),
    )


@torch.inference_mode()
def measure_untrained(verifier: PersonalVerifier, mixture: Mixture, voice: Vectors) -> dict[str, float]:
    """The scores of all systems that learn nothing."""
    vectors = _untrained(verifier, mixture, voice)
    return {name: float(vector[0].numpy() @ voice) for name, vector in vectors.items()}


def _untrained(verifier: PersonalVerifier, mixture: Mixture, voice: Vectors) -> dict[str, Tensor]:
    """What the verifier makes of the frames that each of them keeps, [1, E] each."""
    frames = verifier.features(mixture.samples)
    lead, others = frame_flags(verifier, mixture, frames)
    kept = {
        ENERGY: loud_frames(verifier, mixture.samples, frames),
        ORACLE: lead | others,
        ORACLE_TARGET: lead,
        TWO_STEP: _alike(verifier, frames, voice),
    }
    heard = {NO_VAD: frames} | {name: without_frames(frames, torch.from_numpy(flags)) for name, flags in kept.items()}
    truth = torch.from_numpy(lead.astype(np.float32))[None, :, None]
    muted = Gated(Frames(truth * frames.values), truth, torch.zeros_like(truth))
    return {name: verifier.verifier.embed(one) for name, one in heard.items()} | {ORACLE_GAMMA: verifier.embed(muted)}


def frame_flags(verifier: PersonalVerifier, mixture: Mixture, frames: Frames) -> tuple[Flags, Flags]:
    """When the leading voice and when others speak, a frame of the features each, [T]."""
    return mixture.frames(frames.values.shape[1], verifier.verifier.hop, verifier.verifier.window)


def loud_frames(verifier: PersonalVerifier, samples: Floats, frames: Frames) -> Flags:
    """Frames [T] within 30 dB of the 95th percentile of the frame levels."""
    hop, window = verifier.verifier.hop, verifier.verifier.window
    padded = np.pad(samples.astype(np.float64), (0, window))
    sums = np.concatenate([[0.0], np.cumsum(np.square(padded))])
    starts = np.minimum(np.arange(frames.values.shape[1]) * hop, len(samples))
    level = 10 * np.log10(np.maximum((sums[starts + window] - sums[starts]) / window, 1e-12))
    return np.asarray(level >= np.percentile(level, 95) - BELOW_LOUDEST_DB)


def _alike(verifier: PersonalVerifier, frames: Frames, voice: Vectors) -> Flags:
    """Frames [T] of windows that resemble the enrolled voice more than the recording's middle."""
    rate, count = verifier.verifier.frames_per_second, frames.values.shape[1]
    size, hop = min(count, round(STEP_WINDOW_S * rate)), round(STEP_HOP_S * rate)
    starts = list(range(0, count - size + 1, hop))
    windows = torch.cat([frames.values[:, start : start + size] for start in starts])
    cosines = verifier.verifier.embed(Frames(windows - windows.mean(1, keepdim=True))).numpy() @ voice
    sums, heard = np.zeros(count), np.zeros(count)
    for start, cosine in zip(starts, cosines, strict=True):
        sums[start : start + size] += cosine
        heard[start : start + size] += 1
    likeness = np.where(heard > 0, sums / np.maximum(heard, 1), cosines.min())
    return np.asarray(likeness >= (likeness.min() + likeness.max()) / 2)


def gamma_auc(gamma: Floats, positive: Flags, negative: Flags) -> float | None:
    """The chance that gamma is higher in a frame of the one kind than of the other; None where there are no such."""
    try:
        return auc(gamma[positive], gamma[negative])
    except MetricError:
        return None


def _mean(gamma: Floats, frames: Flags) -> float | None:
    return float(gamma[frames].mean()) if frames.any() else None
