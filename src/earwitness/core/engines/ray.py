"""Working off items by the workers of Ray: processes of this machine, or of the cluster that `RAY_ADDRESS` names.

Each worker gets the work (with its model) once and then shares of the items, each about a second long; it is the local
engine over a share. Workers are plain actors and not Ray Data, whose tasks are tried again whole and whose failures end
a run: here a dead worker costs a share, its items are tried alone by others, and an item that several workers died over
gets its own result by `Work.lost`.

Ray's own telemetry and dashboard stay off, what it logs stays out of the terminal, and without `RAY_ADDRESS` it listens
on the loopback only, to those who have a token that is made for the run.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, Generic

from earwitness.core.allocator import keep_freed_memory
from earwitness.core.engines.base import Item, Made, Work
from earwitness.core.engines.local import LocalEngine
from earwitness.core.errors import MissingPartError, UsageError
from earwitness.core.paths import confined_to, data_root

ATTEMPTS = 3  # workers that may die over an item
SHARE_S = 1.0  # so long a worker is busy with a share
LARGEST_SHARE = 32  # items
QUEUED = 2  # shares a worker has at once, so that it never waits for the next
TAKEN_AHEAD = 16 * LARGEST_SHARE  # items a worker, finished ones included that wait for an earlier one
REACHED_S = 10.0
STORE_BYTES = 256 * 2**20  # Ray's shared memory on this machine; what is larger goes to disk


class RayEngine:
    """`workers` of them with a core each; None: one for every core that Ray knows of.

    Raises `MissingPartError` without Ray, and `UsageError` for a cluster that cannot be reached.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers
        _installed()
        if (address := _cluster()) is not None:
            _require_reachable(address)

    def results(self, work: Work[Item, Made], items: Iterable[Item]) -> Iterator[tuple[Item, Made]]:
        """As `Engine.results`. Raises `UsageError` where workers cannot be started."""
        ray = _started(self.workers)
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        crew = _Crew(ray, work, min(self.workers or cores, cores))
        try:
            yield from crew.results(items)
        finally:
            crew.dismiss()


def _cluster() -> str | None:
    """The address that the user names; None: Ray runs here and for this process alone."""
    address = os.environ.get("RAY_ADDRESS")
    return None if address in (None, "", "local") else address


def _installed() -> Any:
    """The package; what it may say, send and listen to is settled before it is first imported."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # it warns of it otherwise
    if _cluster() is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # its word for "on the loopback", on Linux too
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else it writes one into the home folder
    try:
        import ray
    except ImportError:
        raise MissingPartError("Ray is not installed", fix="pip install 'earwitness[scale]'") from None
    return ray


def _require_reachable(address: str) -> None:
    """Ray itself would try for a minute, in many lines."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    fix = "Start the cluster, correct RAY_ADDRESS (HOST:PORT), or unset it to run on this machine."
    try:
        with socket.create_connection((host, int(port)), REACHED_S):
            return
    except (ValueError, OverflowError):
        raise UsageError("is no address of a Ray cluster", where=f"RAY_ADDRESS={address}", fix=fix) from None
    except OSError as error:
        what = f"the Ray cluster cannot be reached ({error.strerror or error})"
        raise UsageError(what, where=f"RAY_ADDRESS={address}", fix=fix) from None


def _started(workers: int | None) -> Any:
    """Ray, connected to the named cluster or started here. Raises `UsageError` where that fails."""
    ray = _installed()
    if ray.is_initialized():
        return ray
    address = _cluster()
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    here = {"num_cpus": workers, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    try:
        if address is None:
            ray.init("local", **here, **quiet)
        else:
            ray.init(address, **quiet)
    except Exception as error:  # whatever it is, the engine cannot be used
        fix = "See that this machine has the cluster's versions of Ray and Python, or use --engine local."
        raise UsageError(f"Ray did not start ({_first_line(error)})", where="--engine ray", fix=fix) from None
    return ray


class _Worker(Generic[Item, Made]):
    """In a process of its own: holds the work, and works off shares."""

    def __init__(self, work: Work[Item, Made], root: Path | None) -> None:
        keep_freed_memory()
        self._work = work
        self._confined = ExitStack()  # kept for as long as the process lives
        self._confined.enter_context(confined_to(root))

    def ready(self) -> str:
        """The version of Earwitness here."""
        return _version()

    def made(self, items: Sequence[Item]) -> tuple[float, list[Made]]:
        """How many seconds it took, and the results."""
        start = time.monotonic()
        made = [result for _, result in LocalEngine().results(self._work, items)]
        return time.monotonic() - start, made


@dataclass(frozen=True)
class _Share(Generic[Item]):
    """Items with their places in the order."""

    places: tuple[int, ...]
    items: tuple[Item, ...]

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        return zip(self.places, self.items, strict=True)


@dataclass(eq=False)
class _Member(Generic[Item]):
    """A worker: the answer to whether it is ready, until it is; then its shares in the order they are worked off."""

    actor: Any
    joining: Any | None
    shares: deque[tuple[Any, _Share[Item]]] = field(default_factory=deque)

    @property
    def awaited(self) -> Any | None:
        """What it will answer next; None where it has nothing to do."""
        return self.joining if self.joining is not None else self.shares[0][0] if self.shares else None


class _Crew(Generic[Item, Made]):
    """The workers of one call, who has which share, and what has come back."""

    def __init__(self, ray: Any, work: Work[Item, Made], size: int) -> None:
        self._ray, self._work, self._size = ray, work, size
        self._sent = _sent(ray, work)
        self._class = ray.remote(num_cpus=1, max_restarts=0)(_Worker)
        self._members: list[_Member[Item]] = []
        self._waiting: deque[_Share[Item]] = deque()  # shares that go out before any new one
        self._deaths: Counter[int] = Counter()
        self._died_joining = 0
        self._made: dict[int, tuple[Item, Made]] = {}  # by place; they wait for those of earlier places
        self._taken = self._given = 0  # items that came in, and that went out with their results
        self._share = 1  # items
        self._seconds, self._worked_off = 0.0, 0

    def results(self, items: Iterable[Item]) -> Iterator[tuple[Item, Made]]:
        source = iter(items)
        self._waiting.extend(_Share(*zip(*[one], strict=True)) for one in self._take(source, self._size))
        self._members = [self._hired() for _ in self._waiting]
        while self._assign(source):
            awaited = {ref: member for member in self._members if (ref := member.awaited) is not None}
            for ref in self._ray.wait(list(awaited), num_returns=1)[0]:
                self._hear(awaited[ref], ref)
            while self._given in self._made:
                yield self._made.pop(self._given)
                self._given += 1

    def dismiss(self) -> None:
        """End the workers."""
        for member in self._members:
            with suppress(Exception):  # it, or all of Ray, may be gone
                self._ray.kill(member.actor)

    def _assign(self, source: Iterator[Item]) -> bool:
        """Give shares to all who have room for one; whether anything is being worked on."""
        for _ in range(QUEUED):
            for member in self._members:
                if member.joining is None and len(member.shares) < QUEUED and (share := self._next(source)):
                    member.shares.append((member.actor.made.remote(share.items), share))
        return bool(self._waiting) or any(member.shares for member in self._members)

    def _next(self, source: Iterator[Item]) -> _Share[Item] | None:
        if self._waiting:
            return self._waiting.popleft()
        if self._taken - self._given >= TAKEN_AHEAD * self._size:
            return None
        taken = self._take(source, self._share)
        return _Share(*zip(*taken, strict=True)) if taken else None

    def _take(self, source: Iterator[Item], count: int) -> list[tuple[int, Item]]:
        taken = list(enumerate(islice(source, count), start=self._taken))
        self._taken += len(taken)
        return taken

    def _hired(self) -> _Member[Item]:
        actor = self._class.remote(self._sent, data_root())
        return _Member(actor, actor.ready.remote())

    def _hear(self, member: _Member[Item], ref: Any) -> None:
        """What a worker has to say: that it is there, what it made, or nothing any more."""
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None  # of the work itself, as it would come out of the local engine
        except self._ray.exceptions.RayError as error:
            self._replace(member, error)
        else:
            self._welcome(member, answer) if member.joining is not None else self._keep(member, *answer)

    def _welcome(self, member: _Member[Item], version: str) -> None:
        if version != _version():
            what = f"a worker has Earwitness {version}, here it is {_version()}"
            raise UsageError(what, where="--engine ray", fix="Install the same version on every machine.")
        member.joining, self._died_joining = None, 0

    def _keep(self, member: _Member[Item], seconds: float, made: Sequence[Made]) -> None:
        _, share = member.shares.popleft()
        self._made.update(zip(share.places, zip(share.items, made, strict=True), strict=True))
        self._seconds += seconds
        self._worked_off += len(made)
        self._share = max(1, min(LARGEST_SHARE, int(SHARE_S * self._worked_off / max(self._seconds, 1e-6))))

    def _replace(self, member: _Member[Item], error: Exception) -> None:
        """Another worker for a dead one. It died over the first of its shares, whose items go out one by one now."""
        if member.joining is not None:
            self._died_joining += 1
            if self._died_joining >= ATTEMPTS:
                fix = "See that every machine has 'earwitness[scale]' and memory for the model."
                raise UsageError(f"no worker could start ({_last_line(error)})", where="--engine ray", fix=fix)
        with suppress(Exception):
            self._ray.kill(member.actor)
        self._members[self._members.index(member)] = self._hired()
        shares = [share for _, share in member.shares]
        self._waiting.extendleft(reversed(shares[1:]))
        for place, item in reversed(list(shares[0]) if shares else []):
            self._try_again(place, item)

    def _try_again(self, place: int, item: Item) -> None:
        self._deaths[place] += 1
        if self._deaths[place] < ATTEMPTS:
            self._waiting.appendleft(_Share((place,), (item,)))
        else:
            why = f"the process that worked on it died, {ATTEMPTS} times in a row"
            self._made[place] = (item, self._work.lost(item, why))


def _sent(ray: Any, work: object) -> Any:
    """The work in Ray's store, from where each worker takes it. Raises `UsageError` for what cannot be sent."""
    try:
        return ray.put(work)
    except (TypeError, AttributeError, ValueError) as error:  # pickle has no error of its own for all of it
        what = f"this model cannot be sent to other processes ({_first_line(error)})"
        raise UsageError(what, where="--engine ray", fix="Use --engine local.") from None


def _version() -> str:
    try:
        return metadata.version("earwitness")
    except metadata.PackageNotFoundError:  # it runs from its source
        return "unknown"


def _first_line(error: BaseException) -> str:
    return _lines(error)[0][:200]


def _last_line(error: BaseException) -> str:
    return _lines(error)[-1][:200]


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
