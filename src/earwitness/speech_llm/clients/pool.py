"""Many questions at once: a bounded number of threads, refilled as they come free, answers as they come.

How many requests are under way at one server is its client's own limit (`limit.AdaptiveLimit`), which a 429 halves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from earwitness.core.errors import EarwitnessError, MissingPartError, ModelError
from earwitness.speech_llm.clients.answers import failed
from earwitness.speech_llm.clients.interface import Answer

Ask = Callable[[], Answer]


def answers(asks: Iterable[Ask], concurrency: int = 8) -> Iterator[tuple[int, Answer]]:
    """(place, answer) of every question, in the order in which they are answered.

    `asks` is read at most twice `concurrency` ahead: it may be endless, and load its recordings when called. A
    recording that cannot be read is an answer of status "error"; a model or package that is missing ends it all. Where
    the caller stops, questions that are not under way are not asked.
    """
    threads = max(1, concurrency)
    done: SimpleQueue[tuple[int, Future[Answer]]] = SimpleQueue()
    open_asks = 0
    pool = ThreadPoolExecutor(threads, thread_name_prefix="asks")
    try:
        for place, ask in enumerate(asks):
            future = pool.submit(_answered, ask)
            future.add_done_callback(lambda future, place=place: done.put((place, future)))  # type: ignore[misc]
            open_asks += 1
            while open_asks >= 2 * threads or (open_asks and not done.empty()):
                yield _next(done)
                open_asks -= 1
        for _ in range(open_asks):
            yield _next(done)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _next(done: SimpleQueue[tuple[int, Future[Answer]]]) -> tuple[int, Answer]:
    place, future = done.get()
    return place, future.result()


def _answered(ask: Ask) -> Answer:
    try:
        return ask()
    except (MissingPartError, ModelError):
        raise
    except EarwitnessError as error:
        return failed(str(error))
