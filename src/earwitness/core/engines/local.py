"""Working off items in this process: threads work ahead, the caller's thread does the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from earwitness.core.engines.base import Ahead, Item, Made, Work


@dataclass(frozen=True)
class LocalEngine:
    """`threads` of them work ahead."""

    threads: int = 1

    def results(self, work: Work[Item, Ahead, Made], items: Iterable[Item]) -> Iterator[tuple[Item, Made]]:
        """As `Engine.results`."""
        for item, ahead in ahead_of(items, work.ahead, self.threads):
            yield item, work.result(item, ahead)


def ahead_of(
    items: Iterable[Item], work: Callable[[Item], Ahead], threads: int
) -> Iterator[tuple[Item, Future[Ahead]]]:
    """Each item with its finished or running work, in order; at most `2 * threads + 3` are held at once."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        waiting: deque[tuple[Item, Future[Ahead]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > 2 * threads + 2:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, future in waiting:
                future.cancel()
