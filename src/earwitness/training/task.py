"""What a domain gives the training loop. The loop knows tasks, never domains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from earwitness.corpora.batch import PATHS, Batch


@dataclass(frozen=True)
class Losses:
    """Named scalar terms, already weighted; what is minimised is their sum."""

    terms: dict[str, Tensor]

    @property
    def total(self) -> Tensor:
        """The sum of the terms, a scalar with gradient."""
        return sum(self.terms.values(), start=next(iter(self.terms.values())) * 0)

    def times(self, share: float) -> Losses:
        """Every term times a number."""
        return Losses({name: term * share for name, term in self.terms.items()})


def by_path(batch: Batch, outputs: Tensor, criterion: Callable[[Tensor, Batch], Tensor], name: str) -> Losses:
    """The loss of the network's outputs [B, ...]: one term `name`, or for a batch of two paths `clean` and `augmented`,
    each its path's loss times 1/2, so that equal items weigh as much as in one term.
    """
    if batch.paths == 1:
        return Losses({name: criterion(outputs, batch)})
    paths = zip(PATHS, outputs.chunk(batch.paths), batch.each_path(), strict=True)
    return Losses({path: criterion(values, part) / batch.paths for path, values, part in paths})


@dataclass(frozen=True)
class Metrics:
    """Named numbers of one evaluation."""

    values: dict[str, float]


class Task(Protocol):
    """How a network is trained and judged."""

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """The loss terms of one batch; the model is in train mode."""
        ...

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """Metrics over the dev batches; the model is in eval mode and no gradient is kept."""
        ...


@runtime_checkable
class Paced(Protocol):
    """A task whose loss changes as training goes on (a margin that grows, a term that fades in)."""

    def set_progress(self, epochs: float) -> None:
        """Told before each step how many epochs have passed, e.g. 2.5; what it sets must follow from that number
        alone.
        """
        ...


@runtime_checkable
class Parted(Protocol):
    """A task whose terms may come from several forward passes, so that only one pass need be held at a time."""

    def parts(self, model: nn.Module, batch: Batch) -> Iterator[Losses]:
        """The terms of a batch, pass by pass; together they are what `loss` gives."""
        ...


@runtime_checkable
class Noted(Protocol):
    """A task that has something to say of every epoch: what it counted, or how the network stands."""

    def notes(self, model: nn.Module) -> dict[str, float]:
        """Named numbers, asked for once at the end of each epoch, before dev; they are logged as `note/NAME`.

        A task that counts over steps begins anew here; what it counted before an interruption is lost. Where several
        processes train, the first one's are logged.
        """
        ...


@dataclass(frozen=True)
class TaskState:
    """What a task has learnt itself: `tensors` by name, and a `note` of plain data."""

    tensors: dict[str, Tensor]
    note: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Stateful(Protocol):
    """A task that learns something itself beside the model; every checkpoint has it, so that a run resumes exactly."""

    def state(self) -> TaskState:
        """Copies, on the CPU, of all that changes from step to step."""
        ...

    def restore(self, kept: TaskState, device: torch.device) -> None:
        """Put back what `state` gave. Raises `ModelError` or `RecipeError` where it does not fit."""
        ...


class TrainData(Protocol):
    """The training batches of each epoch.

    Which rows stand in which batch follows from (seed, epoch) alone and what is drawn for a row from (seed, epoch,
    id), so any stretch of an epoch can be loaded again, the same.
    """

    def count(self, epoch: int) -> int:
        """Batches in this epoch (from 0)."""
        ...

    def load(self, epoch: int, places: Sequence[int]) -> Iterable[Batch]:
        """The batches at these places of the epoch's order, in the order asked for; nothing else is read or decoded."""
        ...
