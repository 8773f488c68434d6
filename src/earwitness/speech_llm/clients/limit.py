"""How many requests may be under way at once: at most as many as are allowed; halved when the server says that it is
too much, one more for each that it takes (additive increase, multiplicative decrease)."""

from __future__ import annotations

import math
import threading
import time


class AdaptiveLimit:
    """A gate for threads. `most` is the only limit until the server answers 429 for the first time.

    Requests that were under way when the limit was halved do not halve it again: they say nothing new.
    """

    def __init__(self, most: float = math.inf) -> None:
        self.limit = self._most = most
        self._under_way = 0
        self._cut_at = -math.inf
        self._changed = threading.Condition()

    def enter(self) -> float:
        """Wait for a place; the time of entry, which `left` wants back."""
        with self._changed:
            while self._under_way >= self.limit:
                self._changed.wait()
            self._under_way += 1
            return time.monotonic()

    def left(self, entered: float, *, too_many: bool = False, taken: bool = False) -> None:
        """Give the place back: the server has said 429 (`too_many`), has answered (`taken`), or neither."""
        with self._changed:
            if too_many and entered > self._cut_at:
                self.limit = max(1, min(self.limit, self._under_way) // 2)
                self._cut_at = time.monotonic()
            elif taken:
                self.limit = min(self.limit + 1, self._most)
            self._under_way -= 1
            self._changed.notify(2)  # the place that is free now, and one more where the limit has grown
