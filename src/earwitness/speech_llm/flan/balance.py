"""Which records to learn from when a few tasks have most of them: tasks drawn by `p_k ~ n_k ** a`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import UsageError


def task_weights(counts: Mapping[str, int], a: float) -> dict[str, float]:
    """p_k of each task: uniform at a = 0, proportional to its n_k records at a = 1. They add up to 1.

    Raises `UsageError` for `a` outside of [0, 1], and where no task has records.
    """
    if not 0 <= a <= 1:
        raise UsageError(f"the exponent {a:g} is outside of [0, 1]", fix="0 is uniform over tasks, 1 proportional.")
    weights = {task: count**a for task, count in counts.items() if count > 0}
    total = sum(weights.values())
    if not total:
        raise UsageError("there are no records to draw from")
    return {task: weight / total for task, weight in weights.items()}


def balanced_draw(tasks: Sequence[str], size: int, a: float, seed: int) -> NDArray[np.int64]:
    """Places [size] of drawn records, given the task of each record: first the task, then its next record in an order
    that is shuffled anew each time it has been gone through, so that no record repeats before all others came."""
    places: dict[str, list[int]] = {}
    for place, task in enumerate(tasks):
        places.setdefault(task, []).append(place)
    weights = task_weights({task: len(found) for task, found in places.items()}, a)
    rng = np.random.default_rng(seed)
    names = list(weights)
    drawn = rng.choice(len(names), size, p=[weights[name] for name in names])
    chosen = np.zeros(size, np.int64)
    for number, name in enumerate(names):
        wanted = np.flatnonzero(drawn == number)
        rounds = -(-len(wanted) // len(places[name]))
        order = [rng.permutation(places[name]) for _ in range(rounds)]
        if len(wanted):
            chosen[wanted] = np.concatenate(order)[: len(wanted)]
    return chosen
