"""Each rule drops what it should and counts it; each can be switched off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from earwitness.speaker.identity_expansion.filters import (
    RULES,
    Aim,
    FilterConfig,
    Measured,
    judge,
    measure,
    word_error_rate,
)
from earwitness.speaker.identity_expansion.pairs import Pair
from earwitness.speaker.identity_expansion.vectors import table_of

PAIRS = [Pair("n1", "a", "b", "f", 0.5, 0.5, 60.0), Pair("n2", "a", "c", "f", 0.5, 0.5, 60.0)]
AXES = np.eye(4, dtype=np.float32)
TARGET = np.float32([0.70711, 0.70711, 0, 0])
AIM = Aim(
    table_of(dict.fromkeys(("n1", "n2"), (TARGET, 1.0, 0, 1.0))),
    table_of({name: (AXES[place], 1.0, 5, 1.0) for place, name in enumerate("abcd")}),
)


def utterance(number: int, new_id: str = "n1", **changes: Any) -> Measured:
    fine: dict[str, Any] = {"duration_s": 3.0, "clipped": 0.0, "speech": 0.8, "vector": TARGET, "word_errors": 0.1}
    return Measured(f"{new_id}/{number}.flac", new_id, **{**fine, **changes})


def test_every_rule_counts_what_it_drops() -> None:
    rows = [utterance(k) for k in range(8)]
    rows += [utterance(10, duration_s=0.9), utterance(11, duration_s=15.1), utterance(12, clipped=0.002)]
    rows += [utterance(13, speech=0.5), utterance(14, vector=AXES[2]), utterance(15, word_errors=0.4)]
    rows += [utterance(k, "n2") for k in range(7)]
    judged = judge(rows, PAIRS, AIM, FilterConfig())
    assert judged.kept == tuple(f"n1/{k}.flac" for k in range(8))
    assert judged.dropped == {
        "duration": 2, "clipping": 1, "speech": 1, "likeness": 1, "words": 1, "nearest": 0, "few": 7,
    }  # fmt: skip
    assert judged.identities == ("n1",)
    assert judged.not_applied == {}
    assert sum(judged.dropped.values()) + len(judged.kept) == len(rows)


def test_an_identity_nearer_to_a_stranger_is_dropped_whole() -> None:
    toward = np.float32([0.5, 0.0, 0.0, 0.9])
    rows = [utterance(k, vector=toward) for k in range(9)]
    judged = judge(rows, PAIRS, AIM, FilterConfig(likeness=None))
    assert judged.kept == ()
    assert judged.dropped["nearest"] == 9
    as_parent = [utterance(k, vector=AXES[0]) for k in range(9)]  # nearest to a parent: allowed
    assert len(judge(as_parent, PAIRS, AIM, FilterConfig()).kept) == 9
    assert len(judge(rows, PAIRS, AIM, FilterConfig(likeness=None, nearest=False)).kept) == 9


OFF = {"seconds": None, "clipped": None, "speech": None, "likeness": None, "words": None, "nearest": False, "few": None}


def test_all_rules_can_be_switched_off() -> None:
    bad = utterance(0, duration_s=99.0, clipped=1.0, speech=0.0, vector=-TARGET, word_errors=3.0)
    judged = judge([bad], PAIRS, AIM, FilterConfig(**OFF))
    assert judged.kept == ("n1/0.flac",)
    assert set(judged.not_applied) == set(RULES)
    assert set(judged.not_applied.values()) == {"switched off"}
    for name, rule in (
        ("seconds", "duration"),
        ("clipped", "clipping"),
        ("speech", "speech"),
        ("likeness", "likeness"),
    ):
        only = {**OFF, name: FilterConfig.model_fields[name].default}
        assert judge([bad], PAIRS, AIM, FilterConfig(**only)).dropped[rule] == 1


def test_what_could_not_be_applied_is_said() -> None:
    rows = [utterance(k, vector=None, word_errors=None) for k in range(8)]
    judged = judge(rows, PAIRS, None, FilterConfig())
    assert len(judged.kept) == 8
    assert judged.not_applied == {"likeness": "no encoder", "nearest": "no encoder", "words": "no recogniser"}


def test_what_is_measured(speechlike: Callable[..., Any]) -> None:
    sound = speechlike(2.0, 16_000)
    duration_s, clipped, speech = measure(sound, 16_000)
    assert duration_s == pytest.approx(2.0)
    assert clipped == 0
    assert speech > 0.5
    padded = np.concatenate([sound, np.zeros(6 * 16_000, np.float32)])
    assert measure(padded, 16_000)[2] < speech * 0.6
    loud = np.clip(sound * 10, -1, 1).astype(np.float32)
    assert measure(loud, 16_000)[1] > 0.05


def test_word_errors() -> None:
    assert word_error_rate("The cat sat.", "the cat sat") == 0
    assert word_error_rate("a b c d", "a x c") == pytest.approx(0.5)
    assert word_error_rate("a", "a b c") == 2
    assert word_error_rate("", "a") == 1
    assert word_error_rate("well-known thing", "well known thing") == 0
