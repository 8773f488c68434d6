"""One run in several processes: who takes which batches, how much each counts, and what becomes of the helpers.

Processes take whole batches and a batch is never divided, so a loss that compares the items of a batch means the same
with any number of them. N processes with `accumulate: A` take the steps that one takes with `accumulate: N * A`: every
step follows the mean over all utterances of all its batches, also where the last batch is smaller or some processes
have none left. Two things are each process's own: the draws of dropout, and the running statistics of a batch-norm, of
which those of the first process are kept.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from earwitness.core.errors import RecipeError
from earwitness.corpora.batch import Batch
from earwitness.training.recipe import LoopConfig

_SHARED: list[str] = []  # not empty once this process has led or helped a run of several


def launched(config: LoopConfig) -> Any:
    """The processes of a run, each a Fabric: those that `torchrun` has started, or as many as the recipe says, started
    here with the same command line.

    Raises `RecipeError` for a second run of several processes, whose helpers are gone.
    """
    if _SHARED:
        what = "a recipe that trains several networks in turn runs in one process"
        raise RecipeError(what, where="loop.devices", fix="Set loop.devices=1.")
    from lightning_fabric import Fabric  # seconds to import, and recipes are read also where nothing is trained

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it counts its processes aloud
    fabric = Fabric(
        accelerator=config.accelerator, devices=config.devices, strategy=config.strategy, precision=config.precision
    )
    fabric.launch()
    if fabric.world_size > 1:
        _SHARED.append(fabric.device.type)
    return fabric


def require_one_process(config: LoopConfig, what: str) -> None:
    """Raises `RecipeError` where a recipe asks for several devices for `what`, that trains networks in turn."""
    if config.devices != 1:
        fix = "Set loop.devices=1."
        raise RecipeError(f"{what} trains several networks in turn, in one process", where="loop.devices", fix=fix)


def released(fabric: Any) -> None:
    """The run is over. Helpers end here; the first process goes on alone to calibrate, test and write."""
    if fabric.world_size == 1:
        return
    fabric.barrier()
    torch.distributed.destroy_process_group()
    if not fabric.is_global_zero:
        raise SystemExit(0)
    for name in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)


def step_places(count: int, accumulate: int, processes: int, rank: int) -> list[list[int]]:
    """Which of an epoch's `count` batches a process takes at each optimiser step.

    A step takes `accumulate` batches a process. In the last one each process takes what is left; where that does not
    divide evenly, some of its batches are taken twice, so that all processes go on together and no batch is left out.

    >>> step_places(5, accumulate=2, processes=1, rank=0)
    [[0, 1], [2, 3], [4]]
    >>> step_places(5, accumulate=1, processes=2, rank=1)
    [[1], [3], [4]]
    """
    return [
        [step[place % len(step)] for place in range(rank, _round_up(len(step), processes), processes)]
        for step in _steps(count, accumulate * processes)
    ]


def own_places(count: int, accumulate: int, processes: int, rank: int) -> list[int]:
    """How many of `step_places` count at each step; those after them are there only so that all go on together.

    >>> own_places(5, accumulate=1, processes=2, rank=1)
    [1, 1, 0]
    """
    return [len(step[rank::processes]) for step in _steps(count, accumulate * processes)]


def _steps(count: int, size: int) -> Iterator[list[int]]:
    return (list(range(start, min(start + size, count))) for start in range(0, count, size))


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def batch_shares(fabric: Any, batches: Sequence[Batch], own: int) -> list[float]:
    """How much the loss of each batch counts, such that the mean over processes of the weighted sums is the mean over
    all utterances of the step; 0 for those after the first `own`.
    """
    counts = [len(batch.ids) if place < own else 0 for place, batch in enumerate(batches)]
    mean = sum(counts) if fabric.world_size == 1 else _mean(fabric, [float(sum(counts))])[0]
    return [count / mean for count in counts]


def mean_over_processes(fabric: Any, values: Mapping[str, float]) -> dict[str, float]:
    """Numbers that every process has under the same names, averaged."""
    if fabric.world_size == 1 or not values:
        return dict(values)
    return dict(zip(values, _mean(fabric, list(values.values())), strict=True))


def _mean(fabric: Any, values: list[float]) -> list[float]:
    exact = torch.float32 if fabric.device.type == "mps" else torch.float64
    found: list[float] = fabric.all_reduce(torch.tensor(values, dtype=exact, device=fabric.device)).tolist()
    return found
