"""What is kept: consistency, occurrence, the class cap, evenness."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from earwitness.speech_llm.cpqa.classes import CLASSES, Emotion
from earwitness.speech_llm.cpqa.filters import (
    Cap,
    Occurrence,
    Thresholds,
    capped,
    drop_of_window,
    label_of_segment,
    normalised_entropy,
)
from earwitness.speech_llm.cpqa.sweeping import Guess, sweep


@pytest.mark.shows("cpqa:6.2")
@pytest.mark.parametrize(
    ("emotion", "valence", "kept"),
    [
        ("happy", 0.7, True),
        ("happy", 0.3, False),
        ("happy", 0.5, True),
        ("angry", 0.2, True),
        ("angry", 0.6, False),
        ("angry", 0.4, True),
        ("surprised", 0.05, True),
        ("surprised", 0.95, True),
        ("neutral", 0.45, True),
        ("neutral", 0.8, False),
        ("neutral", 0.5, True),
        ("neutral", 0.4, True),
        ("other", 0.1, False),
        ("other", 0.45, False),
        ("other", 0.9, False),
        ("unknown", 0.45, False),
    ],
)
def test_the_truth_table_of_consistency(emotion: Emotion, valence: float, kept: bool) -> None:
    assert (drop_of_window(emotion, valence, Thresholds(upper=0.5, lower=0.4)) is None) == kept


def test_every_drop_has_its_reason() -> None:
    thresholds = Thresholds()
    assert drop_of_window("other", 0.5, thresholds) == "no sentiment"
    assert drop_of_window("happy", None, thresholds) == "no valence"
    assert drop_of_window("sad", float("nan"), thresholds) == "no valence"
    assert drop_of_window("surprised", None, thresholds) is None
    assert drop_of_window("sad", 0.9, thresholds) == "inconsistent"


def test_thresholds_that_leave_no_room_for_neutral_are_refused() -> None:
    with pytest.raises(ValidationError, match="lower must not exceed upper"):
        Thresholds(upper=0.4, lower=0.5)


@pytest.mark.shows("cpqa:6.3")
def test_each_class_is_monotone_in_its_threshold_and_the_whole_is_not() -> None:
    rng = np.random.default_rng(0)
    guesses = [Guess(CLASSES[rng.integers(9)], float(rng.random())) for _ in range(900)]
    upper, lower = (0.4, 0.5, 0.6, 0.7, 0.8), (0.0, 0.1, 0.2, 0.3, 0.4)
    cells = {(c.thresholds.upper, c.thresholds.lower): c for c in sweep(guesses, upper, lower).cells}
    assert len(cells) == 25
    for y in lower:
        happy = [cells[x, y].of_class["happy"] for x in upper]
        neutral = [cells[x, y].of_class["neutral"] for x in upper]
        assert happy == sorted(happy, reverse=True)
        assert happy[0] > happy[-1]
        assert neutral == sorted(neutral)
        assert neutral[0] < neutral[-1]
    for x in upper:
        for name in ("angry", "disgusted", "fearful", "sad"):
            negative = [cells[x, y].of_class[name] for y in lower]
            assert negative == sorted(negative)
            assert negative[0] < negative[-1]
        neutral = [cells[x, y].of_class["neutral"] for y in lower]
        assert neutral == sorted(neutral, reverse=True)
    few_neutral = [Guess("neutral", 0.3), Guess("happy", 0.9), Guess("angry", 0.1)]
    along = [cell.retention for cell in sweep([*few_neutral, Guess("neutral", 0.6)], (0.5, 0.7, 0.95), (0.2,)).cells]
    assert along == [0.75, 1.0, 0.75]


def test_occurrence() -> None:
    rule = Occurrence(count=2, share=0.5)
    assert label_of_segment(["sad", "sad", "happy"], rule) == ("sad", None)
    assert label_of_segment(["sad"], rule) == (None, "rare")
    assert label_of_segment(["sad", "sad", "happy", "angry", "neutral"], rule) == (None, "rare")
    assert label_of_segment(["sad", "sad", "happy", "happy"], rule) == (None, "tie")
    assert label_of_segment([], rule) == (None, "inconsistent")


def test_the_cap_keeps_the_surest_and_is_the_same_again() -> None:
    labelled: dict[str, tuple[Emotion, float]] = {f"n{k}": ("neutral", k / 20) for k in range(12)}
    labelled |= {"h0": ("happy", 0.4), "h1": ("happy", 0.4), "s": ("sad", 0.9)}
    dropped = capped(labelled, Cap(times=2.0))  # counts 12, 2, 1: the median is 2
    assert dropped == {f"n{k}" for k in range(8)}
    assert capped(labelled, Cap(times=None)) == set()
    even: dict[str, tuple[Emotion, float]] = {f"n{k}": ("neutral", 0.5) for k in range(8)} | {"s": ("sad", 0.5)}
    assert capped(even, Cap(times=0.5)) == capped(dict(reversed(even.items())), Cap(times=0.5))
    assert capped(even, Cap(times=0.5, seed=1)) != capped(even, Cap(times=0.5, seed=2))


def test_entropy_of_even_and_of_one_class() -> None:
    names: tuple[Emotion, ...] = ("angry", "happy", "sad")
    assert normalised_entropy(dict.fromkeys(names, 5), names) == pytest.approx(1.0)
    assert normalised_entropy({"sad": 5}, names) == 0.0
    assert normalised_entropy(Counter(), names) == 0.0
    assert normalised_entropy({"sad": 1, "happy": 3}, names) == pytest.approx(0.5623 / np.log(3), abs=1e-4)
