"""A network, a task and data that are small enough to train in a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from earwitness.corpora.batch import Batch, Targets
from earwitness.training.recipe import Recipe
from earwitness.training.task import Losses, Metrics


class TinyNetwork(nn.Module):
    """Convolution, batch-norm, dropout, linear: every kind of state that a checkpoint must carry."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 5, stride=2)
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(4, 2)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        frames = torch.relu(self.norm(self.conv(waveforms.unsqueeze(1))))
        return self.head(self.dropout(frames.mean(-1)))


class TinyTask:
    """Tells loud from quiet; dev metrics are the loss and the share of errors."""

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        logits = model(batch.waveforms, batch.lengths)
        return Losses({"classification": nn.functional.cross_entropy(logits, batch.targets.label)})

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        losses, errors = [], []
        for batch in batches:
            logits = model(batch.waveforms, batch.lengths)
            losses.append(nn.functional.cross_entropy(logits, batch.targets.label))
            errors.append((logits.argmax(1) != batch.targets.label).float().mean())
        return Metrics({"loss": float(torch.stack(losses).mean()), "errors": float(torch.stack(errors).mean())})


class TinyData:
    """`batches` batches an epoch, drawn from (seed, epoch, place); remembers what was asked for."""

    def __init__(self, batches: int = 7, size: int = 6, seed: int = 0) -> None:
        self.batches, self.size, self.seed = batches, size, seed
        self.asked: list[tuple[int, list[int]]] = []

    def count(self, epoch: int) -> int:
        return self.batches

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        self.asked.append((epoch, list(places)))
        for place in places:
            yield make_batch(self.seed, epoch, place, self.size)


def make_batch(seed: int, epoch: int, place: int, size: int) -> Batch:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch * 1_009 + place)
    labels = torch.randint(0, 2, (size,), generator=generator)
    waveforms = torch.randn(size, 64, generator=generator) * (0.5 + labels.unsqueeze(1))
    ids = tuple(f"{epoch}-{place}-{row}" for row in range(size))
    return Batch(waveforms, torch.full((size,), 64), Targets(label=labels), ids)


def tiny_recipe(**loop: Any) -> Recipe:
    schedule = loop.pop("schedule", {"kind": "cosine", "per": "step"})
    optimiser = loop.pop("optimiser", {"kind": "adamw", "lr": 0.01})
    plan = {"epochs": 3, "batch_size": 6, "accelerator": "cpu", "select": {"metric": "loss"}, **loop}
    data = {"manifests": ["none.csv"]}
    return Recipe.model_validate(
        {"name": "tiny", "data": data, "optimiser": optimiser, "schedule": schedule, "loop": plan}
    )


def tiny_network() -> TinyNetwork:
    torch.manual_seed(5)
    return TinyNetwork()


def tiny_dev() -> list[Batch]:
    return [make_batch(99, 0, place, 16) for place in range(2)]
