"""JSON out of what a model says: it is text from outside, so it is looked for, checked, and never trusted."""

from __future__ import annotations

import json
import re
from typing import Any

LONGEST = 200_000  # characters of a reply that are looked at
_EFFORT = 200 * LONGEST  # characters that are passed over in beginnings of objects that end nowhere
_TAG = re.compile(r"<(/?)(think|thinking|reasoning)>", re.IGNORECASE)


def without_thoughts(reply: str) -> str:
    """The reply without its blocks of reasoning, up to the longest part that is looked at.

    A block that is not closed is one where the reply begins with it: such a reply ended before its answer.
    """
    text = reply[:LONGEST]
    kept: list[str] = []
    place, open_at, name = 0, -1, ""
    for tag in _TAG.finditer(text):
        if open_at < 0 and not tag[1]:
            open_at, name = tag.start(), tag[2].lower()
        elif open_at >= 0 and tag[1] and tag[2].lower() == name:
            kept.append(text[place:open_at])
            place, open_at = tag.end(), -1
    if open_at < 0 or "".join((*kept, text[place:open_at])).strip():
        kept.append(text[place:])
    return " ".join(kept)


def json_object(reply: str | None) -> dict[str, Any] | None:
    """The last whole JSON object of a reply, outside of blocks of reasoning; None where there is none, or where too
    many are begun and not ended."""
    if not reply:
        return None
    text = without_thoughts(reply)
    decoder = json.JSONDecoder()
    found: dict[str, Any] | None = None
    place, effort = text.find("{"), 0
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            end, effort = place + 1, effort + error.pos
        except (ValueError, RecursionError):  # a number of thousands of digits; too deep
            end, effort = place + 1, effort + LONGEST
        else:
            found = value if isinstance(value, dict) else found
        if effort > _EFFORT:
            return None
        place = text.find("{", end)
    return found
