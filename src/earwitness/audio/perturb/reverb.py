"""Reverberation: convolution with a room's impulse response, recorded or synthetic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator
from scipy.signal import oaconvolve

from earwitness.audio.perturb.base import BasePerturbationConfig, FloatArray, Operation, Range, l2_norm, uniform
from earwitness.audio.perturb.files import list_audio, load_audio
from earwitness.audio.recording import Samples


def _positive(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] <= 0:
        raise ValueError("a reverberation time is above 0 s")
    return pair


class ReverbConfig(BasePerturbationConfig):
    """Impulse responses from the files under `folder`; without a folder synthetic ones.

    A synthetic response is the direct path and, behind it, Gaussian noise that decays exponentially: by 60 dB in
    T60 ~ U(t60_s), at a direct-to-reverberant energy ratio ~ U(direct_db).
    """

    kind: Literal["reverb"] = "reverb"
    folder: Path | None = None
    t60_s: Annotated[Range, AfterValidator(_positive)] = (0.2, 0.8)
    direct_db: Range = (-3.0, 9.0)

    def operation(self) -> Operation:
        """Reverberation. Raises `DataError` where the folder holds no audio."""
        files = () if self.folder is None else list_audio(self.folder)
        return Reverberate(files, self.t60_s, self.direct_db)


@dataclass(frozen=True)
class Reverberate:
    """Convolves with a drawn file, or with a synthetic response where there are no files."""

    files: tuple[Path, ...]
    t60_s: tuple[float, float]
    direct_db: tuple[float, float]

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """Samples of the same length. Raises `AudioError` for a file that cannot be read or is silent."""
        if self.files:
            return reverberate(samples, load_audio(self.files[int(rng.integers(len(self.files)))], rate))
        t60_s, direct_db = uniform(rng, *self.t60_s), uniform(rng, *self.direct_db)
        return reverberate(samples, synthetic_response(rate, t60_s, direct_db, rng))


def reverberate(samples: Samples, response: FloatArray) -> FloatArray:
    """samples [N] * response / ||response||, cut to N from the direct path (the response's largest sample) on."""
    direct = int(np.abs(response).argmax())
    scaled = response / l2_norm(response)
    return np.asarray(oaconvolve(samples, scaled.astype(np.float32))[direct : direct + len(samples)])


def synthetic_response(rate: int, t60_s: float, direct_db: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """The direct path, 1 at sample 0, and a tail of round(t60_s rate) samples with `direct_db` dB less energy."""
    length = max(1, round(t60_s * rate))
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(1, length + 1) / length)
    tail *= 10 ** (-direct_db / 20) / l2_norm(tail)
    return np.concatenate([np.ones(1), tail])
