"""Free answers as labels: words, negation, letters, and similarity where no word was found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from earwitness.speech_llm.label_extraction import ALIASES, extract_label, with_aliases

EMOTIONS = with_aliases(["angry", "happy", "sad", "neutral"])
SEXES = with_aliases(["Male", "Female"])


@pytest.mark.parametrize(
    ("answer", "label", "how"),
    [
        ("She sounds angry.", "angry", "keyword"),
        ("I hear ANGER in the voice", "angry", "keyword"),
        ("not happy, but sad", "sad", "keyword"),
        ("not happy but sad", "sad", "keyword"),
        ("No, he is sad", "sad", "keyword"),
        ("He isn’t sad", None, "unmapped"),
        ("He isn't at all sad", None, "unmapped"),
        ("It never sounded really very sad", "sad", "keyword"),  # four tokens before: out of the window
        ("neither happy nor sad", None, "unmapped"),
        ("either happy or sad", None, "ambiguous"),
        ("sadistic maddening", None, "unmapped"),
        ("", None, "unmapped"),
        ("她很生气", "angry", "keyword"),
        ("她不生气", None, "unmapped"),
    ],
)
def test_words_and_their_negation(answer: str, label: str | None, how: str) -> None:
    found = extract_label(answer, EMOTIONS)
    assert (found.label, found.how) == (label, how)


def test_male_does_not_stand_in_female() -> None:
    assert extract_label("a female speaker", SEXES).label == "Female"
    assert extract_label("A man.", SEXES).label == "Male"
    assert extract_label("not a woman, a man", SEXES).label == "Male"


def test_a_word_within_a_longer_one_of_another_label_does_not_count() -> None:
    labels = with_aliases(["happy", "happy surprise"])
    assert extract_label("that is a happy surprise", labels).label == "happy surprise"
    assert extract_label("that is happy", labels).label == "happy"


@pytest.mark.parametrize(
    ("answer", "label"),
    [("B", "Female"), ("(b) something", "Female"), ("The answer is: A.", "Male"), ("A woman speaks", "Female")],
)
def test_letters_of_options(answer: str, label: str) -> None:
    assert extract_label(answer, SEXES, lettered=True).label == label
    assert extract_label("C", SEXES, lettered=True).label is None


def test_similarity_is_asked_only_where_no_word_was_found() -> None:
    asked: list[Sequence[str]] = []

    def embed(texts: Sequence[str]) -> np.ndarray:
        asked.append(texts)
        return np.array([[1.0, 0.0] if "rage" in text or text == "angry" else [0.0, 1.0] for text in texts])

    assert extract_label("full of rage", EMOTIONS, embed).how == "embedding"
    assert extract_label("full of rage", EMOTIONS, embed).label == "angry"
    assert extract_label("tired", EMOTIONS, embed).how == "unmapped"  # three labels are equally near
    count = len(asked)
    assert extract_label("not sad", EMOTIONS, embed).how == "unmapped"
    assert len(asked) == count


def test_no_word_stands_for_two_labels() -> None:
    words = [word for group in ALIASES.values() for word in group]
    assert len(words) == len(set(words))
