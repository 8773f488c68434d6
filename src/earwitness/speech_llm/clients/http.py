"""JSON over HTTP with the standard library: one kept connection a thread, and which failures are worth another try."""

from __future__ import annotations

import copy
import http.client
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from urllib.parse import urlsplit

from earwitness.core.errors import UsageError
from earwitness.speech_llm.clients.limit import AdaptiveLimit

LONGEST_REPLY = 16 * 1024 * 1024  # bytes
WORTH_ANOTHER_TRY = (408, 409, 429)  # and all of 500 to 599


@dataclass(frozen=True)
class Response:
    """What a server sent."""

    status: int
    body: bytes
    retry_after: str | None = None

    @property
    def passing(self) -> bool:
        """Whether the same request may well be answered later."""
        return self.status in WORTH_ANOTHER_TRY or 500 <= self.status < 600


@dataclass(frozen=True)
class Failure:
    """No response: the words of the network, and whether it was time that ran out."""

    what: str
    timeout: bool = False
    passing: bool = True


@dataclass(frozen=True)
class Retries:
    """Up to `tries` tries, the n-th wait `base_s` * 2^n at most `cap_s`, of which chance takes up to a half.

    A server's Retry-After is waited for where it is longer; one beyond `cap_s` is not, and the failure stands.
    """

    tries: int = 5
    base_s: float = 1.0
    cap_s: float = 60.0

    def wait_s(self, number: int, retry_after: str | None, chance: float) -> float | None:
        """Seconds before the next try after try `number` (from 0), `chance` in [0, 1); None: no more tries."""
        if number + 1 >= self.tries:
            return None
        own = min(self.cap_s, self.base_s * 2.0**number) * (1 - chance / 2)
        asked = _seconds(retry_after)
        if asked is not None and asked > self.cap_s:
            return None
        return max(own, asked or 0.0)


def _seconds(retry_after: str | None) -> float | None:
    """The header in seconds: it is a number or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


class _Kept(threading.local):
    """A thread's connection, closed with the thread."""

    connection: http.client.HTTPConnection | None = None

    def __del__(self) -> None:
        if self.connection is not None:
            self.connection.close()


class Endpoint:
    """One server. Safe to use from many threads.

    Redirections are not followed, and no proxy of the environment is used. `sleep` waits between tries.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        timeout_s: float,
        retries: Retries,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        try:
            parts = urlsplit(base_url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        plain = base_url.isascii() and base_url.isprintable() and " " not in base_url
        if not plain or parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise UsageError("is no address of a server", where=base_url, fix="Use http://HOST:PORT/v1 or https://.")
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, port
        self._path, self._query = parts.path.rstrip("/"), f"?{parts.query}" if parts.query else ""
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        self._timeout_s = timeout_s
        self._retries = retries
        self._sleep = sleep
        self._kept = _Kept()
        self._dice = random.Random()
        self.limit = AdaptiveLimit()

    def get(self, path: str) -> Response | Failure:
        """One GET below the base address, tried once."""
        return self._once("GET", path, None)

    def at_most(self, requests: int) -> Endpoint:
        """The same server, with at most so many of these requests under way at once."""
        twin = copy.copy(self)
        twin.limit = AdaptiveLimit(requests)
        return twin

    def post(self, path: str, body: bytes) -> tuple[Response | Failure, float]:
        """One POST below the base address, tried again after failures that pass: the last response or failure, and the
        seconds since it was first sent."""
        sent: list[float] = []
        for number in count():
            got = self._limited(path, body, sent)
            retry_after = got.retry_after if isinstance(got, Response) else None
            wait_s = self._retries.wait_s(number, retry_after, self._dice.random()) if got.passing else None
            if wait_s is None:
                return got, time.monotonic() - sent[0]
            self._sleep(wait_s)
        raise AssertionError  # tries end

    def _limited(self, path: str, body: bytes, sent: list[float]) -> Response | Failure:
        """One POST, when there is a place for it; `sent` is told when that was."""
        entered, status = self.limit.enter(), 0
        sent.append(entered)
        try:
            got = self._once("POST", path, body)
            status = got.status if isinstance(got, Response) else 0
        finally:
            self.limit.left(entered, too_many=status == 429, taken=status == 200)
        return got

    def _once(self, method: str, path: str, body: bytes | None) -> Response | Failure:
        """A server may close a kept connection at any time: then, and only then, at once again on a new one."""
        fresh = self._kept.connection is None
        try:
            return self._exchange(method, path, body)
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            self._drop()
            if fresh:
                return Failure(_words(error))
        except Exception as error:
            self._drop()
            return _failure(error, self._timeout_s)
        try:
            return self._exchange(method, path, body)
        except Exception as error:
            self._drop()
            return _failure(error, self._timeout_s)

    def _exchange(self, method: str, path: str, body: bytes | None) -> Response:
        if self._kept.connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._kept.connection = kind(self._host, self._port, timeout=self._timeout_s)
        connection = self._kept.connection
        until = time.monotonic() + self._timeout_s
        connection.request(method, f"{self._path}{path}{self._query}", body, self._headers)
        response = connection.getresponse()
        pieces, size, announced = [], 0, response.length
        while piece := _piece(response):
            pieces.append(piece)
            size += len(piece)
            if size > LONGEST_REPLY:
                self._drop()
                raise http.client.HTTPException(f"the reply is longer than {LONGEST_REPLY} bytes")
            if time.monotonic() > until:
                raise TimeoutError
        if announced is not None and size < announced:
            raise http.client.HTTPException("the reply was cut short")
        response.read()  # nothing is left, and only now the connection is free for the next request
        return Response(response.status, b"".join(pieces), response.getheader("Retry-After"))

    def _drop(self) -> None:
        if self._kept.connection is not None:
            self._kept.connection.close()
            self._kept.connection = None


def _piece(response: http.client.HTTPResponse) -> bytes:
    """What has come of the reply. A connection reset in the middle of it is a reply cut short, not a missing one."""
    try:
        return response.read1(1 << 16)
    except ConnectionError as error:
        raise http.client.HTTPException("the reply was cut short") from error


def _failure(error: Exception, timeout_s: float) -> Failure:
    """Raises again what is no fault of the network."""
    if isinstance(error, TimeoutError):
        return Failure(f"no answer within {timeout_s:g} s", timeout=True)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(f"the server's certificate is not trusted ({error.verify_message})", passing=False)
    if isinstance(error, OSError | http.client.HTTPException):
        return Failure(_words(error))
    raise error


def _words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "the server cannot be reached: nothing listens at its address"
    if isinstance(error, ConnectionError):  # RemoteDisconnected is one
        return "the server closed the connection without an answer"
    return f"the server cannot be reached ({error})" if isinstance(error, OSError) else f"no valid HTTP ({error})"
