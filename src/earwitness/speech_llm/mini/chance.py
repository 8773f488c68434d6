"""What can be answered without hearing: the best answers that anybody could give who knows only part of an item.

The optimum is exhaustive: within all items that look the same, the most frequent answer. No predictor that sees only
this part, however clever, has a higher accuracy on these items; it is a fraction, and compared exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from earwitness.core.errors import DataError
from earwitness.speech_llm.items import Item, QuestionType

WORDS, MANNER, SPEAKER, SEX, SET = "words", "emotion", "speaker", "sex", "set"
"""Tags of the items: what is said, how, by whom, and which items belong together."""
_TEXT: dict[QuestionType, bool] = {"C": False, "DE": True, "DG": True, "CE": True, "CG": True}
_VOICE: dict[QuestionType, bool] = {"C": True, "DE": False, "DG": False, "CE": True, "CG": True}


@dataclass(frozen=True)
class Chance:
    """Of the items of one type: by chance, and at best from the question alone, from question and words, and from
    question and all that is known of the voice."""

    type: QuestionType
    count: int
    chance: Fraction
    question: Fraction
    words: Fraction
    voice: Fraction


def best_accuracy(items: Iterable[Item], seen: Callable[[Item], Hashable]) -> Fraction:
    """The highest accuracy of any predictor that knows `seen` of each item."""
    groups: dict[Hashable, Counter[str]] = {}
    for item in items:
        groups.setdefault(seen(item), Counter())[item.label or item.answer] += 1
    total = sum(counts.total() for counts in groups.values())
    if not total:
        raise DataError("there are no items")
    return Fraction(sum(max(counts.values()) for counts in groups.values()), total)


def chances(items: Sequence[Item]) -> list[Chance]:
    """Of each type, in the order in which they come."""
    found = []
    for kind in dict.fromkeys(item.type for item in items):
        own = [item for item in items if item.type == kind]
        found.append(
            Chance(
                kind,
                len(own),
                sum((Fraction(1, len(item.choices)) for item in own), Fraction()) / len(own),
                best_accuracy(own, lambda item: item.question),
                best_accuracy(own, lambda item: (item.question, tag(item, WORDS))),
                best_accuracy(own, _voice_of),
            )
        )
    return found


def require_chance(items: Sequence[Item]) -> None:
    """Raises `DataError` where the question alone, words (for all but content), or the voice (for content and in
    context) would answer better than chance."""
    for one in chances(items):
        parts = {"the question": (True, one.question)}
        parts |= {"question and words": (_TEXT.get(one.type, True), one.words)}
        parts |= {"question and voice": (_VOICE.get(one.type, True), one.voice)}
        for name, (is_barred, best) in parts.items():
            if is_barred and best != one.chance:
                what = f"{name} alone answer {best} of the items of type {one.type}, by chance it is {one.chance}"
                raise DataError(what, fix="Balance the sets.")


def tag(item: Item, name: str) -> str | None:
    """The value of a tag."""
    return known(item).get(name)


def known(item: Item) -> Mapping[str, str]:
    """All tags of an item."""
    return {one.name: one.value for one in item.tags}


def _voice_of(item: Item) -> Hashable:
    """The question, and how and by whom it is said: all but the words."""
    tags = known(item)
    return (item.question, *(tags.get(name) for name in (MANNER, SPEAKER, SEX)))
