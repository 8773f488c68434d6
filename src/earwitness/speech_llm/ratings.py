"""The rating in what a judge says of an answer: one reading for all judges, for the answer may stand in the reply."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from earwitness.speech_llm.replies import json_object, without_thoughts

BEST = 5  # ratings are 0 to 5
_FENCE = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL | re.IGNORECASE)
_RATING = re.compile(r"\brating\W{0,5}(?:is|of|=)?\W{0,5}([0-5])(?!\d|\.\d|\s*/\s*(?!5\b)\d)", re.IGNORECASE)


@dataclass(frozen=True)
class Rated:
    """What a judge's reply says; `rating` None where it says nothing that can be read."""

    rating: int | None
    rationale: str | None = None


def rating_in(reply: str | None, finish_reason: str | None, answer: str) -> Rated:
    """The rating in a judge's reply: a reply that is the JSON asked for, else the last "rating N" in it, else none.

    A reply that was cut off is none. What the reply repeats of the answer is not the judge's word: a "rating 5" is not
    taken where the answer says it too.
    """
    if not reply or finish_reason == "length":
        return Rated(None)
    said = without_thoughts(reply).strip()
    whole = _FENCE.sub(r"\1", said)
    if whole in answer:
        return Rated(None)
    found = json_object(whole)
    if found is not None and "rating" in found and set(found) <= {"rationale", "rating"} and _is_json(whole):
        rating = _on_the_scale(found["rating"])
        return Rated(rating, None if rating is None else str(found.get("rationale", "")))
    own = [match[1] for match in _RATING.finditer(said) if match[0].casefold() not in answer.casefold()]
    return Rated(int(own[-1]), said) if own else Rated(None)


def _on_the_scale(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= BEST
    return value if fits else None  # type: ignore[return-value]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
