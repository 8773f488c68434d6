"""How much of what a server can give the pool of questions gets, at 32 questions at once and 50 ms a reply.

    python benchmarks/speech_llm_throughput.py

The server is the fake one, in a process of its own. Its own throughput is that of 32 threads which send one prepared
request over bare sockets and look at no reply. Each row is measured in turns with it, the best of three each, with and
without a recording of one second that the client encodes for every question. Prints one JSON document.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
import time
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

import numpy as np

from earwitness.audio.recording import Recording
from earwitness.speech_llm.clients.fake_server import FakeServer
from earwitness.speech_llm.clients.interface import Params
from earwitness.speech_llm.clients.openai import OpenAIClient, OpenAIConfig
from earwitness.speech_llm.clients.pool import answers

LATENCY_S = 0.05
AT_ONCE = 32
QUESTIONS = 3200
ROUNDS = 3


def serve(sender: Connection, stop: Connection) -> None:
    """The server, until it is told to end."""
    with FakeServer("calm", latency_s=LATENCY_S, hears=False) as server:
        sender.send(server.base_url)
        stop.recv()


def pooled(url: str, audios: list[Recording]) -> float:
    """Answers a second through the client and the pool."""
    client = OpenAIClient(OpenAIConfig(base_url=url, model="m"))
    began = time.monotonic()
    got = list(answers((lambda: client.answer(audios, "How?") for _ in range(QUESTIONS)), AT_ONCE))
    took = time.monotonic() - began
    assert len(got) == QUESTIONS
    assert all(answer.text == "calm" for _, answer in got)
    return QUESTIONS / took


def bare(url: str, audios: list[Recording]) -> float:
    """Replies a second to one prepared request over sockets."""
    client = OpenAIClient(OpenAIConfig(base_url=url, model="m"))
    body = json.dumps(client.body(audios, "How?", None, Params())).encode()
    place = urlsplit(url)
    head = f"POST {place.path}/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def ask() -> None:
        with socket.create_connection((place.hostname or "", place.port or 0)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(QUESTIONS // AT_ONCE):
                connection.sendall(head + body)
                got = b""
                while not got.endswith(b"}"):  # the fake's replies are one short JSON object
                    got += connection.recv(65536)

    threads = [threading.Thread(target=ask) for _ in range(AT_ONCE)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return QUESTIONS / (time.monotonic() - began)


def measure(url: str, name: str, audios: list[Recording]) -> dict[str, object]:
    """One row: both rates, the best of the rounds."""
    rounds = [(bare(url, audios), pooled(url, audios)) for _ in range(ROUNDS)]
    own, ours = max(rate for rate, _ in rounds), max(rate for _, rate in rounds)
    ideal = AT_ONCE / LATENCY_S
    return {
        "name": name,
        "server_per_s": round(own, 1),
        "pool_per_s": round(ours, 1),
        "latency_bound_per_s": ideal,
        "share_of_server": round(ours / own, 3),
        "share_of_latency_bound": round(ours / ideal, 3),
    }


def main() -> None:
    """Measure both rows."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    stop, stopper = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(sender, stop), daemon=True)
    process.start()
    url = receiver.recv()
    second = Recording(np.zeros(16_000, np.float32), 16_000)
    rows = [measure(url, "text", []), measure(url, "one second of sound", [second])]
    stopper.send(None)
    process.join(10)
    print(json.dumps({"at_once": AT_ONCE, "latency_s": LATENCY_S, "questions": QUESTIONS, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
