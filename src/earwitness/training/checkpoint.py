"""Where a run stands, on disk: enough to go on after `kill -9` with the same weights as if nothing had happened.

One safetensors file, replaced in one rename, holds the weights, the optimiser's tensors, what the task learns itself
and, as JSON in its header, the rest. No generator state is needed: the randomness of a step follows from (seed, step),
the data from (seed, epoch, place).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from earwitness.core.errors import ModelError
from earwitness.training.recipe import AverageConfig, SelectConfig
from earwitness.training.task import TaskState
from earwitness.training.tensors import load_trained_state, read_tensors, trained_state, write_tensors

FORMAT = 1


@dataclass(frozen=True)
class EpochResult:
    """One finished epoch (from 0): means of the loss terms and of `gradients` over its steps, and the dev metrics.

    `gradients` has what `training.conflicts` noted in an aligned run, and `skipped`, the share of steps left out.
    """

    epoch: int
    losses: dict[str, float]
    metrics: dict[str, float]
    gradients: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `steps_in_epoch` and the sums belong to the unfinished epoch `len(history)`.

    `targets` is what gradient alignment remembers from step to step.
    """

    step: int = 0
    steps_in_epoch: int = 0
    loss_sums: dict[str, float] = field(default_factory=dict)
    gradient_sums: dict[str, float] = field(default_factory=dict)
    targets: dict[str, list[list[float]]] = field(default_factory=dict)
    history: tuple[EpochResult, ...] = ()
    log_bytes: int = 0

    @property
    def epoch(self) -> int:
        """Finished epochs, which is also the number of the running one."""
        return len(self.history)

    def after_step(self, losses: Mapping[str, float], gradients: Mapping[str, float] | None = None) -> Progress:
        """One step further; `gradients` is what was noted of them."""
        sums = _added(self.loss_sums, losses)
        noted = _added(self.gradient_sums, gradients or {})
        steps = self.steps_in_epoch + 1
        return replace(self, step=self.step + 1, steps_in_epoch=steps, loss_sums=sums, gradient_sums=noted)

    def after_epoch(self, metrics: Mapping[str, float]) -> Progress:
        """One epoch further."""
        done = EpochResult(self.epoch, self.mean_losses(), dict(metrics), self.mean_gradients())
        return replace(self, steps_in_epoch=0, loss_sums={}, gradient_sums={}, history=(*self.history, done))

    def logged(self, size: int) -> Progress:
        """The same with the size of the log, in bytes."""
        return replace(self, log_bytes=size)

    def mean_losses(self) -> dict[str, float]:
        """Loss terms averaged over the steps of the unfinished epoch."""
        return {name: total / max(1, self.steps_in_epoch) for name, total in self.loss_sums.items()}

    def mean_gradients(self) -> dict[str, float]:
        """What was noted of gradients, averaged over the steps of the unfinished epoch that were not skipped."""
        skipped = self.gradient_sums.get("skipped", 0.0)
        taken = max(1.0, self.steps_in_epoch - skipped)
        means = {name: total / taken for name, total in self.gradient_sums.items()}
        return means | ({"skipped": skipped / max(1, self.steps_in_epoch)} if means else {})


def _added(sums: Mapping[str, float], values: Mapping[str, float]) -> dict[str, float]:
    return {**sums, **{name: sums.get(name, 0.0) + value for name, value in values.items()}}


def ranked(history: tuple[EpochResult, ...], select: SelectConfig) -> list[int]:
    """Epochs from best to worst by the dev metric; ties go to the earlier one, an epoch without a finite value is
    last.
    """
    sign = 1.0 if select.mode == "min" else -1.0

    def key(result: EpochResult) -> float:
        value = sign * result.metrics[select.metric]
        return value if value == value else float("inf")

    return [result.epoch for result in sorted(history, key=key)]


def chosen_epochs(
    history: tuple[EpochResult, ...], select: SelectConfig | None, average: AverageConfig | None
) -> list[int]:
    """The epochs whose weights make the result as things stand, the last of them the latest."""
    if average is not None:
        by_rank = ranked(history, select) if average.of == "best" and select is not None else _latest_first(history)
        return sorted(by_rank[: average.count])
    return (ranked(history, select) if select is not None else _latest_first(history))[:1]


def epoch_shares(
    chosen: list[int], history: tuple[EpochResult, ...], select: SelectConfig | None, average: AverageConfig | None
) -> list[float]:
    """How much each chosen epoch counts in the average; the sum is 1. Of n epochs from best to worst `as_released`
    counts 0, 2, 1, 1, ... n-ths (see `AverageConfig`).
    """
    count = len(chosen)
    if count == 1 or average is None or select is None or average.accumulator == "correct":
        return [1 / count] * count
    by_rank = [epoch for epoch in ranked(history, select) if epoch in chosen]
    shares = dict(zip(by_rank, [0.0, 2 / count, *[1 / count] * (count - 2)], strict=True))
    return [shares[epoch] for epoch in chosen]


def _latest_first(history: tuple[EpochResult, ...]) -> list[int]:
    return [result.epoch for result in reversed(history)]


@dataclass(frozen=True)
class Kept:
    """What a checkpoint has beside weights and optimiser: the progress, the loss scaler's state, and the task's."""

    progress: Progress
    scaler: Mapping[str, Any] = field(default_factory=dict)
    task: TaskState = field(default_factory=lambda: TaskState({}))


class CheckpointFolder:
    """`checkpoint.safetensors`, and the weights of the epochs that may become the result."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last = folder / "checkpoint.safetensors"

    def save(self, model: nn.Module, optimiser: torch.optim.Optimizer, rest: Kept) -> None:
        """Replace the checkpoint."""
        tensors, numbers = split_optimiser(optimiser)
        tensors |= {f"model/{name}": value for name, value in trained_state(model).items()}
        tensors |= {f"task/{name}": value for name, value in rest.task.tensors.items()}
        note = {"format": FORMAT, "progress": asdict(rest.progress), "optimiser": numbers, "scaler": dict(rest.scaler)}
        write_tensors(self.last, tensors, note | ({"task": rest.task.note} if rest.task.note else {}))

    def load(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> Kept:
        """Put weights and optimiser back; gives the rest. Raises `ModelError`."""
        tensors, note = read_tensors(self.last)
        if not isinstance(note, dict) or note.get("format") != FORMAT:
            raise ModelError(
                "is not a checkpoint of this version", where=self.last, fix="Train anew in another folder."
            )
        load_trained_state(model, _under("model/", tensors), where=self.last)
        join_optimiser(optimiser, tensors, note["optimiser"])
        task = TaskState(_under("task/", tensors), note.get("task", {}))
        return Kept(_progress(note["progress"]), note["scaler"], task)

    def clear_torn(self) -> None:
        """Remove what writers left that were killed."""
        for part in self.folder.glob(".*.part"):
            with contextlib.suppress(OSError):
                part.unlink()

    def epoch_file(self, epoch: int) -> Path:
        """Where an epoch's weights lie."""
        return self.folder / f"epoch-{epoch:04d}.safetensors"

    def keep_epoch(self, model: nn.Module, epoch: int) -> None:
        """Keep the weights as they are after this epoch."""
        write_tensors(self.epoch_file(epoch), trained_state(model))

    def prune(self, kept: list[int]) -> None:
        """Remove the weights of all other epochs; to be called once the checkpoint no longer needs them."""
        for file in self.folder.glob("epoch-*.safetensors"):
            found = re.fullmatch(r"epoch-(\d+)\.safetensors", file.name)
            if found and int(found[1]) not in kept:
                file.unlink()


def split_optimiser(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimiser's state as named tensors, and its plain numbers by the same names. Settings are the recipe's."""
    flat = {
        f"optimiser/{index}/{name}": value
        for index, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
    }
    tensors = {name: value for name, value in flat.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in flat.items() if not isinstance(value, Tensor)}


def join_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Put back what `split_optimiser` gave."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **numbers}.items():
        if name.startswith("optimiser/"):
            _, index, key = name.split("/", 2)
            state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _progress(data: dict[str, Any]) -> Progress:
    return Progress(**{**data, "history": tuple(EpochResult(**result) for result in data["history"])})
