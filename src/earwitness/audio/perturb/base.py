"""What a perturbation is, the base of its configurations, and the generator that each item draws from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, Field

from earwitness.audio.recording import Samples
from earwitness.core.config import Config
from earwitness.core.errors import AudioError
from earwitness.core.hashing import sha256_text

FloatArray = NDArray[np.floating[Any]]
Operation = Callable[[Samples, int, np.random.Generator], FloatArray]
"""What a component does when it is applied: (samples [N], rate in Hz, generator) -> samples [M] of any float type."""

# Samples lie in [-1, 1]; noise and gain may overshoot. A peak of 100 can only be int16 numbers cast to float.
_LARGEST_PEAK = 100.0


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"a range is (low, high), and {pair[0]} is above {pair[1]}")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""(low, high) of a uniform draw, low <= high."""


class Perturbation(Protocol):
    """Changes samples: `(samples float32 [N], rate in Hz, generator) -> float32 [M]`, M = N except after `speed`.

    All randomness comes from the generator, so the same state gives the same samples. The input is never written to,
    and the result is a new array. The level is left as it falls out: it may pass 1.
    """

    @property
    def name(self) -> str:
        """The `kind` of the component."""
        ...

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> Samples:
        """The perturbed samples. Raises `AudioError` for samples that are not finite mono floats in [-1, 1]."""
        ...


class BasePerturbationConfig(Config):
    """Base of every perturbation's configuration: `p` is the probability with which it is applied at all."""

    model_config = ConfigDict(allow_inf_nan=False)

    kind: str
    p: float = Field(1.0, ge=0, le=1)

    @abstractmethod
    def operation(self) -> Operation:
        """What is done to the samples when the perturbation is applied."""

    def build(self) -> Perturbation:
        """The perturbation; it can be pickled, for data-loading workers."""
        return _Sometimes(self.kind, self.p, self.operation())


@dataclass(frozen=True)
class _Sometimes:
    """The one place that checks samples, draws whether to apply an operation, and settles the type of what comes out.

    No number is drawn for p = 1, so that a component that is always applied consumes exactly its own draws.
    """

    name: str
    p: float
    operation: Operation

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> Samples:
        _check(samples, self.name)
        if len(samples) == 0 or (self.p < 1 and rng.random() >= self.p):
            return samples.copy()
        result = np.asarray(self.operation(samples, rate, rng), dtype=np.float32)
        return result.copy() if np.may_share_memory(result, samples) else result


def _check(samples: Samples, name: str) -> None:
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise AudioError(
            f"samples must be mono float32 of shape [N], not {samples.dtype} of shape {list(samples.shape)}",
            where=f"perturbation {name}",
            fix="Load the audio with earwitness.audio.reading.",
        )
    # min and max carry NaN and infinity along: one pass each, no copy
    peak = max(-float(samples.min()), float(samples.max())) if len(samples) else 0.0
    if not peak <= _LARGEST_PEAK:
        raise AudioError(
            f"samples must be finite and in [-1, 1]; the peak is {peak:g}",
            where=f"perturbation {name}",
            fix="Divide integer samples by 32768 and remove NaN and infinity.",
        )


def item_rng(seed: int, epoch: int, item_id: str) -> np.random.Generator:
    """The generator of one item in one epoch: the same in every process, however many workers share the work.

    `seed` and `epoch` are non-negative. Each item is a child of the run's `SeedSequence`, its key a hash of the item's
    id that does not change between runs (unlike Python's own `hash`).
    """
    key = int(sha256_text(item_id)[:32], 16)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, key)))


def uniform(rng: np.random.Generator, first: float, second: float) -> float:
    """One draw between two bounds given in either order."""
    return float(rng.uniform(min(first, second), max(first, second)))


def fit_length(samples: Samples, length: int) -> Samples:
    """Cut, or padded with zeros at the end, to a length."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def l2_norm(samples: FloatArray) -> float:
    """sqrt(sum of squares), on this core alone: BLAS would wake its threads, which slows loaders of several workers."""
    return float(np.sqrt(np.square(samples, dtype=np.float64).sum()))
