"""Many questions at once, and how many of them are under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest
from sounds import sixteen_bit

from earwitness.core.errors import AudioError, ModelError
from earwitness.speech_llm.clients.fake_server import FakeServer
from earwitness.speech_llm.clients.interface import Answer
from earwitness.speech_llm.clients.limit import AdaptiveLimit
from earwitness.speech_llm.clients.openai import OpenAIClient, OpenAIConfig
from earwitness.speech_llm.clients.pool import Ask, answers


def slow(text: str, seconds: float) -> Ask:
    def ask() -> Answer:
        time.sleep(seconds)
        return Answer(text, "ok")

    return ask


def test_answers_come_as_they_are_ready_each_once() -> None:
    got = list(answers([slow("late", 0.2), slow("early", 0.0), slow("next", 0.02)], concurrency=2))
    assert [place for place, _ in got] == [1, 2, 0]
    assert {place: answer.text for place, answer in got} == {0: "late", 1: "early", 2: "next"}
    assert list(answers([])) == []


def test_as_many_as_allowed_are_under_way_and_places_are_filled_at_once() -> None:
    with FakeServer("yes", latency_s=0.02) as server:
        client = OpenAIClient(OpenAIConfig(base_url=server.base_url, model="m"))
        began = time.monotonic()
        got = list(answers((lambda: client.answer([], "How?") for _ in range(64)), concurrency=8))
        took = time.monotonic() - began
        assert sorted(place for place, _ in got) == list(range(64))
        assert server.most_at_once <= 8
        assert server.connections <= 8
    assert took < 64 * 0.02  # one after the other


def test_one_slow_question_holds_up_nothing_else() -> None:
    free = threading.Event()

    def held() -> Answer:
        assert free.wait(10)
        return Answer("held", "ok")

    got = []
    for place, _ in answers([held, *[slow("x", 0.0)] * 20], concurrency=2):
        got.append(place)
        if len(got) == 3:
            free.set()
    assert sorted(got) == list(range(21))
    assert 0 not in got[:3]


def test_questions_are_read_as_places_come_free_and_the_caller_may_stop() -> None:
    read: list[int] = []

    def endless() -> Iterator[Ask]:
        for number in count():
            read.append(number)
            yield slow("x", 0.001)

    for place, _ in answers(endless(), concurrency=4):
        if place >= 20:
            break
    assert len(read) < 60


def test_a_recording_that_cannot_be_read_is_an_answer_and_a_missing_model_the_end() -> None:
    def unreadable() -> Answer:
        raise AudioError("holds no sound", where="x.wav")

    (_, answer), _ = sorted(answers([unreadable, slow("x", 0.0)]))
    assert (answer.status, answer.text, answer.error) == ("error", None, "x.wav: holds no sound")

    def missing() -> Answer:
        raise ModelError("is not there", where="model")

    with pytest.raises(ModelError):
        list(answers([missing, slow("x", 0.0)]))


def test_no_more_enter_than_are_allowed() -> None:
    limit = AdaptiveLimit(2)
    entered = [limit.enter() for _ in range(2)]
    third: list[float] = []
    waiting = threading.Thread(target=lambda: third.append(limit.enter()))
    waiting.start()
    waiting.join(0.05)
    assert not third
    limit.left(entered[0], taken=True)
    waiting.join(10)
    assert len(third) == 1
    assert limit.limit == 2


def test_the_limit_is_halved_by_429_once_a_round_and_grows_by_one() -> None:
    limit = AdaptiveLimit()
    entered = [limit.enter() for _ in range(8)]
    limit.left(entered[0], too_many=True)
    assert limit.limit == 4
    limit.left(entered[1], too_many=True)  # was under way already: says nothing new
    assert limit.limit == 4
    limit.left(entered[2], taken=True)
    assert limit.limit == 5
    limit.left(entered[3])
    assert limit.limit == 5
    for place in entered[4:]:
        limit.left(place)
    for _ in range(5):
        limit.left(limit.enter(), too_many=True)
    assert limit.limit == 1
    first = limit.enter()
    waiting = threading.Thread(target=lambda: limit.left(limit.enter()))
    waiting.start()
    time.sleep(0.02)
    assert waiting.is_alive()
    limit.left(first)
    waiting.join(5)
    assert not waiting.is_alive()


def test_recordings_are_asked_about_by_many_threads() -> None:
    with FakeServer(lambda asked: f"{len(asked.sounds[0])}") as server:
        client = OpenAIClient(OpenAIConfig(base_url=server.base_url, model="m"))
        asks = [lambda n=n: client.answer([sixteen_bit(0.01 * n)], "How?") for n in range(1, 33)]  # type: ignore[misc]
        got = dict(answers(asks, concurrency=8))
    assert [got[n - 1].text for n in range(1, 33)] == [str(160 * n) for n in range(1, 33)]
