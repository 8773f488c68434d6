"""WORLD (Morise, Yokomori, Ozawa 2016, IEICE Trans. E99-D): pitch, spectral envelope and aperiodicity, and back."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from scipy.signal import medfilt

from earwitness.core.errors import MissingPartError
from earwitness.corpora.twins.base import Signal, resampled

_LOWEST_RATE = 16_000  # Hz; at 8 kHz D4C has no band to measure aperiodicity in
_SHORTEST_S = 0.25  # the pitch trackers fail on less


@dataclass(frozen=True)
class World:
    """One setting of WORLD. The envelope and the aperiodicity pass through as many numbers a frame as vocoders send."""

    f0_method: Literal["dio", "harvest"] = "harvest"  # dio is refined by StoneMask
    frame_ms: float = 5.0
    envelope_dims: int | None = None  # mel-cepstral coefficients a frame; None: the envelope uncoded
    coded_aperiodicity: bool = False
    smoothed_f0: bool = False  # median of 5 frames

    family: ClassVar[str] = "world"
    made_with: ClassVar[str] = "WORLD (pyworld)"

    @property
    def system(self) -> str:
        """E.g. twin-world-harvest-10ms."""
        return f"twin-world-{self.f0_method}-{self.frame_ms:g}ms"

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        """Any setting; the envelope is coded by 24 to 60 numbers in four draws of five."""
        dims = (None, 24, 32, 40, 60)[rng.integers(5)]
        f0_method: Literal["dio", "harvest"] = "dio" if rng.random() < 0.5 else "harvest"
        frame_ms = 5.0 if rng.random() < 0.5 else 10.0
        return cls(f0_method, frame_ms, dims, bool(rng.random() < 0.5), bool(rng.random() < 0.5))

    @classmethod
    def require(cls) -> None:
        """Raises `MissingPartError` where pyworld, or the setuptools that it asks for, is not installed."""
        _pyworld()

    def resynthesise(self, samples: Signal, rate: int, rng: np.random.Generator) -> Signal:
        """Analysed and synthesised at 16 kHz or above, whatever the rate. Nothing is drawn."""
        pyworld = _pyworld()
        inside = max(rate, _LOWEST_RATE)
        signal = resampled(samples, rate, inside)
        signal = np.ascontiguousarray(np.pad(signal, (0, max(0, round(_SHORTEST_S * inside) - len(signal)))))
        if self.f0_method == "dio":
            rough, times = pyworld.dio(signal, inside, frame_period=self.frame_ms)
            f0 = pyworld.stonemask(signal, rough, times, inside)
        else:
            f0, times = pyworld.harvest(signal, inside, frame_period=self.frame_ms)
        envelope = pyworld.cheaptrick(signal, f0, times, inside)
        aperiodicity = np.nan_to_num(pyworld.d4c(signal, f0, times, inside), nan=1.0)  # NaN in bands without any power
        if self.smoothed_f0:
            f0 = np.where(f0 > 0, medfilt(f0, 5), 0.0)  # what was unvoiced stays so
        size = (envelope.shape[1] - 1) * 2
        if self.envelope_dims is not None:
            coded = pyworld.code_spectral_envelope(envelope, inside, self.envelope_dims)
            envelope = pyworld.decode_spectral_envelope(coded, inside, size)
        if self.coded_aperiodicity:
            bands = pyworld.code_aperiodicity(aperiodicity, inside)
            aperiodicity = pyworld.decode_aperiodicity(bands, inside, size)
        made = pyworld.synthesize(f0, envelope, aperiodicity, inside, self.frame_ms)
        return resampled(made, inside, rate)


def _pyworld() -> Any:
    """The package. Its own warning of what it imports is of no use to whoever makes twins."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pyworld
    except ImportError as error:
        fix = "pip install 'earwitness[twins]'"
        raise MissingPartError(f"the WORLD vocoder cannot be loaded ({error})", fix=fix) from None
    return pyworld
