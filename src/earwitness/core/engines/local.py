"""Working off items in this process: several threads, each with an item of its own from its file to its result."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from earwitness.core.engines.base import Item, Made, Work

MOST_THREADS = 8  # more would wait for Python's interpreter more than they work; processes don't (`RayEngine`)
LOOK_UP_S = 0.2


@dataclass(frozen=True)
class LocalEngine:
    """`workers` threads."""

    workers: int = 1

    def results(self, work: Work[Item, Made], items: Iterable[Item]) -> Iterator[tuple[Item, Made]]:
        """As `Engine.results`."""
        return each_at_once(items, work.result, self.workers)


def threads_by_default() -> int:
    """One a core, up to a few."""
    return min(usable_cores(), MOST_THREADS)


def usable_cores() -> int:
    """Those that this process may run on, or as many as OMP_NUM_THREADS allows where those are fewer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, max(1, int(allowed))) if allowed.isascii() and allowed.isdigit() else cores


def each_at_once(items: Iterable[Item], do: Callable[[Item], Made], workers: int) -> Generator[tuple[Item, Made]]:
    """Each item with what `do` makes of it, in order; `2 * workers` are taken ahead. What it raises is raised here.

    Where it raises, or the caller stops, items that are under way are not waited for, and no others are begun.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="worker")
    waiting: deque[tuple[Item, Future[Made]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(do, item)))
            if len(waiting) > 2 * workers:
                yield _made(waiting)
        while waiting:
            yield _made(waiting)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _made(waiting: deque[tuple[Item, Future[Made]]]) -> tuple[Item, Made]:
    item, future = waiting.popleft()
    while not future.done():  # a plain wait goes on through ctrl-C once polars is loaded: its handler says SA_RESTART
        wait([future], LOOK_UP_S)
    return item, future.result()
