"""Many requests at once: results are kept as they come, several of them in one wait for the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

from earwitness.speech_llm.kept import KeptRecords

J = TypeVar("J")
Record = dict[str, Any]
IN_LINE = 4  # jobs handed out, for each that can run at once


def work_through(
    jobs: Iterable[J], do: Callable[[J], Record], kept: KeptRecords, concurrency: int, step: Callable[[], None]
) -> None:
    """Do every job, `concurrency` at a time, and keep what each gives; `step` is called once a job.

    More wait in line, so that no thread waits for the disk. What a job raises is raised here, after the finished ones
    were kept; jobs that are not under way then are not begun.
    """
    waiting = iter(jobs)
    finished: SimpleQueue[Future[Record]] = SimpleQueue()
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="bench")
    try:
        running = 0
        done: list[Future[Record]] = []
        while True:
            for job in islice(waiting, IN_LINE * concurrency - running):
                pool.submit(do, job).add_done_callback(finished.put)
                running += 1
            kept.add_all([one.result() for one in done if one.exception() is None])
            for one in done:
                one.result()
                step()
            if not running:
                return
            done = _all_that(finished)
            running -= len(done)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _all_that(finished: SimpleQueue[Future[Record]]) -> list[Future[Record]]:
    """What has finished by now; waits for one where nothing has."""
    found = [finished.get()]
    while not finished.empty():
        found.append(finished.get())
    return found
