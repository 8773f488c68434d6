"""Answers for what goes wrong, and the name of a client."""

from __future__ import annotations

import re
from typing import Any

from earwitness.core.config import Config
from earwitness.core.errors import printable
from earwitness.core.hashing import sha256_data
from earwitness.speech_llm.clients.interface import Answer, Status

LONGEST_ERROR = 400  # characters


def failed(why: str, status: Status = "error", *, latency_s: float = 0.0, raw: str | None = None) -> Answer:
    """No answer, and why: one line, whatever a server put into it."""
    words = printable(" ".join(why.split()))
    short = words if len(words) <= LONGEST_ERROR else f"{words[: LONGEST_ERROR - 6]} [...]"
    return Answer(None, status, error=short, latency_s=latency_s, raw=raw)


def client_id(name: str, config: Config, *parts: object, passing: frozenset[str] = frozenset()) -> str:
    """A readable name, and twelve digits of the sha256 of the configuration without the fields `passing`, at any depth,
    which cannot change a reply. `parts` is what else can, such as the wording of a prompt."""
    data = [_without(config.model_dump(mode="json"), passing), *parts]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")[:60] or "client"
    return f"{readable}-{sha256_data(data)[:12]}"


def _without(data: Any, names: frozenset[str]) -> Any:
    if isinstance(data, dict):
        return {name: _without(value, names) for name, value in data.items() if name not in names}
    return data
