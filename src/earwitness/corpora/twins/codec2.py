"""Codec 2: a sinusoidal speech codec of 700 to 3200 bit/s, which makes speech anew from a few numbers a frame."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from earwitness.core.errors import AudioError, MissingPartError
from earwitness.corpora.twins.base import Signal, resampled

_RATE = 8_000  # Hz, the codec's own
_PROGRAMS = ("c2enc", "c2dec")
_TIMEOUT_S = 120
# bit rate -> samples by which the output lags, measured on speech by the correlation of envelopes (+-15)
_LAGS = {"3200": 165, "2400": 165, "1600": 178, "1300": 175, "700C": 262}


@dataclass(frozen=True)
class Codec2:
    """One bit rate. What comes out has nothing above 4 kHz, at any rate."""

    bitrate: str = "2400"  # 3200, 2400, 1600, 1300 or 700C bit/s

    family: ClassVar[str] = "codec2"
    made_with: ClassVar[str] = "Codec 2"

    @property
    def system(self) -> str:
        """E.g. twin-codec2-2400."""
        return f"twin-codec2-{self.bitrate}"

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        """Any bit rate."""
        return cls(tuple(_LAGS)[rng.integers(len(_LAGS))])

    @classmethod
    def require(cls) -> None:
        """Raises `MissingPartError` where the programs `c2enc` and `c2dec` are not installed."""
        for program in _PROGRAMS:
            if shutil.which(program) is None:
                fix = "Install your system's package codec2 (apt install codec2)."
                raise MissingPartError(f"the program {program} of Codec 2 is not here", fix=fix)

    def resynthesise(self, samples: Signal, rate: int, rng: np.random.Generator) -> Signal:
        """Through encoder and decoder at 8 kHz. Nothing is drawn. Raises `AudioError` where the codec fails."""
        lag = _LAGS[self.bitrate]
        narrow = np.clip(resampled(samples, rate, _RATE), -1, 1)
        pcm = np.pad(np.rint(narrow * 32767), (0, lag + _RATE // 10)).astype("<i2").tobytes()  # the tail comes late
        for program in _PROGRAMS:
            pcm = _run([program, self.bitrate, "-", "-"], pcm)
        made = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2")[lag : lag + len(narrow)] / 32768
        if len(made) < len(narrow):
            raise AudioError(f"Codec 2 gave {len(made)} samples for {len(narrow)}")
        return resampled(made, _RATE, rate)


def _run(command: list[str], given: bytes) -> bytes:
    try:
        return subprocess.run(command, input=given, capture_output=True, check=True, timeout=_TIMEOUT_S).stdout
    except (subprocess.SubprocessError, OSError) as error:
        raise AudioError(f"{command[0]} failed ({error})") from None
