"""Many requests at once: results are kept as they come, several of them in one wait for the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from earwitness.speech_llm.kept import KeptRecords

J = TypeVar("J")
Record = dict[str, Any]


def work_through(
    jobs: Iterable[J], do: Callable[[J], Record], kept: KeptRecords, concurrency: int, step: Callable[[], None]
) -> None:
    """Do every job, `concurrency` at a time, and keep what each gives; `step` is called once a job.

    As many again wait in line, so that a thread never waits for the disk. What a job raises is raised here, after the
    finished ones were kept.
    """
    waiting = iter(jobs)
    running: set[Future[Record]] = set()
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            while True:
                while len(running) < 2 * concurrency and (job := next(waiting, None)) is not None:
                    running.add(pool.submit(do, job))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                kept.add_all([one.result() for one in done if one.exception() is None])
                for one in done:
                    one.result()
                    step()
        finally:
            for one in running:
                one.cancel()
