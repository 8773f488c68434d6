"""What a model hears of each recording: its samples, or the frames that the frozen encoder makes of them, kept once."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from earwitness.audio.reading import load
from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_data
from earwitness.core.writing import write_atomically
from earwitness.nn.frontends import Frontend
from earwitness.speech_llm.training.metadata import MetadataConfig, Recogniser, metadata_text
from earwitness.speech_llm.training.records import Record

RATE = 16_000


@dataclass(frozen=True)
class Stretch:
    """A stretch of a file, in seconds; `end` None: to its end."""

    path: Path
    start: float
    end: float | None


def stretch_of(record: Record, root: Path) -> Stretch:
    """Where a record's audio lies."""
    return Stretch(root / record.audio, record.start, record.end)


@dataclass(frozen=True)
class Samples:
    """`Ear`: the samples [N] of each example, read anew each time. Raises `DataError` above `most_s` seconds."""

    stretches: Sequence[Stretch]
    most_s: float

    def __call__(self, place: int) -> Tensor:
        one = self.stretches[place]
        heard = load(one.path, RATE, start_s=one.start, end_s=one.end)
        if heard.duration_s > self.most_s:
            raise DataError(
                f"is {heard.duration_s:.1f} s long, more than {self.most_s:g} s", where=one.path, fix="Cut it."
            )
        return torch.from_numpy(heard.samples)


@dataclass(frozen=True)
class KeptFrames:
    """`Ear`: the frames [T * D] of each example, one after the other, as the front-end `kept` takes them.

    Each stretch is a float16 file in `folder`, named by what it depends on; what is missing is computed.
    """

    samples: Samples
    frontend: Frontend
    named: str  # the front-end's configuration and the padding, as a hash
    folder: Path
    pad_to_s: float | None = None

    def __call__(self, place: int) -> Tensor:
        path = self._path(place)
        if not path.is_file():
            self._compute(place, path)
        return torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))

    @torch.inference_mode()
    def _compute(self, place: int, path: Path) -> None:
        waveform = self.samples(place)[None]
        if self.pad_to_s is not None:
            waveform = torch.nn.functional.pad(waveform, (0, -waveform.shape[1] % round(self.pad_to_s * RATE)))
        frames = self.frontend(waveform).values[0]
        written = io.BytesIO()
        np.save(written, frames.flatten().half().numpy(), allow_pickle=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, written.getvalue())

    def _path(self, place: int) -> Path:
        one = self.samples.stretches[place]
        known = [str(one.path), one.path.stat().st_size if one.path.is_file() else 0, one.start, one.end, self.named]
        return self.folder / f"{sha256_data(known)[:32]}.npy"


def with_detected(
    records: Sequence[Record], recogniser: Recogniser, root: Path, config: MetadataConfig
) -> list[Record]:
    """The records with the line of what a recogniser hears in their audio as `metadata_text`; each stretch is heard
    once.

    Raises `AudioError` for audio that cannot be read.
    """
    lines: dict[Stretch, str] = {}
    for record in records:
        one = stretch_of(record, root)
        if one not in lines:
            lines[one] = metadata_text(recogniser.hear(load(one.path, RATE, start_s=one.start, end_s=one.end)), config)
    return [replace(record, metadata_text=lines[stretch_of(record, root)]) for record in records]
