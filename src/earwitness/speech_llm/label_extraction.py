"""Free answers as labels: which of a few labels an answer names, by keyword and, if asked, by similarity of meaning.

The method of arXiv 2508.07273, section IV, as far as it is described: keywords first, then the similarity of embeddings
to the names of the labels. The words, the negation window and the thresholds are ours (a reconstruction). An answer
that names no label, or several, has none: that counts as wrong in an accuracy and has a rate of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

How = Literal["letter", "keyword", "embedding", "ambiguous", "unmapped"]
Embed = Callable[[Sequence[str]], NDArray[np.floating]]  # texts [n] -> vectors [n, D]

NEGATIONS = frozenset({"not", "no", "never", "neither", "nor", "without", "cannot", "不", "没", "無", "无"})
NEGATION_WINDOW = 3  # tokens to the left, within the same clause
LEAST_SIMILARITY, LEAST_MARGIN = 0.45, 0.05  # cosines

# Further words for labels that are common in paralinguistic sets. Only what can hardly mean anything else.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "angry": ("anger", "angrily", "furious", "irritated", "annoyed", "mad", "生气", "愤怒"),
    "happy": ("happiness", "happily", "joy", "joyful", "cheerful", "glad", "delighted", "高兴", "开心"),
    "sad": ("sadness", "sadly", "sorrow", "sorrowful", "unhappy", "depressed", "伤心", "悲伤", "难过"),
    "fearful": ("fear", "afraid", "scared", "frightened", "anxious", "害怕", "恐惧"),
    "disgusted": ("disgust", "repulsed", "厌恶"),
    "surprised": ("surprise", "astonished", "amazed", "惊讶"),
    "neutral": ("neutrally", "calm", "calmly", "unemotional", "emotionless", "中性", "平静"),
    "male": ("man", "men", "males", "masculine", "boy", "gentleman", "男", "男性", "男人"),
    "female": ("woman", "women", "females", "feminine", "girl", "lady", "女", "女性", "女人"),
    "1": ("one", "single", "一个", "一位"),
    "2": ("two", "两个", "两位", "二"),
    "3": ("three", "三"),
    "4": ("four", "四"),
    "5": ("five", "五"),
    "6": ("six", "六"),
}
_SAME = (("angry", "anger"), ("happy", "happiness", "joy"), ("sad", "sadness"), ("fearful", "fear", "afraid"),
         ("disgusted", "disgust"), ("surprised", "surprise"), ("male", "man"), ("female", "woman"),
         ("1", "one"), ("2", "two"), ("3", "three"), ("4", "four"), ("5", "five"), ("6", "six"))  # fmt: skip
_CANONICAL = {name: group[0] for group in _SAME for name in group}

# a word with its apostrophes, one character of a script without spaces, or a mark that ends a clause
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+(?:'[^\W_]+)*|[.,;:!?。，；！？]")
_CLAUSE_ENDS = frozenset(".,;:!?。，；！？") | {"but"}
_LETTER = re.compile(r"\s*(?:(?:the\s+)?(?:correct\s+)?(?:answer|option|choice)\s*(?:is)?\s*:?\s*)?", re.IGNORECASE)
_LEADING = re.compile(r"[\(\[]?([A-Za-z])[\)\].:](?=\s|$|\W)|([A-Z])\s*$")


@dataclass(frozen=True)
class ExtractedLabel:
    """The label that an answer names and how it was found; None where it names none or several."""

    label: str | None
    how: How


def with_aliases(labels: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Each label with itself and the further words of `ALIASES` for it (none for a label that is not known there)."""
    return {label: (label, *ALIASES.get(_CANONICAL.get(label.lower(), label.lower()), ())) for label in labels}


def extract_label(
    answer: str, labels: Mapping[str, Sequence[str]], embed: Embed | None = None, *, lettered: bool = False
) -> ExtractedLabel:
    """The one label (of `labels`, each with the words that stand for it) that an answer names.

    A word counts where it is not negated: no negation among the three tokens before it in its clause. Words within a
    longer hit of another label do not count. With `lettered`, an answer that begins with a letter ("(B)", "B."), or is
    one, means the label at that place. `embed` is asked only where no word was found.
    """
    if lettered and (place := _letter(answer)) is not None and place < len(labels):
        return ExtractedLabel(list(labels)[place], "letter")
    tokens = _tokens(answer)
    hits = [hit for label, words in labels.items() for word in words for hit in _hits(label, _tokens(word), tokens)]
    named = {hit.label for hit in hits if not _within_another(hit, hits) and not _negated(tokens, hit.start)}
    if len(named) == 1:
        return ExtractedLabel(named.pop(), "keyword")
    if named:
        return ExtractedLabel(None, "ambiguous")
    if embed is not None and labels and not hits and answer.strip():
        return _nearest(answer, list(labels), embed)
    return ExtractedLabel(None, "unmapped")


@dataclass(frozen=True)
class _Hit:
    """Tokens [start, end) of the answer that stand for a label."""

    label: str
    start: int
    end: int


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text.lower().replace("’", "'"))


def _hits(label: str, word: list[str], tokens: list[str]) -> list[_Hit]:
    size = len(word)
    if not size:
        return []
    return [_Hit(label, at, at + size) for at in range(len(tokens) - size + 1) if tokens[at : at + size] == word]


def _within_another(hit: _Hit, hits: list[_Hit]) -> bool:
    return any(
        other.label != hit.label
        and other.start <= hit.start
        and hit.end <= other.end
        and other.end - other.start > hit.end - hit.start
        for other in hits
    )


def _negated(tokens: list[str], start: int) -> bool:
    for token in reversed(tokens[max(0, start - NEGATION_WINDOW) : start]):
        if token in _CLAUSE_ENDS:
            return False
        if token in NEGATIONS or token.endswith("n't"):
            return True
    return False


def _letter(answer: str) -> int | None:
    """The place of the option whose letter the answer leads with; "A man" is no letter."""
    begin = _LETTER.match(answer)
    found = _LEADING.match(answer, begin.end() if begin else 0)
    return None if found is None else ord((found[1] or found[2]).upper()) - ord("A")


def _nearest(answer: str, labels: list[str], embed: Embed) -> ExtractedLabel:
    vectors = np.asarray(embed([answer, *labels]), np.float64)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = vectors[1:] @ vectors[0]
    order = np.argsort(-cosines, kind="stable")
    clear = len(labels) == 1 or cosines[order[0]] - cosines[order[1]] >= LEAST_MARGIN
    if cosines[order[0]] >= LEAST_SIMILARITY and clear:
        return ExtractedLabel(labels[int(order[0])], "embedding")
    return ExtractedLabel(None, "unmapped")
