"""Models behind an OpenAI-compatible `/chat/completions`: OpenAI, Azure, vLLM, llama.cpp, Ollama and their like.

Recordings go out as WAV of 16 kHz, mono, PCM16, whole or not at all. What a server does is told by the status of the
answer; only 408, 409, 429, 5xx and faults of the network are tried again.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from earwitness.audio.recording import Recording
from earwitness.core.config import Config
from earwitness.core.errors import UsageError
from earwitness.core.writing import write_atomically
from earwitness.speech_llm.clients.answers import client_id, failed
from earwitness.speech_llm.clients.completion import answer_of, error_of
from earwitness.speech_llm.clients.http import Endpoint, Failure, Response, Retries
from earwitness.speech_llm.clients.interface import Answer, Params, SpeechLLM
from earwitness.speech_llm.clients.length import Length, under_policy
from earwitness.speech_llm.clients.sound import base64_size, base64_text, unanswerable, wav_bytes, wav_size

Server = Literal["openai", "azure", "vllm", "llama.cpp", "ollama"]
SchemaForm = Literal["json_schema", "json_object", "structured_outputs"]
PASSING = frozenset({"key_env", "timeout_s", "tries", "backoff_s", "max_request_bytes"})
REASONING = re.compile(r"(^|/)(gpt-5|o[134])(\b|[-.])", re.IGNORECASE)
HEARD_S = ((re.compile(r"qwen2-audio", re.IGNORECASE), 30.0),)  # what comes later is dropped in silence, also by vLLM


@dataclass(frozen=True)
class ServerWays:
    """In what servers differ: `modalities` asks for text from models that can speak, `reasoning` whether a model's name
    may tell that it takes no temperature, `uuid` the name by which media are cached, `key_header` where the key goes.
    """

    modalities: bool = False
    reasoning: bool = False
    uuid: bool = False
    key_header: str = "Authorization"


WAYS: dict[Server, ServerWays] = {
    "openai": ServerWays(modalities=True, reasoning=True),
    "azure": ServerWays(modalities=True, reasoning=True, key_header="api-key"),
    "vllm": ServerWays(uuid=True),
    "llama.cpp": ServerWays(),
    "ollama": ServerWays(),
}


class OpenAIConfig(Config):
    """A model behind a server.

    `key_env` names the environment variable with the key. `max_audios: 0` makes it a text model. `max_seconds` None:
    no limit known. `audio_url_file` needs `media_folder`, which the server was allowed to read
    (`--allowed-local-media-path`). `reasoning` None: told by the model's name. `schema_form` is where a JSON schema is
    put; say it in the prompt too, as some servers ignore it. `merge` is the text model that joins the answers of
    `length: chunk:N`.
    """

    kind: Literal["openai"] = "openai"
    server: Server = "openai"
    base_url: str
    model: str = Field(min_length=1)
    key_env: str | None = None
    audio: Literal["input_audio", "audio_url_data", "audio_url_file"] = "input_audio"
    media_folder: Path | None = None
    audio_first: bool = True
    max_audios: int = Field(1, ge=0)
    max_seconds: float | None = Field(None, gt=0)
    length: Length = "full"
    merge: OpenAIConfig | None = None
    reasoning: bool | None = None
    uuid: bool = True
    schema_form: SchemaForm = "json_schema"
    timeout_s: float = Field(120.0, gt=0)
    tries: int = Field(5, ge=1)
    backoff_s: float = Field(1.0, ge=0)
    max_request_bytes: int = Field(20_000_000, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> OpenAIConfig:
        if self.audio != "input_audio" and self.server in ("openai", "azure"):
            raise ValueError(f"`server: {self.server}` takes `audio: input_audio` only")
        if (self.audio == "audio_url_file") != (self.media_folder is not None):
            raise ValueError("`audio: audio_url_file` needs `media_folder`, and only it does")
        if self.merge is not None and not self.length.startswith("chunk"):
            raise ValueError("`merge` is for `length: chunk:SECONDS`")
        return self

    def build(self) -> SpeechLLM:
        """Raises `UsageError` where the key is not in the environment or the address is none."""
        merger = self.merge.build() if self.merge else None
        return under_policy(OpenAIClient(self), self.length, merger)


class OpenAIClient:
    """Safe to use from many threads; `sleep` waits between tries. The key stands in no record, error or id."""

    def __init__(self, config: OpenAIConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        self.config = config
        self._ways = WAYS[config.server]
        self._key = _key(config.key_env)
        headers = {}
        if self._key:
            header = self._ways.key_header
            headers[header] = f"Bearer {self._key}" if header == "Authorization" else self._key
        retries = Retries(config.tries, config.backoff_s)
        self.endpoint = Endpoint(config.base_url, headers, config.timeout_s, retries, sleep)
        self.id = client_id(config.model, config, passing=PASSING)
        self._mark = secrets.token_hex(16)

    @property
    def max_seconds(self) -> float | None:
        """As configured, else what is known of the model by its name."""
        known = (seconds for name, seconds in HEARD_S if name.search(self.config.model))
        return self.config.max_seconds or next(known, None)

    @property
    def max_audios(self) -> int:
        """As configured."""
        return self.config.max_audios

    def answer(
        self, audios: Sequence[Recording], prompt: str, *, system: str | None = None, params: Params = Params()
    ) -> Answer:
        """One question, asked until the server answers or the tries are used up."""
        refused = self._unsendable(audios)
        if refused is not None:
            return refused
        body = self.payload(audios, prompt, system, params)
        if len(body) > self.config.max_request_bytes:
            return failed(_too_big(len(body), self.config.max_request_bytes), "too_long")
        got, latency_s = self.endpoint.post("/chat/completions", body)
        return self._told(got, sum(audio.duration_s for audio in audios), latency_s)

    def at_most(self, requests: int) -> OpenAIClient:
        """See `LimitsItself`: a question is made ready before there is a place for it."""
        twin = copy.copy(self)
        twin.endpoint = self.endpoint.at_most(requests)
        return twin

    def models(self) -> list[str] | str:
        """The names that `/models` lists, or in words why there are none."""
        got = self.endpoint.get("/models")
        if isinstance(got, Failure):
            return got.what
        if got.status != 200:
            return self._safe(f"HTTP {got.status}: {error_of(got.body)[0]}")
        try:
            return [str(entry["id"]) for entry in json.loads(got.body)["data"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return "the reply is no list of models"

    def body(self, audios: Sequence[Recording], prompt: str, system: str | None, params: Params) -> dict[str, Any]:
        """The request as it is sent. Temperature, top_p and length always stand in it: a server's own defaults differ
        from model to model."""
        sounds = [self._part(wav, base64_text(wav)) for wav in map(wav_bytes, audios)]
        return self._body(sounds, prompt, system, params)

    def payload(self, audios: Sequence[Recording], prompt: str, system: str | None, params: Params) -> bytes:
        """The bytes of `json.dumps(body)`. Base64 holds nothing to escape, so it is pasted in where a mark stands that
        no text can hold, instead of being searched character by character."""
        wavs = [wav_bytes(audio) for audio in audios]
        body = self._body([self._part(wav, self._mark) for wav in wavs], prompt, system, params)
        first, *others = json.dumps(body).encode("ascii").split(self._mark.encode("ascii"))
        pasted = [part for wav, other in zip(wavs, others, strict=False) for part in (base64.b64encode(wav), other)]
        return b"".join([first, *pasted])

    def _body(self, sounds: list[dict[str, Any]], prompt: str, system: str | None, params: Params) -> dict[str, Any]:
        text: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
        content = [*sounds, *text] if self.config.audio_first else [*text, *sounds]
        messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": content if sounds else prompt})
        body: dict[str, Any] = {"model": self.config.model, "messages": messages}
        if self._reasons:
            body["max_completion_tokens"] = params.max_tokens
        else:
            body |= {"max_tokens": params.max_tokens, "temperature": params.temperature, "top_p": params.top_p}
        if params.seed is not None:
            body["seed"] = params.seed
        if sounds and self._ways.modalities:
            body["modalities"] = ["text"]
        if params.schema is not None:
            body |= _schema(params.schema, self.config.schema_form)
        return body

    @property
    def _reasons(self) -> bool:
        named = self._ways.reasoning and REASONING.search(self.config.model) is not None
        return named if self.config.reasoning is None else self.config.reasoning

    def _part(self, data: bytes, text: str) -> dict[str, Any]:
        """A recording in a message: its WAV, and what stands for the base64 of it."""
        named = {"uuid": hashlib.sha256(data).hexdigest()} if self._ways.uuid and self.config.uuid else {}
        if self.config.audio == "input_audio":
            return {"type": "input_audio", "input_audio": {"data": text, "format": "wav"}, **named}
        url = f"data:audio/wav;base64,{text}" if self.config.media_folder is None else self._kept(data)
        return {"type": "audio_url", "audio_url": {"url": url}, **named}

    def _kept(self, data: bytes) -> str:
        """The address of a file with the recording, which is named by its content and written once."""
        assert self.config.media_folder is not None
        path = self.config.media_folder.absolute() / f"{hashlib.sha256(data).hexdigest()}.wav"
        if not path.exists():
            write_atomically(path, data)
        return path.as_uri()

    def _unsendable(self, audios: Sequence[Recording]) -> Answer | None:
        """Why these recordings cannot be sent, before anything is made of them."""
        refused = unanswerable(audios, self.max_audios, self.max_seconds)
        if refused is not None:
            return refused
        if self.config.audio != "audio_url_file":
            size = sum(base64_size(wav_size(audio)) for audio in audios)
            if size > self.config.max_request_bytes:
                return failed(_too_big(size, self.config.max_request_bytes), "too_long")
        return None

    def _told(self, got: Response | Failure, seconds: float, latency_s: float) -> Answer:
        if isinstance(got, Failure):
            return failed(got.what, "timeout" if got.timeout else "error", latency_s=latency_s)
        answer = answer_of(got.status, self._safe(got.body.decode("utf-8", "replace")), latency_s)
        heard = seconds if answer.status in ("ok", "refused", "empty") and got.status == 200 else 0.0
        return replace(answer, seconds_heard=heard)

    def _safe(self, text: str) -> str:
        """A server may send the key back."""
        return text.replace(self._key, "[key]") if self._key else text


def _schema(schema: str, form: SchemaForm) -> dict[str, Any]:
    """A schema where the server looks for it."""
    parsed = json.loads(schema)
    if form == "structured_outputs":
        return {"structured_outputs": {"json": parsed}}
    if form == "json_object":
        return {"response_format": {"type": "json_object", "schema": parsed}}
    nested = {"name": "reply", "strict": True, "schema": parsed}
    return {"response_format": {"type": "json_schema", "json_schema": nested}}


def _too_big(size: int, most: int) -> str:
    return f"the request has {size / 1e6:.1f} MB and at most {most / 1e6:.1f} are sent: choose another `length`"


def _key(name: str | None) -> str | None:
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise UsageError(f"the environment variable {name} is not set", fix="Set it to the server's key.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"the environment variable {name} holds no key", fix="Keys are printable ASCII.")
    return key
