"""What a domain gives the training loop. The loop knows tasks, never domains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from earwitness.corpora.batch import Batch


@dataclass(frozen=True)
class Losses:
    """Named scalar terms, already weighted; what is minimised is their sum."""

    terms: dict[str, Tensor]

    @property
    def total(self) -> Tensor:
        """The sum of the terms, a scalar with gradient."""
        return sum(self.terms.values(), start=next(iter(self.terms.values())) * 0)


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
