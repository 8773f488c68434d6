"""What is heard of a long recording: all or nothing, its start, or all in chunks whose answers are joined.

The three give different results, so the policy is a field of every client that hears, and with it a part of its id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import AfterValidator

from earwitness.audio.recording import Recording
from earwitness.core.errors import UsageError
from earwitness.speech_llm.clients.answers import failed
from earwitness.speech_llm.clients.fencing import fenced, rule
from earwitness.speech_llm.clients.interface import Answer, Params, SpeechLLM, Usage

SHORTEST_S = 0.1
_POLICY = re.compile(r"(first|chunk):(\d+(?:\.\d+)?)")

MERGE_SYSTEM = f"You join several answers into one. {rule('answers')}"
MERGE_PROMPT = """A recording was heard in {count} consecutive parts, and one question was answered for each part alone.
{answers}
The question: {question}
Answer the question for the recording as a whole, from the answers of the parts only. Give the answer alone."""


@dataclass(frozen=True)
class LengthPolicy:
    """`full`, or `first` and `chunk` with `seconds`."""

    kind: Literal["full", "first", "chunk"]
    seconds: float = 0.0


def policy_named(text: str) -> LengthPolicy:
    """`full`, `first:30` or `chunk:30`. Raises `ValueError`."""
    if text == "full":
        return LengthPolicy("full")
    found = _POLICY.fullmatch(text)
    if found is None or float(found[2]) < SHORTEST_S:
        raise ValueError("use `full`, `first:SECONDS` or `chunk:SECONDS`")
    return LengthPolicy("first" if found[1] == "first" else "chunk", float(found[2]))


def _checked(text: str) -> str:
    policy_named(text)
    return text


Length = Annotated[str, AfterValidator(_checked)]


def under_policy(client: SpeechLLM, length: str, merger: SpeechLLM | None = None) -> SpeechLLM:
    """The client as it is (`full`: what is too long is an answer `too_long`), or so that it hears by the policy.

    `merger` is a text model that joins the answers of chunks; without one they are listed with their times.
    The client's id must know the policy already. Raises `UsageError` where it does not hear the policy's seconds.
    """
    policy = policy_named(length)
    if policy.kind == "full" or client.max_audios == 0:
        return client
    if client.max_seconds is not None and policy.seconds > client.max_seconds:
        what = f"the model hears {client.max_seconds:g} s"
        raise UsageError(what, where=f"length: {length}", fix=f"Use {policy.kind}:{client.max_seconds:g} or less.")
    return FirstSeconds(client, policy.seconds) if policy.kind == "first" else InChunks(client, policy.seconds, merger)


class FirstSeconds:
    """Hears the first `seconds` of each recording."""

    def __init__(self, client: SpeechLLM, seconds: float) -> None:
        self.client = client
        self.seconds = seconds
        self.id = client.id

    @property
    def max_seconds(self) -> float | None:
        """What it hears whole; longer ones are answered by their start."""
        return self.seconds

    @property
    def max_audios(self) -> int:
        """That of the model."""
        return self.client.max_audios

    def answer(
        self, audios: Sequence[Recording], prompt: str, *, system: str | None = None, params: Params = Params()
    ) -> Answer:
        """From the first seconds."""
        heard = [pieces(audio, self.seconds)[0] for audio in audios]
        return self.client.answer(heard, prompt, system=system, params=params)


class InChunks:
    """Asks about each stretch of `seconds` of a recording, and joins the answers."""

    def __init__(self, client: SpeechLLM, seconds: float, merger: SpeechLLM | None) -> None:
        self.client = client
        self.seconds = seconds
        self.merger = merger
        self.id = client.id

    @property
    def max_seconds(self) -> float | None:
        """No limit."""
        return None

    @property
    def max_audios(self) -> int:
        """That of the model; a recording that is longer than a chunk must be the only one."""
        return self.client.max_audios

    def answer(
        self, audios: Sequence[Recording], prompt: str, *, system: str | None = None, params: Params = Params()
    ) -> Answer:
        """From all chunks. Where one of them fails, there is no answer."""
        if all(audio.duration_s <= self.seconds for audio in audios):
            return self.client.answer(audios, prompt, system=system, params=params)
        if len(audios) > 1:
            return failed(f"several recordings, one longer than {self.seconds:g} s: only one is heard in chunks")
        if params.schema is not None and self.merger is None:
            return failed("a reply by a schema cannot be a list of answers of chunks: give the client a `merge`")
        parts: list[Answer] = []
        for piece in pieces(audios[0], self.seconds):
            part = self.client.answer([piece], prompt, system=system, params=params)
            parts.append(part)
            if part.status != "ok":
                return _stopped(parts)
        return self._joined(parts, prompt, params)

    def _joined(self, parts: Sequence[Answer], question: str, params: Params) -> Answer:
        if self.merger is None:
            return _sum(replace(parts[-1], text=listed(parts)), parts)
        request = MERGE_PROMPT.format(count=len(parts), answers=fenced(listed(parts), "answers"), question=question)
        merged = self.merger.answer([], request, system=MERGE_SYSTEM, params=params)
        if merged.status != "ok":
            merged = replace(merged, error=f"the answers of {len(parts)} chunks could not be joined: {merged.error}")
        return _sum(replace(merged, model=parts[-1].model), [*parts, merged])


def pieces(recording: Recording, seconds: float) -> list[Recording]:
    """Consecutive stretches of `seconds`, the last one shorter; each sample in exactly one."""
    size = max(1, round(seconds * recording.rate))
    whole = recording.samples
    return [replace(recording, samples=whole[start : start + size]) for start in range(0, max(1, len(whole)), size)]


def listed(parts: Sequence[Answer]) -> str:
    """The answers of chunks, one below the other, with their times."""
    lines, start = [], 0.0
    for part in parts:
        end = start + part.seconds_heard
        lines.append(f"{start:g}-{end:g} s: {(part.text or '').strip()}")
        start = end
    return "\n".join(lines)


def _stopped(parts: Sequence[Answer]) -> Answer:
    last = parts[-1]
    why = last.error or last.text or last.status
    told = replace(last, text=None, error=f"chunk {len(parts)}: {why}")
    return _sum(told, parts)


def _sum(answer: Answer, parts: Sequence[Answer]) -> Answer:
    """The answer with the seconds, time, tokens and raw replies of all its parts."""
    return replace(
        answer,
        seconds_heard=sum(part.seconds_heard for part in parts),
        latency_s=sum(part.latency_s for part in parts),
        finish_reason="length" if any(part.finish_reason == "length" for part in parts) else answer.finish_reason,
        usage=Usage(
            _total(part.usage.prompt_tokens for part in parts), _total(part.usage.completion_tokens for part in parts)
        ),
        raw=json.dumps([part.raw for part in parts], ensure_ascii=False),
    )


def _total(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
