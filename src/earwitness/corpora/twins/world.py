"""WORLD (Morise, Yokomori, Ozawa 2016, IEICE Trans. E99-D): pitch, spectral envelope and aperiodicity, and back."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
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
        pyworld, inside = _pyworld(), max(rate, _LOWEST_RATE)
        heard = analyse(samples, rate, self.f0_method, self.frame_ms)
        f0, envelope, aperiodicity = heard.f0, heard.envelope, heard.aperiodicity
        if self.smoothed_f0:
            f0 = np.where(f0 > 0, medfilt(f0, 5), 0.0)  # what was unvoiced stays so
        size = (envelope.shape[1] - 1) * 2
        if self.envelope_dims is not None:
            coded = pyworld.code_spectral_envelope(envelope, inside, self.envelope_dims)
            envelope = pyworld.decode_spectral_envelope(coded, inside, size)
        if self.coded_aperiodicity:
            bands = pyworld.code_aperiodicity(aperiodicity, inside)
            aperiodicity = pyworld.decode_aperiodicity(bands, inside, size)
        return resampled(synthesise(replace(heard, f0=f0, envelope=envelope, aperiodicity=aperiodicity)), inside, rate)


@dataclass(frozen=True)
class Analysis:
    """What WORLD keeps of a signal at `rate` Hz, a frame every `frame_ms`: `f0` [T] in Hz (0: unvoiced), `envelope`
    [T, F] of power, and `aperiodicity` [T, F], 0 to 1 (empty where it was not asked for)."""

    f0: Signal
    envelope: Signal
    aperiodicity: Signal
    rate: int
    frame_ms: float


def analyse(
    samples: NDArray[np.floating[Any]],
    rate: int,
    f0_method: Literal["dio", "harvest"] = "harvest",
    frame_ms: float = 5.0,
    aperiodicity: bool = True,
) -> Analysis:
    """Samples [N] at 16 kHz or above, whatever their rate. Raises `MissingPartError` where pyworld is not installed."""
    pyworld = _pyworld()
    inside = max(rate, _LOWEST_RATE)
    signal = resampled(samples, rate, inside)
    signal = np.ascontiguousarray(np.pad(signal, (0, max(0, round(_SHORTEST_S * inside) - len(signal)))))
    if f0_method == "dio":
        rough, times = pyworld.dio(signal, inside, frame_period=frame_ms)
        f0 = pyworld.stonemask(signal, rough, times, inside)
    else:
        f0, times = pyworld.harvest(signal, inside, frame_period=frame_ms)
    envelope = pyworld.cheaptrick(signal, f0, times, inside)
    noise = pyworld.d4c(signal, f0, times, inside) if aperiodicity else np.empty((0, 0))
    # NaN in bands without any power
    return Analysis(f0, envelope, np.nan_to_num(noise, nan=1.0), inside, frame_ms)


def synthesise(analysis: Analysis) -> Signal:
    """Samples at the analysis' rate."""
    parts = (np.ascontiguousarray(part) for part in (analysis.f0, analysis.envelope, analysis.aperiodicity))
    return np.asarray(_pyworld().synthesize(*parts, analysis.rate, analysis.frame_ms))


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
