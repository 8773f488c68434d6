"""What a server's reply amounts to: text from outside, which may be anything."""

from __future__ import annotations

import json
from typing import Any

from earwitness.speech_llm.clients.answers import failed
from earwitness.speech_llm.clients.interface import Answer, Status, Usage

FILTERED = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")
TOO_LONG = ("context_length_exceeded", "string_above_max_length", "exceed_context_size_error")
TOO_LONG_WORDS = "maximum context length"  # vLLM gives no code of its own


def answer_of(status: int, body: str, latency_s: float) -> Answer:
    """A response to `/chat/completions` as an answer, `seconds_heard` aside."""
    if status != 200:
        return _failure(status, body, latency_s)
    reply = _parsed(body)
    if reply is None:
        return failed(f"the reply is not JSON: {body[:80]!r}", latency_s=latency_s, raw=body)
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        what = error_of(body.encode())[0] if "error" in reply else "the reply holds no completion"
        return failed(what, latency_s=latency_s, raw=body)
    finish = _text_or_none(choice.get("finish_reason"))
    text, kind, why = _said(message, finish)
    model = _text_or_none(reply.get("model"))
    return Answer(text, kind, why, finish, 0.0, latency_s, _usage(reply.get("usage")), model, body)


def error_of(body: bytes) -> tuple[str, str | None]:
    """A server's error: its words, and its code where it gives one."""
    text = body.decode("utf-8", "replace")
    reply = _parsed(text) or {}
    error = reply.get("error", reply.get("message", reply.get("detail")))
    if isinstance(error, dict):
        inner = error.get("innererror")
        code = error.get("code") or (inner.get("code") if isinstance(inner, dict) else None) or error.get("type")
        return str(error.get("message") or "no reason given"), None if code is None else str(code)
    return str(error) if error else (text.strip()[:200] or "no reason given"), None


def _failure(status: int, body: str, latency_s: float) -> Answer:
    words, code = error_of(body.encode("utf-8", "replace"))
    kind: Status = "error"
    if code in FILTERED:
        kind = "refused"
    elif status == 413 or code in TOO_LONG or TOO_LONG_WORDS in words:
        kind = "too_long"
    elif status in (408, 504):
        kind = "timeout"
    return failed(f"HTTP {status}: {words}", kind, latency_s=latency_s, raw=body)


def _said(message: dict[str, Any], finish: str | None) -> tuple[str | None, Status, str | None]:
    """Text, status, and why there is no text."""
    refusal = _text_or_none(message.get("refusal"))
    if refusal:
        return refusal, "refused", None
    text = _content(message.get("content"))
    if finish == "content_filter":
        return text, "refused", "the server's content filter has stopped the reply"
    if text is None:
        end = "it ended at max_tokens before any text" if finish == "length" else "it holds no text"
        return None, "empty", f"the reply is empty: {end}"
    return text, "ok", None


def _content(content: object) -> str | None:
    """A text, or a list of parts with texts; None where there is nothing but space."""
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) and content.strip() else None


def _usage(usage: object) -> Usage:
    found = usage if isinstance(usage, dict) else {}
    return Usage(_count(found.get("prompt_tokens")), _count(found.get("completion_tokens")))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
