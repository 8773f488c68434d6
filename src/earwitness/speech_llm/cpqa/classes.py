"""The nine classes of emotion2vec+, the names that others have for them, and the sentiment of each.

Sentiment is section 2.5 of the sheet; `other` and `unknown` have none and can never label anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from earwitness.core.config import nearest
from earwitness.core.errors import ModelError

Emotion = Literal["angry", "disgusted", "fearful", "happy", "neutral", "other", "sad", "surprised", "unknown"]
Sentiment = Literal["positive", "neutral", "ambiguous", "negative"]
CLASSES: tuple[Emotion, ...] = (
    "angry",
    "disgusted",
    "fearful",
    "happy",
    "neutral",
    "other",
    "sad",
    "surprised",
    "unknown",
)
"""In the order of the published checkpoints, which is that of the alphabet."""
SENTIMENTS: Mapping[Emotion, Sentiment] = {
    "happy": "positive",
    "neutral": "neutral",
    "surprised": "ambiguous",
    "angry": "negative",
    "disgusted": "negative",
    "fearful": "negative",
    "sad": "negative",
}
LABELLED: tuple[Emotion, ...] = tuple(name for name in CLASSES if name in SENTIMENTS)
"""Classes that can label something."""

ALIASES: Mapping[Emotion, tuple[str, ...]] = {
    "angry": ("anger", "ang"),
    "disgusted": ("disgust", "dis"),
    "fearful": ("fear", "fea"),
    "happy": ("happiness", "joy", "hap"),
    "neutral": ("neu",),
    "other": ("others", "oth"),
    "sad": ("sadness",),
    "surprised": ("surprise", "sur"),
    "unknown": ("unk", "<unk>", ""),
}
WORDS: Mapping[Emotion, tuple[str, ...]] = {
    "angry": ("angry", "anger", "angrily", "furious", "fury", "annoyed", "irritated", "enraged", "mad"),
    "disgusted": ("disgusted", "disgust", "repulsed", "revolted", "disgustedly"),
    "fearful": ("fearful", "fear", "afraid", "scared", "frightened", "terrified", "anxious", "fearfully"),
    "happy": ("happy", "happiness", "happily", "joy", "joyful", "cheerful", "delighted", "glad"),
    "neutral": ("neutral", "unemotional", "matter-of-fact"),
    "sad": ("sad", "sadness", "sadly", "unhappy", "sorrowful", "gloomy", "miserable"),
    "surprised": ("surprised", "surprise", "astonished", "amazed", "startled"),
}
"""What a class is called in a sentence."""
_OF_ALIAS = {word: name for name, words in ALIASES.items() for word in (name, *words)}
_OF_WORD = {word: name for name, words in WORDS.items() for word in words}


def canonical(name: str) -> Emotion | None:
    """The class that a tool's name for it means; None where it is not known.

    Of bilingual names (`中文/english`) the English suffix counts.

    >>> [canonical(name) for name in ("Fear", "joy", "生气/angry", "<unk>", "bored")]
    ['fearful', 'happy', 'angry', 'unknown', None]
    """
    return _OF_ALIAS.get(name.rsplit("/", 1)[-1].strip().lower())


def columns_of(names: Sequence[str], where: object = None) -> tuple[int, ...]:
    """For each of a recogniser's classes its place in `CLASSES`: by name, never by position.

    Raises `ModelError` for a name that is not known, and for two names of one class.
    """
    places: list[int] = []
    for name in names:
        found = canonical(name)
        if found is None:
            guess = nearest(name.rsplit("/", 1)[-1].lower(), _OF_ALIAS)
            hint = f" Did it mean '{guess}'?" if guess else ""
            fix = f"Known: {', '.join(CLASSES)} and other names for them.{hint}"
            raise ModelError(f"its class '{name}' is none of the canonical ones", where=where, fix=fix)
        if CLASSES.index(found) in places:
            raise ModelError(f"has two classes that mean '{found}'", where=where, fix="Correct its id2label.")
        places.append(CLASSES.index(found))
    return tuple(places)


def emotions_named(text: str) -> set[Emotion]:
    """The classes that a sentence names.

    >>> sorted(emotions_named("She sounds annoyed rather than sad."))
    ['angry', 'sad']
    """
    return {_OF_WORD[word] for word in re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower()) if word in _OF_WORD}
