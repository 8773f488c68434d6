"""Contradiction pairs: two items with the same question and different answers, of which one thing differs.

Who does not hear what differs gives both the same answer, and never has both right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from earwitness.speech_llm.items import Item
from earwitness.speech_llm.mini.chance import SET, WORDS, tag

Kind = Literal["same words, other manner", "same manner, other words"]


@dataclass(frozen=True)
class ContradictionPair:
    """Two items of a set, by their ids, and what they share."""

    kind: Kind
    first: str
    second: str


def contradiction_pairs(items: Sequence[Item]) -> list[ContradictionPair]:
    """All pairs of the items' sets whose answers differ."""
    sets: dict[str, list[Item]] = {}
    for item in items:
        name = tag(item, SET)
        if name is not None:
            sets.setdefault(name, []).append(item)
    return [
        ContradictionPair(_kind(first, second), first.id, second.id)
        for group in sets.values()
        for first, second in combinations(group, 2)
        if first.answer != second.answer
    ]


def _kind(first: Item, second: Item) -> Kind:
    same = tag(first, WORDS) == tag(second, WORDS)
    return "same words, other manner" if same else "same manner, other words"


def both_right(pairs: Sequence[ContradictionPair], right: Mapping[str, bool]) -> dict[Kind, tuple[int, int]]:
    """By kind: (pairs with both right, pairs with both answered). An item without an entry was not answered."""
    found: dict[Kind, tuple[int, int]] = {}
    for pair in pairs:
        if pair.first in right and pair.second in right:
            hits, count = found.get(pair.kind, (0, 0))
            found[pair.kind] = (hits + (right[pair.first] and right[pair.second]), count + 1)
    return found
