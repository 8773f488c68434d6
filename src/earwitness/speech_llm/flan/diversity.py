"""How different the instructions of a task are: what the published set does not say of its variations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from earwitness.speech_llm.flan.records import Record
from earwitness.speech_llm.flan.taxonomy import fold

MOST_PAIRS = 200_000  # beyond these, pairs are drawn


@dataclass(frozen=True)
class Diversity:
    """Of the instructions of one task.

    `distinct_1` and `distinct_2` are different n-grams over all n-grams; `jaccard` is the mean over pairs of records of
    shared words over all words (1: always the same words; None below two records); `duplicates` the share of
    instructions that stand there in the same letters before.
    """

    task: str
    count: int
    distinct_1: float
    distinct_2: float
    jaccard: float | None
    duplicates: float


def diversity(task: str, instructions: Sequence[str], seed: int = 0) -> Diversity:
    """The measures over these instructions, of which there is at least one."""
    words = [fold(text).split() for text in instructions]
    return Diversity(
        task,
        len(instructions),
        _distinct(words, 1),
        _distinct(words, 2),
        _jaccard(words, seed),
        1 - len(set(instructions)) / len(instructions),
    )


def diversities(records: Iterable[Record]) -> list[Diversity]:
    """Of each task, in the order in which tasks come."""
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault(record.minor, []).append(record.instruction)
    return [diversity(task, instructions) for task, instructions in found.items()]


def _distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    grams = Counter(gram for words in texts for gram in zip(*(words[place:] for place in range(n)), strict=False))
    return len(grams) / grams.total() if grams else 0.0


def _jaccard(texts: Sequence[Sequence[str]], seed: int) -> float | None:
    """Exact over groups of equal word sets; drawn pairs where there are too many groups."""
    groups = Counter(frozenset(words) for words in texts)
    count = len(texts)
    if count < 2:
        return None
    sets, sizes = list(groups), np.array(list(groups.values()), dtype=np.float64)
    if len(sets) ** 2 <= 2 * MOST_PAIRS:
        same = float((sizes * (sizes - 1) / 2).sum())
        other = sum(
            sizes[a] * sizes[b] * _overlap(sets[a], sets[b]) for a in range(len(sets)) for b in range(a + 1, len(sets))
        )
        return (same + float(other)) / (count * (count - 1) / 2)
    rng = np.random.default_rng(seed)
    first, second = rng.integers(count, size=MOST_PAIRS), rng.integers(count - 1, size=MOST_PAIRS)
    second += second >= first
    return float(np.mean([_overlap(set(texts[a]), set(texts[b])) for a, b in zip(first, second, strict=True)]))


def _overlap(first: frozenset[str] | set[str], second: frozenset[str] | set[str]) -> float:
    union = len(first | second)
    return len(first & second) / union if union else 1.0
