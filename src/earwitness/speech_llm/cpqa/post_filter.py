"""Which pairs of question and answer are taken (section 2.10 of the sheet on CPQA, arXiv 2505.13338).

That raw generations ask the same in other words, and speak of a transcript that a listener does not have, is the
paper's finding; its lists of keywords were not found, so the rules are a reconstruction. Every rejection has a name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from earwitness.core.config import Config
from earwitness.speech_llm.cpqa.classes import Emotion, emotions_named
from earwitness.speech_llm.items import QUESTION_TYPES, QuestionType

Rule = Literal[
    "malformed",
    "type_not_asked",
    "refers_to_text",
    "empty",
    "answer_is_question",
    "long_answer",
    "no_question_mark",
    "emotion_not_in_labels",
    "why_emotion_again",
    "paraphrase",
]
_TEXT = re.compile(
    r"\b(transcripts?|transcriptions?|texts?|scripts?|captions?|subtitles?|labels?|annotations?|metadata|timestamps?"
    r"|according to the (notes|data))\b",
    re.IGNORECASE,
)
_WHY = re.compile(r"\bwhy\b.*\b(feel|feels|feeling|felt|sound|sounds|sounding|sounded|emotion|emotions)\b", re.I | re.S)


class PostFilter(Config):
    """`longest_words` of an answer; `similarity` of the sets of words (Jaccard) from which two questions are one."""

    longest_words: int = Field(80, ge=1)
    similarity: float = Field(0.7, gt=0, le=1)


@dataclass(frozen=True)
class Pair:
    """As a writer gave it; `evidence` in seconds of the clip, None where it gave none that is one."""

    question: str
    answer: str
    type: str
    evidence: tuple[float, float] | None = None
    well_formed: bool = True


@dataclass(frozen=True)
class Sifted:
    """A pair, and the rule that rejects it; None where it is taken."""

    pair: Pair
    rule: Rule | None


def pair_of(entry: Any, duration: float) -> Pair:
    """A pair out of a reply: text from outside, so every part of it is checked."""
    if not isinstance(entry, dict):
        return Pair("", "", "", well_formed=False)
    question, answer, kind = (entry.get(name) for name in ("question", "answer", "type"))
    texts = [value.strip() if isinstance(value, str) else "" for value in (question, answer, kind)]
    fits = all(isinstance(value, str) for value in (question, answer, kind))
    return Pair(texts[0], texts[1], texts[2], _evidence(entry.get("evidence"), duration), fits)


def sift(
    pairs: Sequence[Pair],
    emotions: frozenset[Emotion],
    asked: Sequence[QuestionType] = QUESTION_TYPES,
    config: PostFilter = PostFilter(),
) -> list[Sifted]:
    """Each pair of one clip, whose labels are `emotions`, with its rule; what was taken counts for what follows."""
    taken: list[Pair] = []
    why: set[Emotion | None] = set()
    found = []
    for pair in pairs:
        rule = _of_itself(pair, emotions, asked, config)
        reason = _reason_of(pair, emotions)
        if rule is None and reason is not None and reason & why:
            rule = "why_emotion_again"
        if rule is None and any(similarity(pair.question, one.question) >= config.similarity for one in taken):
            rule = "paraphrase"
        if rule is None:
            taken.append(pair)
            why |= reason or set()
        found.append(Sifted(pair, rule))
    return found


def similarity(first: str, second: str) -> float:
    """Jaccard similarity of the sets of words.

    >>> similarity("How does she sound?", "How does he sound?")
    0.6
    """
    one, two = (set(re.findall(r"\w+", text.lower())) for text in (first, second))
    return len(one & two) / len(one | two) if one | two else 1.0


def _of_itself(
    pair: Pair, emotions: frozenset[Emotion], asked: Sequence[QuestionType], config: PostFilter
) -> Rule | None:
    """Why a pair is rejected, whatever else there is."""
    if not pair.well_formed:
        return "malformed"
    if pair.type not in asked:
        return "type_not_asked"
    if not pair.answer or not pair.question:
        return "empty"
    if _TEXT.search(pair.question) or _TEXT.search(pair.answer):
        return "refers_to_text"
    if _plain(pair.question) == _plain(pair.answer):
        return "answer_is_question"
    if "?" not in pair.question and "\uff1f" not in pair.question:
        return "no_question_mark"
    if len(pair.answer.split()) > config.longest_words:
        return "long_answer"
    if pair.type == "DE" and emotions_named(pair.answer) - emotions:
        return "emotion_not_in_labels"
    return None


def _reason_of(pair: Pair, emotions: frozenset[Emotion]) -> set[Emotion | None] | None:
    """The emotions whose reason a question asks for, all of the clip where it names none; None: it asks for none."""
    if not _WHY.search(pair.question):
        return None
    return {*(emotions_named(pair.question) or emotions)} or {None}


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _evidence(value: Any, duration: float) -> tuple[float, float] | None:
    """Two seconds of the clip in order, cut to it; what is none is no evidence."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in value):
        return None
    start, end = max(0.0, float(value[0])), min(duration, float(value[1]))
    return (start, end) if start < end else None
