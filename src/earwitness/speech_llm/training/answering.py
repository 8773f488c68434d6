"""A taught model that answers as every other speech language model does."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from earwitness.audio.recording import Recording
from earwitness.core.errors import EarwitnessError, UsageError
from earwitness.speech_llm.clients.interface import Answer, Params, Usage
from earwitness.speech_llm.training.features import RATE
from earwitness.speech_llm.training.metadata import MetadataConfig, Recogniser, metadata_text
from earwitness.speech_llm.training.model import SpeechLanguageModel
from earwitness.speech_llm.training.prompt import make_prompt, worded
from earwitness.speech_llm.training.recipe import SpeechLlmConfig


class TaughtModel:
    """`SpeechLLM`: greedy answers about one recording of at most `max_seconds`."""

    max_audios = 1

    def __init__(
        self,
        model: SpeechLanguageModel,
        config: SpeechLlmConfig,
        name: str,
        reference: str = "",
        recogniser: Recogniser | None = None,
        metadata: MetadataConfig = MetadataConfig(),
    ) -> None:
        self.model, self.config = model.eval(), config
        self._name, self.reference = name, reference
        self.recogniser, self.metadata = recogniser, metadata

    @property
    def id(self) -> str:
        """The model's name with a hash of its weights, of what is frozen, and of how it is asked."""
        return self._name

    @property
    def max_seconds(self) -> float:
        """The longest recording that is heard; longer ones are refused."""
        return self.config.max_seconds

    def instruction(self, audios: Sequence[Recording], prompt: str) -> str:
        """The question, with what the recogniser hears in the recording before it, where there is one."""
        if self.recogniser is None or not audios:
            return worded(prompt)
        return worded(prompt, metadata_text(self.recogniser.hear(audios[0]), self.metadata))

    def answer(
        self, audios: Sequence[Recording], prompt: str, *, system: str | None = None, params: Params = Params()
    ) -> Answer:
        """The greedy answer; what cannot be answered is an answer with the status `error` or `too_long`."""
        started = time.monotonic()
        refused = self._refusal(audios, system, params)
        if refused is not None:
            return refused
        try:
            asked = make_prompt(self.config.prompt, self.model.decoder, self.instruction(audios, prompt))
            samples = torch.from_numpy(audios[0].samples)[None]
            device = self.model.decoder.model.device
            lengths = torch.tensor([samples.shape[1]])
            reply = self.model.reply(samples.to(device), lengths, [asked], params.max_tokens)[0]
        except (EarwitnessError, RuntimeError) as error:
            return Answer(None, "error", str(error).splitlines()[0], latency_s=time.monotonic() - started)
        heard, took = audios[0].duration_s, time.monotonic() - started
        used, reason = Usage(reply.read, reply.written), "stop" if reply.finished else "length"
        if not reply.text:
            return Answer(None, "empty", "the model wrote nothing", reason, heard, took, used, self.reference)
        return Answer(reply.text, "ok", None, reason, heard, took, used, self.reference)

    def _refusal(self, audios: Sequence[Recording], system: str | None, params: Params) -> Answer | None:
        """What this model cannot be asked; None where it can answer."""
        if len(audios) != 1:
            return Answer(None, "error", f"hears one recording a question, not {len(audios)}")
        if system is not None:
            return Answer(None, "error", "has no place for a system prompt")
        if params.schema is not None or params.temperature > 0:
            return Answer(None, "error", "answers greedily (temperature 0), and keeps to no schema")
        if audios[0].rate != RATE:
            raise UsageError(f"recordings of {audios[0].rate} Hz", fix=f"Load them at {RATE} Hz.")
        if audios[0].duration_s > self.max_seconds:
            return Answer(None, "too_long", f"{audios[0].duration_s:.1f} s; at most {self.max_seconds:g} s are heard")
        return None
