"""What servers do wrong, and that none of it is taken for an answer."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sounds import sixteen_bit

from earwitness.audio.recording import Recording
from earwitness.core.errors import UsageError
from earwitness.speech_llm.clients.fake_server import MODES, REFUSAL, Asked, FakeServer, Reply
from earwitness.speech_llm.clients.http import Retries
from earwitness.speech_llm.clients.interface import Answer, Params
from earwitness.speech_llm.clients.openai import OpenAIClient, OpenAIConfig


def client_of(
    server: FakeServer | str, sleep: Callable[[float], None] = lambda seconds: None, /, **settings: Any
) -> OpenAIClient:
    url = server if isinstance(server, str) else server.base_url
    return OpenAIClient(OpenAIConfig(base_url=url, **{"model": "m", "timeout_s": 5.0} | settings), sleep)


def asked(server: FakeServer | str, **settings: Any) -> Answer:
    return client_of(server, **settings).answer([sixteen_bit(0.2)], "How?")


WANTED: dict[str, tuple[str, str | None, str | None, int]] = {
    # mode: status, text, words of the error, requests with three tries
    "hears": ("ok", "tone of 0.2 s", None, 1),
    "deaf": ("ok", "It sounds calm.", None, 1),
    "text_only": ("error", None, "HTTP 400: this model takes no audio", 1),
    "ignores_schema": ("ok", "tone of 0.2 s", None, 1),
    "rejects_schema": ("ok", "tone of 0.2 s", None, 1),
    "rate_limited": ("error", None, "HTTP 429: slow down", 3),
    "error": ("error", None, "HTTP 500: the model has crashed", 3),
    "no_mmproj": ("error", None, "mmproj", 3),
    "slow": ("timeout", None, "no answer within 0.2 s", 3),
    "not_json": ("error", None, "the reply is not JSON: '<html>", 1),
    "refusal": ("refused", REFUSAL, None, 1),
    "content_filter": ("refused", None, "HTTP 400: blocked by the policy", 1),
    "empty": ("empty", None, "the reply is empty", 1),
    "truncated": ("ok", "It sounds", None, 1),
    "unauthorised": ("error", None, "HTTP 401: wrong key", 1),
    "hangs_up": ("error", None, "closed the connection", 3),
}


@pytest.mark.shows("speech-llm-landscape:7.1")
def test_the_fake_server_has_every_switch_and_the_client_a_status_for_each() -> None:
    assert set(WANTED) == set(MODES)
    for mode, (status, text, words, count) in WANTED.items():
        with MODES[mode]() as server:
            answer = asked(server, tries=3, timeout_s=0.2 if mode == "slow" else 5.0)
            assert (answer.status, answer.text, server.count) == (status, text, count), mode
        assert (words or "") in (answer.error or ""), mode
        assert answer.finish_reason == ("length" if mode == "truncated" else "stop" if text else answer.finish_reason)


@pytest.mark.shows("speech-llm-landscape:7.4")
def test_failures_are_a_class_of_their_own() -> None:
    """No words of a failure stand where an answer would, and no seconds were heard."""
    for mode, make in MODES.items():
        with make() as server:
            answer = asked(server, tries=1, timeout_s=0.2 if mode == "slow" else 5.0)
        if answer.status in ("error", "timeout", "too_long"):
            assert answer.text is None
            assert answer.error
            assert answer.seconds_heard == 0.0
        elif answer.status == "ok":
            assert answer.text
            assert answer.error is None
            assert answer.seconds_heard == pytest.approx(0.2)
        else:
            assert answer.text in (None, REFUSAL)


BODIES: list[tuple[bytes, str, str]] = [
    (b"", "error", "not JSON"),
    (b"null", "error", "not JSON"),
    (b"[]", "error", "not JSON"),
    (b"[" * 200_000, "error", "not JSON"),
    (b"\xff\xfe\x00", "error", "not JSON"),
    (b'{"choices": []}', "error", "no completion"),
    (b'{"choices": {"a": 1}}', "error", "no completion"),
    (b'{"choices": [null]}', "error", "no completion"),
    (b'{"choices": [{"message": "calm"}]}', "error", "no completion"),
    (b'{"error": {"message": "overloaded"}}', "error", "overloaded"),
    (b'{"choices": [{"message": {"content": " \\n"}}]}', "empty", "holds no text"),
    (b'{"choices": [{"message": {"content": 5}}]}', "empty", "holds no text"),
    (b'{"choices": [{"message": {"content": null}, "finish_reason": "length"}]}', "empty", "max_tokens"),
    (b'{"choices": [{"message": {"content": "ca"}, "finish_reason": "content_filter"}]}', "refused", "filter"),
    (b'{"choices": [{"message": {"content": [{"type": "text", "text": "calm"}]}}], "usage": 3}', "ok", ""),
    (b'{"choices": [{"message": {"content": "calm"}}], "usage": {"prompt_tokens": -1}, "model": 7}', "ok", ""),
]


@pytest.mark.parametrize(("body", "status", "words"), BODIES)
def test_broken_replies(body: bytes, status: str, words: str) -> None:
    with FakeServer(Reply(raw=body)) as server:
        answer = asked(server)
        assert server.count == 1
    assert answer.status == status
    assert words in (answer.error or "")
    assert answer.usage.prompt_tokens is None
    assert answer.model is None
    assert len(answer.error or "") <= 400


def test_errors_by_code_and_words() -> None:
    for reply, status in [
        (Reply("the prompt is longer", status=400, code="context_length_exceeded"), "too_long"),
        (Reply("This model's maximum context length is 8192 tokens", status=400), "too_long"),
        (Reply("too large", status=413), "too_long"),
        (Reply("gone", status=404), "error"),
        (Reply("elsewhere", status=302), "error"),
        (Reply("late", status=504), "timeout"),
        (Reply(raw=b"<h1>Bad Gateway</h1>\x1b[31m", status=502), "error"),
    ]:
        with FakeServer(reply) as server:
            answer = asked(server, tries=2)
            assert server.count == (2 if reply.status >= 500 else 1)
        assert answer.status == status
        assert "\x1b" not in (answer.error or "")


def test_only_what_passes_is_tried_again_with_growing_waits() -> None:
    for status in (408, 409, 429, 500, 502, 503, 504, 529):
        waits: list[float] = []
        with FakeServer(
            lambda asked, status=status: Reply("no", status=status) if asked.number < 3 else "yes"
        ) as server:
            answer = client_of(server, waits.append).answer([], "How?")
            assert (answer.text, server.count) == ("yes", 4)
        assert [0.5 <= wait / 2.0**number <= 1.0 for number, wait in enumerate(waits)] == [True] * 3
    for status in (400, 401, 403, 404, 413, 422):
        with FakeServer(Reply("no", status=status)) as server:
            asked(server)
            assert server.count == 1


def test_retry_after_is_waited_for_and_a_long_one_is_the_end() -> None:
    waits: list[float] = []
    with FakeServer(lambda asked: Reply("", status=429, retry_after="7") if asked.number < 1 else "yes") as server:
        assert client_of(server, waits.append).answer([], "How?").text == "yes"
    assert waits == [7.0]
    with FakeServer(Reply("come back tomorrow", status=429, retry_after="86400")) as server:
        assert "tomorrow" in (asked(server).error or "")
        assert server.count == 1
    retries = Retries()
    assert retries.wait_s(0, "Wed, 21 Oct 2015 07:28:00 GMT", 0.0) == 1.0
    assert retries.wait_s(0, "Wed, 21 Oct 2115 07:28:00 GMT", 0.0) is None
    assert [retries.wait_s(0, odd, 0.0) for odd in ("soon", "", "nan", "-5")] == [1.0] * 4
    assert [retries.wait_s(n, None, 0.0) for n in range(5)] == [1.0, 2.0, 4.0, 8.0, None]
    assert Retries(tries=99).wait_s(50, None, 0.0) == 60.0


def test_a_storm_of_429_halves_what_is_under_way_and_all_is_answered() -> None:
    """At most four at once are taken: the client finds that out, and loses nothing."""
    gate, taken = threading.Lock(), [0]

    def script(asked: Asked) -> Reply | str:
        with gate:
            taken[0] += 1
            over = taken[0] > 4
        threading.Event().wait(0.01)
        with gate:
            taken[0] -= 1
        return Reply("too many", status=429) if over else "yes"

    from earwitness.speech_llm.clients.pool import answers

    with FakeServer(script) as server:
        client = client_of(server, lambda seconds: threading.Event().wait(0.002), tries=60)
        got = dict(answers((lambda: client.answer([], "How?") for _ in range(100)), concurrency=16))
        assert server.count > 100
        assert client.endpoint.limit.limit < 100
    assert sorted(got) == list(range(100))
    assert {answer.text for answer in got.values()} == {"yes"}


def test_nothing_listens() -> None:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        answer = asked(f"http://127.0.0.1:{place.getsockname()[1]}/v1", tries=2)
    assert (answer.status, answer.error) == ("error", "the server cannot be reached: nothing listens at its address")


def take_request(connection: socket.socket) -> None:
    """All of it: a connection closed over unread bytes is reset, and the client may lose what was said to it."""
    with connection.makefile("rb") as request:
        size = 0
        while (line := request.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        request.read(size)


def reset(connection: socket.socket) -> None:
    """Half a reply, and then a reset in place of an end."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"choices"')
    threading.Event().wait(0.2)  # it is read before the reset, which would wipe it out
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def raw_server(say: Callable[[socket.socket], None]) -> tuple[str, threading.Thread, socket.socket]:
    """A server below HTTP: `say` gets each connection after its request."""
    place = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                connection, _ = place.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                take_request(connection)
                say(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{place.getsockname()[1]}/v1", thread, place


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b" ")
        threading.Event().wait(0.05)


def cut_short(connection: socket.socket) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"choices"')


def garbage(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


@pytest.mark.parametrize(
    ("say", "status", "words"),
    [
        (drip, "timeout", "no answer within 0.4 s"),
        (cut_short, "error", "the reply was cut short"),
        (reset, "error", "the reply was cut short"),
        (garbage, "error", "no valid HTTP"),
        (endless, "error", "no valid HTTP (the reply is longer than"),
    ],
)
def test_servers_that_speak_no_good_http(say: Callable[[socket.socket], None], status: str, words: str) -> None:
    url, thread, place = raw_server(say)
    answer = asked(url, tries=1, timeout_s=0.4 if say is drip else 5.0)
    place.shutdown(socket.SHUT_RDWR)
    place.close()
    thread.join(10)
    assert (answer.status, answer.text, answer.seconds_heard) == (status, None, 0.0)
    assert words in (answer.error or "")


def test_https_is_not_taken_for_http() -> None:
    with FakeServer() as server:
        answer = asked(server.base_url.replace("http:", "https:"), tries=1)
        assert server.count == 0
    assert answer.status == "error"
    assert "cannot be reached" in (answer.error or "")


def test_a_kept_connection_is_used_again_and_made_anew_when_the_server_closed_it() -> None:
    with FakeServer("yes") as server:
        client = client_of(server, tries=1)
        assert [client.answer([], "How?").text for _ in range(5)] == ["yes"] * 5
        assert (server.count, server.connections) == (5, 1)
        port = int(server.base_url.split(":")[2].split("/")[0])
    with FakeServer("again", port=port) as server:
        assert client.answer([], "How?").text == "again"


def test_threads_have_connections_of_their_own() -> None:
    with FakeServer(lambda asked: asked.text, latency_s=0.01) as server:
        client = client_of(server)
        wrong: list[str] = []

        def ask(name: str) -> None:
            for number in range(10):
                text = client.answer([], f"{name}{number}").text
                if text != f"{name}{number}":
                    wrong.append(str(text))

        threads = [threading.Thread(target=ask, args=(name,)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert server.count == 80
        assert server.connections == 8
        assert server.most_at_once > 1


def test_the_key_is_sent_and_stands_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-very-secret\n")

    def echo(asked: Asked) -> Reply:
        return Reply(f"no such key: {asked.headers.get('authorization') or asked.headers['api-key']}", status=401)

    with FakeServer(echo) as server:
        for kind, header in (("openai", "authorization"), ("azure", "api-key")):
            client = client_of(server, key_env="SOME_KEY", server=kind)
            answer = client.answer([], "How?")
            assert "sk-very-secret" in server.requests[-1].headers[header]
            assert "[key]" in (answer.error or "")
            assert "secret" not in repr(answer) + client.id + repr(client.config)
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(UsageError, match="SOME_KEY is not set"):
        client_of("http://localhost:1/v1", key_env="SOME_KEY")
    monkeypatch.setenv("SOME_KEY", "sk-se\ncret")
    with pytest.raises(UsageError, match="holds no key") as caught:
        client_of("http://localhost:1/v1", key_env="SOME_KEY")
    assert "cret" not in str(caught.value).replace("secret", "")


def test_recordings_that_cannot_be_sent_are_refused_with_a_sentence_and_without_a_request() -> None:
    fine = sixteen_bit(1.0)
    cases: list[tuple[list[Recording], dict[str, Any], str, str]] = [
        ([Recording(fine.samples, 8_000)], {}, "error", "8000 Hz"),
        ([Recording(fine.samples[:0], 16_000)], {}, "error", "no samples"),
        ([Recording(np.array([np.nan], np.float32), 16_000)], {}, "error", "not finite"),
        ([fine, fine], {}, "error", "2 recordings for a model that takes 1"),
        ([fine], {"max_audios": 0}, "error", "1 recordings for a model that takes 0"),
        ([fine], {"max_seconds": 0.5}, "too_long", "1.0 s and the model hears 0.5 s"),
        ([fine], {"max_request_bytes": 20_000}, "too_long", "at most 0.0"),
        ([sixteen_bit(31)], {"model": "Qwen/Qwen2-Audio-7B-Instruct"}, "too_long", "hears 30 s"),
    ]
    with FakeServer() as server:
        for audios, settings, status, words in cases:
            answer = client_of(server, **settings).answer(audios, "How?")
            assert (answer.status, answer.text) == (status, None)
            assert words in (answer.error or "")
        assert server.count == 0
        small = client_of(server, max_request_bytes=2000).answer([], "x" * 3000)
        assert (small.status, server.count) == ("too_long", 0)


def test_a_schema_that_is_rejected_is_an_error_and_odd_prompts_arrive() -> None:
    with FakeServer(lambda asked: asked.text or "none", schemas="rejected") as server:
        client = client_of(server)
        assert client.answer([], "How?", params=Params(schema="{}")).status == "ok"
        rejected = client.answer([], "How?", params=Params(schema='{"type": "object"}'))
        assert (rejected.status, rejected.text) == ("error", None)
        odd = '\u2028 \x00 \ud800 \U0001f600 "}]'
        assert client.answer([], odd).text is not None
        assert json.loads(json.dumps(server.requests[-1].body))["messages"][0]["content"] == odd
