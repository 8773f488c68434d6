"""What a vocoder is, and what several of them need."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]


class Vocoder(Protocol):
    """Analyses a signal and makes it anew from what it kept. An instance is one setting, and can be pickled."""

    family: ClassVar[str]  # as in `corpora.families`
    made_with: ClassVar[str]  # for the licence of what comes out

    @property
    def system(self) -> str:
        """The name of the twins' `system`: what of the setting matters most."""
        ...

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        """A setting at random."""
        ...

    @classmethod
    def require(cls) -> None:
        """Raises `MissingPartError` where what the vocoder runs on is not installed."""
        ...

    def resynthesise(self, samples: Signal, rate: int, rng: np.random.Generator) -> NDArray[np.floating[Any]]:
        """The signal anew at the same rate, in time with `samples` [N]; the caller sees to length and level."""
        ...


def resampled(samples: NDArray[np.floating[Any]], rate: int, target_rate: int) -> Signal:
    """At another rate, in float64; the same samples where the rates are equal."""
    import soxr

    signal = np.asarray(samples, np.float64)
    return signal if rate == target_rate else np.asarray(soxr.resample(signal, rate, target_rate), np.float64)
