"""What a detector's latent entropy is over the time of a recording: a trace to look at, no score and no probability.

H_t / D is a differential entropy in nats per dimension. It may be negative and depends on the scale of the model's
latent, so it compares within one trained model only. Silence strongly affects it: frames come with their level.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.audio.audible import is_audible
from earwitness.audio.recording import Samples
from earwitness.audio.windows import Window, equal_groups
from earwitness.core.errors import ModelError
from earwitness.deepfake.detector import WINDOWS_AT_ONCE, Detector
from earwitness.deepfake.latent_entropy import latent_encoder

QUIET_DBFS = -60.0
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """The frames of a window that lie in real audio, [T] each: `entropy` H_t / D in nats per dimension, `divergence`
    KL_t in nats a frame, `level` in dBFS (of the root mean square; -inf for zeros). `start_s` and `end_s` as in the
    window; `repeated`: the window holds this audio more than once, as the model heard it."""

    start_s: float
    end_s: float
    entropy: Floats
    divergence: Floats
    level: Floats
    repeated: bool

    @property
    def loud(self) -> NDArray[np.bool_]:
        """Where the level is at least `QUIET_DBFS`, [T]."""
        return self.level >= QUIET_DBFS


def has_latent_entropy(detector: Detector) -> bool:
    """Whether a detector's network classifies by a latent entropy."""
    return latent_encoder(detector.network) is not None


def traces_of(detector: Detector, windows: Iterable[Window]) -> Iterator[Trace]:
    """A trace of each window in which there is sound. Raises `ModelError` for a detector without a latent entropy."""
    encoder = latent_encoder(detector.network)
    if encoder is None:
        raise ModelError(f"{detector.info.reference} has no latent entropy", fix="Name a model trained by that loss.")
    for group in equal_groups(windows, WINDOWS_AT_ONCE):
        audible = [window for window in group if is_audible(window.samples)]
        if not audible:
            continue
        waveforms = torch.stack([torch.from_numpy(window.samples) for window in audible])
        with torch.inference_mode(), encoder.listening() as heard:
            detector.network(waveforms, None)
        entropy, divergence = (values.double().numpy() for values in (heard[0].entropy, heard[0].divergence))
        for window, *values in zip(audible, entropy, divergence, strict=True):
            yield _trace(window, detector.info.rate, *values)


def _trace(window: Window, rate: int, entropy: Floats, divergence: Floats) -> Trace:
    """Cut to the real audio of a window that was repeated to its length."""
    share = min(1.0, (window.end_s - window.start_s) * rate / len(window.samples))
    frames = max(1, round(len(entropy) * share))
    level = levels(window.samples, len(entropy))
    repeated = share < 1 - 1 / len(entropy)
    return Trace(window.start_s, window.end_s, entropy[:frames], divergence[:frames], level[:frames], repeated)


def levels(samples: Samples, frames: int) -> Floats:
    """The level of each of `frames` equal stretches, dBFS, [frames]."""
    edges = np.linspace(0, len(samples), frames + 1).astype(int)
    power = np.add.reduceat(np.square(samples, dtype=np.float64), edges[:-1]) / np.maximum(1, np.diff(edges))
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(power), np.float64)
