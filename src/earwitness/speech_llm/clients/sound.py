"""Recordings as the bytes that servers take: WAV of 16 kHz, mono, PCM16, and its base64 on one line."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Sequence

import numpy as np

from earwitness.audio.reading import RATE
from earwitness.audio.recording import Recording
from earwitness.speech_llm.clients.answers import failed
from earwitness.speech_llm.clients.interface import Answer

HEADER_BYTES = 44


def wav_bytes(recording: Recording) -> bytes:
    """The recording as a WAV file: samples that came from 16-bit audio come out as they were.

    What lies above full scale is clipped, as PCM16 has no place for it. The rate must be 16 kHz (`unanswerable` tells).
    """
    scaled = np.clip(np.rint(recording.samples.astype(np.float64) * 32768), -32768, 32767)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(recording.rate)
        out.writeframes(scaled.astype("<i2").tobytes())
    return file.getvalue()


def base64_text(data: bytes) -> str:
    """Base64 without newlines."""
    return base64.b64encode(data).decode("ascii")


def wav_size(recording: Recording) -> int:
    """Bytes of its WAV."""
    return HEADER_BYTES + 2 * len(recording.samples)


def base64_size(size: int) -> int:
    """Characters of base64 for so many bytes."""
    return 4 * ((size + 2) // 3)


def unanswerable(audios: Sequence[Recording], most: int, max_seconds: float | None) -> Answer | None:
    """Why recordings cannot be given to a model that takes so many of such a length; None where they can."""
    if len(audios) > most:
        return failed(f"{len(audios)} recordings for a model that takes {most} in one question")
    for audio in audios:
        if why := _unheard(audio):
            return failed(why)
        if max_seconds is not None and audio.duration_s > max_seconds:
            what = f"the recording has {audio.duration_s:.1f} s and the model hears {max_seconds:g} s"
            return failed(f"{what}: choose another `length`", "too_long")
    return None


def _unheard(recording: Recording) -> str | None:
    """Why a recording cannot be sent as it is, in words; None where it can."""
    if recording.rate != RATE:
        return f"the recording has {recording.rate} Hz and models are sent {RATE}: resample it when it is loaded"
    if len(recording.samples) == 0:
        return "the recording holds no samples"
    if not np.isfinite(recording.samples).all():
        return "the recording holds samples that are not finite"
    return None
