"""What the decoders have in common: their contract, what they tell of a file, and their refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import AudioError

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # Hz; beyond them a header is damaged, and resampling would blow up
BLOCK_VALUES = 1 << 18  # samples of all channels that lie in memory at a time
UNREADABLE = "is not audio that can be read"
CONVERT = "Check the file, or convert it to WAV or FLAC."

Frames = NDArray[np.float32]  # [N, channels], full scale = 1


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself. `duration_s` is None where none is declared (raw AAC, AMR, some MP3).

    A chained Ogg declares the length of its last link only; the samples are all read.
    """

    path: str
    container: str
    codec: str
    rate: int
    channels: int
    duration_s: float | None


class Decoder(Protocol):
    """One open file. `notes` says in words what a listener should know; complete once `blocks` has ended."""

    info: AudioInfo
    notes: list[str]

    def seek(self, frame: int) -> int:
        """Go towards a frame; returns the frame at which `blocks` will start, at or before the wanted one."""

    def blocks(self) -> Iterator[Frames]:
        """The rest of the file. Raises `AudioError` where it is damaged, or shorter than declared."""

    def close(self) -> None:
        """Give the file back."""


@contextmanager
def only_audio_errors(path: str, what: str) -> Iterator[None]:
    """Whatever a decoding library throws becomes one line with the path."""
    try:
        yield
    except AudioError:
        raise
    except Exception as error:  # FFmpeg raises nearly anything at damaged files, MemoryError too
        raise AudioError(what, where=path, fix=CONVERT) from error


def checked(info: AudioInfo) -> AudioInfo:
    """The same, if a recording can be like that."""
    if not LOWEST_RATE <= info.rate <= HIGHEST_RATE:
        raise AudioError(f"declares {info.rate} samples a second, which no recording has", where=info.path, fix=CONVERT)
    if info.channels < 1:
        raise AudioError("declares no channel", where=info.path, fix=CONVERT)
    return info


def refuse_short(path: str, declared_s: float, there_s: float, tolerance_s: float) -> None:
    """A file that holds clearly less than it declares is no recording to judge in part."""
    if declared_s - there_s > tolerance_s:
        raise AudioError(
            f"is cut short: its header declares {declared_s:.2f} s, {there_s:.2f} s are there",
            where=path,
            fix="Get the whole file, or save the part that is there as a file of its own.",
        )


def full_scale_floats(values: NDArray[Any]) -> NDArray[np.float32]:
    """Float samples as they are, integers divided by their full scale (unsigned ones are centred first)."""
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    scale = 2.0 ** (8 * values.dtype.itemsize - 1)
    centre = scale if values.dtype.kind == "u" else 0.0
    exact = values.astype(np.float64)  # 32-bit integers do not fit into float32
    return np.asarray((exact - centre) / scale, np.float32)
