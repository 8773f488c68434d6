"""Replies of models are text from outside: what is found in them, and how long a hostile one can keep the reader."""

from __future__ import annotations

import time

import pytest

from earwitness.speech_llm.ratings import rating_in
from earwitness.speech_llm.replies import LONGEST, json_object, without_thoughts


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("<think>a {</think>b", "b"),
        ("a<Think>b</THINK>c", "a c"),
        ("<think>a<think>b</think>c", "c"),
        ("<think>a</reasoning>b</think>c", "c"),
        ("<think>never ended, rating: 5", ""),
        ('{"rationale": "it says <think>", "rating": 2}', '{"rationale": "it says <think>", "rating": 2}'),
        ("a</think>b", "a</think>b"),
    ],
)
def test_thoughts_are_no_part_of_a_reply(reply: str, rest: str) -> None:
    assert without_thoughts(reply).strip() == rest


def test_the_last_whole_object_counts() -> None:
    assert json_object('{"a": 1} then {"b": {"c": 2}} and {"d"') == {"b": {"c": 2}}
    assert json_object("{{{ no") is None


@pytest.mark.parametrize("piece", ['{"a":', "<think>", '{"a":{', '{"', "{", "[{"])
def test_a_hostile_reply_is_read_in_a_moment(piece: str) -> None:
    begun = time.process_time()
    json_object(piece * (LONGEST // len(piece)))
    assert time.process_time() - begun < 3


def test_a_rating_within_thoughts_that_never_end_is_none() -> None:
    assert rating_in("<think>maybe rating: 5, or", "stop", "an answer").rating is None
