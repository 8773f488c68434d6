"""JSON out of what a model says: it is text from outside, so it is looked for, checked, and never trusted."""

from __future__ import annotations

import json
import re
from typing import Any

LONGEST = 200_000  # characters of a reply that are looked at
_THOUGHTS = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)


def without_thoughts(reply: str) -> str:
    """The reply without its blocks of reasoning, up to the longest part that is looked at."""
    return _THOUGHTS.sub(" ", reply[:LONGEST])


def json_object(reply: str | None) -> dict[str, Any] | None:
    """The last whole JSON object of a reply, outside of blocks of reasoning; None where there is none."""
    if not reply:
        return None
    text = without_thoughts(reply)
    decoder = json.JSONDecoder()
    found: dict[str, Any] | None = None
    place = text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            found = value if isinstance(value, dict) else found
        place = text.find("{", end)
    return found
