"""What every model that answers has in common: one question with its recordings goes in, one `Answer` comes out.

A text model is the same thing with no recordings. A client never raises for what a server does: a failure is an answer
with a status of its own, so that it is counted and never scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

from earwitness.audio.recording import Recording

Status = Literal["ok", "refused", "empty", "error", "timeout", "too_long"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Params:
    """How a reply is decoded. `schema` is a JSON schema as text, which the reply must fit."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int | None = 1
    schema: str | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens, where the server counts them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True)
class Answer:
    """A model's answer, or why there is none.

    `text` is what the model said where `status` is "ok" or "refused", else None: the words of a failure are in `error`
    and never stand in for an answer. `seconds_heard` are the seconds of sound that reached the model, `model` is the
    name which the server gave itself, and `raw` is its whole reply.
    """

    text: str | None
    status: Status
    error: str | None = None
    finish_reason: str | None = None
    seconds_heard: float = 0.0
    latency_s: float = 0.0
    usage: Usage = Usage()
    model: str | None = None
    raw: str | None = None


@runtime_checkable
class SpeechLLM(Protocol):
    """A model that answers questions, with or without recordings.

    `id` names the model and everything about the client that can change a reply (`sha256` of its configuration).
    `max_seconds` is the longest recording it hears whole (None: no limit known), `max_audios` how many in one question
    (0: a text model).
    """

    @property
    def id(self) -> str: ...

    @property
    def max_seconds(self) -> float | None: ...

    @property
    def max_audios(self) -> int: ...

    def answer(
        self, audios: Sequence[Recording], prompt: str, *, system: str | None = None, params: Params = Params()
    ) -> Answer:
        """The model's answer to one question about recordings of 16 kHz, mono."""
        ...


@runtime_checkable
class LimitsItself(Protocol):
    """A model that knows by itself how many questions may be under way, so that more can be made ready meanwhile."""

    def at_most(self, requests: int) -> SpeechLLM:
        """The same model, which has at most so many requests under way and lets further threads wait."""
        ...
