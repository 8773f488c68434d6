"""Many requests at once: results are kept as they come, several of them in one wait for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any, TypeVar

from earwitness.speech_llm.kept import KeptRecords

J = TypeVar("J")
Record = dict[str, Any]


def work_through(
    jobs: Iterable[J], do: Callable[[J], Record], kept: KeptRecords, concurrency: int, step: Callable[[], None]
) -> None:
    """Do every job, `concurrency` at a time, and keep what each gives; `step` is called once a job.

    Each thread takes the next job by itself, so that none waits for the disk. What a job raises is raised here, after
    the finished ones were kept; jobs that are not under way then are not begun.
    """
    crew = _Crew(jobs, do)
    threads = [threading.Thread(target=crew.work, name=f"bench-{n}", daemon=True) for n in range(concurrency)]
    for thread in threads:
        thread.start()
    try:
        working = len(threads)
        while working:
            done = _all_that(crew.finished)
            records = [one for one in done if isinstance(one, dict)]
            kept.add_all(records)
            for _ in records:
                step()
            for one in done:
                if isinstance(one, BaseException):
                    raise one
            working -= done.count(None)
    finally:
        crew.stop()
        for thread in threads:
            thread.join()


class _Crew:
    """Threads at one list of jobs. `finished` gets what each job gave or raised, and None where a thread ends."""

    def __init__(self, jobs: Iterable[Any], do: Callable[[Any], Record]) -> None:
        self.finished: SimpleQueue[Record | BaseException | None] = SimpleQueue()
        self._jobs = iter(jobs)
        self._do = do
        self._next = threading.Lock()
        self._stopped = False

    def work(self) -> None:
        """Until there are no jobs, or one has failed."""
        try:
            while (job := self._taken()) is not None:
                self.finished.put(self._do(job[0]))
        except BaseException as error:  # it is raised again by the thread that waits
            self.stop()
            self.finished.put(error)
        self.finished.put(None)

    def stop(self) -> None:
        """Begin no more jobs."""
        self._stopped = True

    def _taken(self) -> tuple[Any] | None:
        with self._next:
            for job in self._jobs if not self._stopped else ():
                return (job,)
            return None


def _all_that(finished: SimpleQueue[Any]) -> list[Any]:
    """What has finished by now; waits for one where nothing has."""
    found = [finished.get()]
    while not finished.empty():
        found.append(finished.get())
    return found
