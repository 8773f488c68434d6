"""A server on loopback that answers like a model behind `/v1/chat/completions`, as scripted: for tests and trials.

It counts what is asked of it and keeps the bodies. `MODES` are the ways in which real servers go wrong.

>>> with FakeServer("a calm voice") as server:
...     server.base_url.startswith("http://127.0.0.1:"), server.count
(True, 0)
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import socket
import threading
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import numpy as np

MODEL = "fake-1"
LOUD = 0.001  # root mean square above which a recording is no silence
REFUSAL = "I'm sorry, but I can't say who is speaking."


@dataclass(frozen=True)
class Asked:
    """One request: `number` counts from 0, `body` is its JSON, `headers` are in lower case."""

    number: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text of the last user message."""
        return "\n".join(str(part.get("text", "")) for part in self._parts("user") if part.get("type") == "text")

    @property
    def system(self) -> str | None:
        """The system message, where there is one."""
        return "\n".join(str(part.get("text", "")) for part in self._parts("system")) or None

    @cached_property
    def wavs(self) -> tuple[bytes, ...]:
        """The files that came with the question, as bytes. Raises `ValueError` for what is no bare base64."""
        return tuple(_payload(part) for part in self._parts("user") if str(part.get("type")).endswith(("audio", "url")))

    @cached_property
    def sounds(self) -> tuple[np.ndarray[Any, Any], ...]:
        """The samples of `wavs`, int16 [N] each."""
        return tuple(_samples(data) for data in self.wavs)

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the reply shall fit, from any of the places where servers look for one."""
        form = self.body.get("response_format") or {}
        nested = form.get("json_schema", {}).get("schema") or form.get("schema")
        found = nested or self.body.get("structured_outputs", {}).get("json")
        return found if isinstance(found, dict) else None

    def _parts(self, role: str) -> list[dict[str, Any]]:
        contents = [message["content"] for message in self.body.get("messages", []) if message.get("role") == role]
        content = contents[-1] if contents else []
        return [{"type": "text", "text": content}] if isinstance(content, str) else content


@dataclass(frozen=True)
class Reply:
    """What the server sends: `text` as a completion, or with `status` other than 200 an error whose words are `text`.

    `raw` replaces the whole body; `hang_up` closes the connection instead of answering.
    """

    text: str | None = ""
    refusal: str | None = None
    finish_reason: str = "stop"
    status: int = 200
    code: str | None = None
    retry_after: str | None = None
    delay_s: float = 0.0
    prompt_tokens: int | None = None  # None: counted from the text and the seconds of sound
    raw: bytes | None = None
    hang_up: bool = False


Script = Callable[[Asked], "Reply | str"]


class FakeServer:
    """Serves while it is a context. `reply` is what every question gets, or a function of the question.

    `latency_s` passes before each reply. `schemas` says what becomes of a JSON schema: the reply is made to fit it, it
    is ignored, or refused with 400. `hears` False ignores recordings: neither the script nor the count of tokens sees
    them.
    """

    def __init__(
        self,
        reply: str | Reply | Script = "a reply",
        *,
        latency_s: float = 0.0,
        model: str = MODEL,
        schemas: Literal["enforced", "ignored", "rejected"] = "ignored",
        hears: bool = True,
        port: int = 0,
    ) -> None:
        self.model = model
        self.latency_s = latency_s
        self.schemas = schemas
        self.hears = hears
        self.requests: list[Asked] = []
        self.connections = 0
        self.most_at_once = 0
        self._script: Script = reply if callable(reply) else lambda _: reply
        self._at_once = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def base_url(self) -> str:
        """What a client is given."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def count(self) -> int:
        """Questions asked so far, tries that failed included."""
        return len(self.requests)

    def __enter__(self) -> FakeServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def chat(self, body: bytes, headers: dict[str, str]) -> Reply:
        """The scripted reply to one request; it is recorded first."""
        try:
            parsed = json.loads(body)
        except ValueError:
            return Reply("the body is not JSON", status=400)
        with self._lock:
            asked = Asked(len(self.requests), parsed, headers)
            self.requests.append(asked)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            reply = self._reply(asked)
            time.sleep(self.latency_s + reply.delay_s)
        finally:
            with self._lock:
                self._at_once -= 1
        return reply

    def _reply(self, asked: Asked) -> Reply:
        if asked.schema is not None and self.schemas == "rejected":
            return Reply("response_format is not supported", status=400, code="unsupported_parameter")
        seen = asked if self.hears else _deafened(asked)
        try:
            said = self._script(seen)
            reply = Reply(said) if isinstance(said, str) else said
            if reply.prompt_tokens is None:
                reply = replace(reply, prompt_tokens=_tokens(seen))
        except (ValueError, KeyError, TypeError, AttributeError, wave.Error, EOFError, OSError) as error:
            return Reply(f"{type(error).__name__}: {error}", status=400, code="bad_request")
        if asked.schema is not None and self.schemas == "enforced" and reply.status == 200:
            return replace(reply, text=_made_to_fit(reply.text, asked.schema))
        return reply

    def connected(self, connection: socket.socket) -> None:
        """One more connection, which ends with the server."""
        with self._lock:
            self.connections += 1
            self._open.add(connection)

    def disconnected(self, connection: socket.socket) -> None:
        """One less."""
        with self._lock:
            self._open.discard(connection)


def hearing(asked: Asked) -> str:
    """A model that hears: it tells a tone from silence, and how long the recording is."""
    if not asked.sounds:
        return "There is no recording."
    words = [("tone" if _level(sound) > LOUD else "silence", len(sound) / 16_000) for sound in asked.sounds]
    return "; ".join(f"{word} of {seconds:.1f} s" for word, seconds in words)


MODES: dict[str, Callable[[], FakeServer]] = {
    "hears": lambda: FakeServer(hearing, schemas="enforced"),
    "deaf": lambda: FakeServer("It sounds calm.", hears=False),
    "text_only": lambda: FakeServer(lambda asked: _no_audio(asked), schemas="enforced"),
    "ignores_schema": lambda: FakeServer(hearing, schemas="ignored"),
    "rejects_schema": lambda: FakeServer(hearing, schemas="rejected"),
    "rate_limited": lambda: FakeServer(Reply("slow down", status=429, retry_after="2")),
    "error": lambda: FakeServer(Reply("the model has crashed", status=500)),
    "no_mmproj": lambda: FakeServer(lambda asked: _no_projector(asked)),
    "slow": lambda: FakeServer(hearing, latency_s=0.6),
    "not_json": lambda: FakeServer(Reply(raw=b"<html>it works!</html>")),
    "refusal": lambda: FakeServer(Reply(None, refusal=REFUSAL)),
    "content_filter": lambda: FakeServer(Reply("blocked by the policy", status=400, code="content_filter")),
    "empty": lambda: FakeServer(Reply(None)),
    "truncated": lambda: FakeServer(Reply("It sounds", finish_reason="length")),
    "unauthorised": lambda: FakeServer(Reply("wrong key", status=401, code="invalid_api_key")),
    "hangs_up": lambda: FakeServer(Reply(hang_up=True)),
}
"""Servers as they come, by name; `slow` answers after 0.6 s."""


def _no_audio(asked: Asked) -> Reply:
    if asked.wavs:
        return Reply("this model takes no audio", status=400, code="invalid_request_error")
    return Reply("There is no recording.")


def _no_projector(asked: Asked) -> Reply:
    if asked.wavs:
        return Reply("audio input is not supported - hint: you may need to provide the mmproj", status=500)
    return Reply("There is no recording.")


def _deafened(asked: Asked) -> Asked:
    """The question without its recordings."""
    messages = [
        {**message, "content": [part for part in message["content"] if part.get("type") == "text"]}
        if isinstance(message.get("content"), list)
        else message
        for message in asked.body.get("messages", [])
    ]
    return Asked(asked.number, {**asked.body, "messages": messages}, asked.headers)


def _payload(part: dict[str, Any]) -> bytes:
    """The bytes of a part of audio in any of the three styles, strictly decoded."""
    if part["type"] == "input_audio":
        return base64.b64decode(part["input_audio"]["data"], validate=True)
    url = part["audio_url"]["url"]
    if url.startswith("file://"):
        return Path(unquote(urlsplit(url).path)).read_bytes()
    head, _, data = url.partition(",")
    if head != "data:audio/wav;base64":
        raise binascii.Error(f"'{head[:40]}' is no URL of audio")
    return base64.b64decode(data, validate=True)


def _samples(data: bytes) -> np.ndarray[Any, Any]:
    with wave.open(io.BytesIO(data)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def _level(sound: np.ndarray[Any, Any]) -> float:
    return float(np.sqrt(np.mean((sound / 32768.0) ** 2))) if len(sound) else 0.0


def _tokens(asked: Asked) -> int:
    """25 for a second of sound, and one for a word."""
    words = len((asked.text + " " + (asked.system or "")).split())
    return words + sum(round(25 * len(sound) / 16_000) for sound in asked.sounds)


def _made_to_fit(text: str | None, schema: dict[str, Any]) -> str:
    """The text where it fits the schema, else the least JSON that does."""
    try:
        value = json.loads(text or "")
    except ValueError:
        value = None
    return text if text and _fits(value, schema) else json.dumps(_least(schema))


def _fits(value: object, schema: dict[str, Any]) -> bool:
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kinds: dict[str, type | tuple[type, ...]] = {
        "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    }  # fmt: skip
    if not isinstance(value, kinds.get(schema.get("type", "object"), object)):
        return False
    inner = schema.get("properties", {})
    return not isinstance(value, dict) or (
        all(name in value for name in schema.get("required", []))
        and all(_fits(entry, inner[name]) for name, entry in value.items() if name in inner)
    )


def _least(schema: dict[str, Any]) -> Any:
    if "const" in schema or "enum" in schema:
        return schema.get("enum", [schema.get("const")])[0]
    if schema.get("type", "object") == "object":
        return {name: _least(inner) for name, inner in schema.get("properties", {}).items()}
    simple = {"array": [], "string": "", "boolean": False, "null": None}
    return simple.get(schema["type"], schema.get("minimum", 0))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], fake: FakeServer) -> None:
        self.fake = fake
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.fake.connected(self.connection)

    def finish(self) -> None:
        self.server.fake.disconnected(self.connection)
        super().finish()

    def do_GET(self) -> None:
        fake = self.server.fake
        if self.path != "/v1/models":
            self._send(404, _error(f"there is nothing at {self.path}", None))
            return
        self._send(200, {"object": "list", "data": [{"id": fake.model, "object": "model"}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if urlsplit(self.path).path != "/v1/chat/completions":
            self._send(404, _error(f"there is nothing at {self.path}", None))
            return
        fake = self.server.fake
        reply = fake.chat(body, {name.lower(): value for name, value in self.headers.items()})
        if reply.hang_up:
            self.close_connection = True
        elif reply.raw is not None:
            self._send(reply.status, reply.raw, reply.retry_after)
        elif reply.status != 200:
            self._send(reply.status, _error(reply.text or "", reply.code), reply.retry_after)
        else:
            self._send(200, _completion(reply, fake.model))

    def _send(self, status: int, content: bytes | dict[str, Any], retry_after: str | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if retry_after is not None:
                self.send_header("Retry-After", retry_after)
            self.end_headers()
            self.wfile.write(data)
        except ConnectionError:  # the client has stopped waiting
            self.close_connection = True

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


def _error(message: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "code": code}}


def _completion(reply: Reply, model: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    done = len((reply.text or "").split())
    usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": done}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    return {"id": "fake", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
