"""The training loop: epochs of optimiser steps on one or many devices, the best epoch by a dev metric, and exact
resume.

A run's randomness follows from (seed, step, process) and its data from (seed, epoch, place). So a run that was killed
at any point and resumed takes the same steps as one that was not, and ends with the same weights, bit for bit.

    fit -> (train one epoch -> close it: judge on dev, keep weights, checkpoint) until done -> choose or average weights
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn

from earwitness.core.config import nearest
from earwitness.core.errors import DataError, RecipeError
from earwitness.core.hashing import sha256_text
from earwitness.corpora.batch import Batch
from earwitness.nn.layers.frozen import keep_frozen_in_eval
from earwitness.training.aligned_gradients import Aligner, Joined
from earwitness.training.averaging import average_states
from earwitness.training.checkpoint import (
    CheckpointFolder,
    EpochResult,
    Kept,
    Progress,
    chosen_epochs,
    epoch_shares,
    ranked,
)
from earwitness.training.processes import (
    batch_shares,
    launched,
    mean_over_processes,
    own_places,
    released,
    step_places,
)
from earwitness.training.recipe import Recipe
from earwitness.training.resuming import claim_folder
from earwitness.training.runlog import Bar, Event, JsonLines, Listener, TensorBoard
from earwitness.training.schedules import RunLength, Schedule
from earwitness.training.task import Losses, Metrics, Noted, Paced, Parted, Stateful, Task, TaskState, TrainData
from earwitness.training.tensors import load_trained_state, read_tensors


@dataclass(frozen=True)
class FitResult:
    """A finished run. The model that was given holds the weights of `epochs` (from 0; more than one: their average).

    `metrics` are those of these very weights on dev; empty without dev data.
    """

    folder: Path
    steps: int
    epochs: tuple[int, ...]
    metrics: dict[str, float]
    history: tuple[EpochResult, ...]


def fit(
    model: nn.Module,
    task: Task,
    train: TrainData,
    dev: Iterable[Batch] | None,
    recipe: Recipe,
    out_dir: str | Path,
    *,
    resume: bool = False,
) -> FitResult:
    """Train `model` as the recipe says; `out_dir` gets `log.jsonl`, `recipe.json` and the checkpoints.

    `dev` is gone through once an epoch, so it must be iterable again and again. All parts with parameters that learn
    belong to `model`, also those of the loss, but for what a `Stateful` task learns by itself. With `resume` an
    interrupted run goes on where its last checkpoint was; where there is none it starts; a finished one is only read
    again.

    Raises `UsageError` where `out_dir` holds a run and `resume` is off, `RecipeError` for a recipe that does not fit
    the run that is resumed or a metric that the task does not give, or when the loss is no longer finite, and
    `DataError` for empty training data.
    """
    with _deterministic(), _Run(model, task, train, dev, recipe, Path(out_dir), resume) as run:
        while not _done(run):
            _train_epoch(run)
            _close_epoch(run)
        return _finish(run)


class _Run:
    """All that a run holds together; its only changing part is `progress` (beside the weights and the optimiser)."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        train: TrainData,
        dev: Iterable[Batch] | None,
        recipe: Recipe,
        folder: Path,
        resume: bool,
    ) -> None:
        self.task, self.train, self.dev = task, train, dev
        self.recipe, self.config = recipe, recipe.loop
        self.files = CheckpointFolder(folder)
        if self.config.select is not None and dev is None:
            raise RecipeError(f"epochs are selected by '{self.config.select.metric}', but there is no dev data")
        self.fabric = launched(self.config)
        found = resume and self.files.last.exists()
        claim_folder(self.files, recipe, resume, first=self.fabric.is_global_zero)
        self.fabric.barrier()  # nobody writes before everybody has looked
        self.length = _length(recipe, train, self.fabric.world_size)
        self.schedule: Schedule = recipe.schedule.build(self.length)
        self.network = model  # as it was given; `model` is wrapped for devices and precision
        self.model: Any
        self.optimiser: Any
        learning = _learning(model)
        self.model, self.optimiser = self.fabric.setup(model, recipe.optimiser.build(learning))
        aligned = recipe.alignment
        self.aligner = None if aligned is None else Aligner(aligned, learning, self.fabric, recipe.seed)
        self.progress = self._restore() if found else Progress()
        self.listeners = self._listeners(folder) if self.fabric.is_global_zero else []
        if not found:
            self.checkpoint()  # the weights to start from are part of what a resumed run must have

    def _restore(self) -> Progress:
        kept = self.files.load(self.network, self.optimiser.optimizer)
        self.fabric.strategy.precision.load_state_dict(kept.scaler)
        if isinstance(self.task, Stateful):
            self.task.restore(kept.task, self.fabric.device)
        return kept.progress

    def _listeners(self, folder: Path) -> list[Listener]:
        self.log = JsonLines(folder / "log.jsonl", self.config.log_every, keep=self.progress.log_bytes)
        found: list[Listener] = [self.log]
        if self.config.tensorboard:
            found.append(TensorBoard(folder / "tensorboard", self.config.log_every, self.progress.step))
        return [*found, Bar(self.length.steps, self.progress.step)]

    def tell(self, event: Event) -> None:
        """Tell everyone who listens; nobody but the first process has listeners."""
        for listener in self.listeners:
            listener.hear(event)

    def checkpoint(self) -> None:
        """Replace the checkpoint by the present state; the first process writes for all."""
        if self.fabric.is_global_zero:
            self.progress = self.progress.logged(self.log.size())
            scaler = self.fabric.strategy.precision.state_dict()
            task = self.task.state() if isinstance(self.task, Stateful) else TaskState({})
            self.files.save(self.network, self.optimiser.optimizer, Kept(self.progress, scaler, task))

    def __enter__(self) -> _Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener in self.listeners:
            listener.close()


def _done(run: _Run) -> bool:
    """All epochs are through, or `early_stop` of them brought nothing better."""
    history, config = run.progress.history, run.config
    if len(history) >= config.epochs:
        return True
    if config.early_stop is None or config.select is None or not history:
        return False
    return len(history) - 1 - ranked(history, config.select)[0] >= config.early_stop


def _train_epoch(run: _Run) -> None:
    """The optimiser steps of an epoch that are not done yet."""
    run.model.train()
    keep_frozen_in_eval(run.network)
    for batches, own in _step_batches(run):
        lr = run.schedule(run.progress.step, run.progress.epoch)
        done = _step(run, batches, own, lr)
        run.progress = replace(run.progress.after_step(done.losses, done.notes), targets=done.targets)
        values = {"lr": lr, "loss": sum(done.losses.values()), **_under("loss", done.losses)}
        values |= _under("gradient", done.notes)
        run.tell(Event("step", run.progress.step, run.progress.epoch, values))
        every = run.config.checkpoint_every_steps
        if every is not None and run.progress.step % every == 0:
            run.checkpoint()


def _step_batches(run: _Run) -> Iterator[tuple[list[Batch], int]]:
    """The batches of each step that is left in this epoch, for this process, and how many of them count."""
    fabric, epoch = run.fabric, run.progress.epoch
    who = (run.train.count(epoch), run.config.accumulate, fabric.world_size, fabric.global_rank)
    left = list(zip(step_places(*who), own_places(*who), strict=True))[run.progress.steps_in_epoch :]
    batches = iter(run.train.load(epoch, [place for places, _ in left for place in places]))
    for places, own in left:
        yield [next(batches) for _ in places], own


def _step(run: _Run, batches: Sequence[Batch], own: int, lr: float) -> Joined:
    """One optimiser step on the utterance-weighted mean loss of its batches, by the gradient of the total loss or by
    the aligned gradients of its terms.
    """
    seed_run(run.recipe.seed, "step", run.progress.step, run.fabric.global_rank)
    if isinstance(run.task, Paced):
        run.task.set_progress(run.progress.step / run.length.steps_per_epoch)
    shares = batch_shares(run.fabric, batches, own)
    weighed = list(zip(batches, shares, strict=True))
    done = _gradients(run, weighed) if run.aligner is None else _aligned_gradients(run, run.aligner, weighed)
    done = replace(done, losses=mean_over_processes(run.fabric, done.losses))
    _require_finite(done.losses, run.progress.step)
    if run.config.clip_norm is not None:
        run.fabric.clip_gradients(run.model, run.optimiser, max_norm=run.config.clip_norm, error_if_nonfinite=False)
    for group in run.optimiser.param_groups:
        group["lr"] = lr * group["share"]
    if done.apply:
        run.optimiser.step()
    run.optimiser.zero_grad()
    return done


def _gradients(run: _Run, batches: Sequence[tuple[Batch, float]]) -> Joined:
    """One backward pass a batch, by its share."""
    sums: dict[str, float] = {}
    for number, (batch, share) in enumerate(batches, start=1):
        with run.fabric.no_backward_sync(run.model, enabled=number < len(batches)):
            with run.fabric.autocast():
                losses = run.task.loss(run.model, batch.to(run.fabric.device))
            run.fabric.backward(losses.total * share)
        for name, term in losses.terms.items():
            sums[name] = sums.get(name, 0.0) + float(term.detach()) * share
    return Joined(sums, notes={}, targets={})


def _aligned_gradients(run: _Run, aligner: Aligner, batches: Sequence[tuple[Batch, float]]) -> Joined:
    """The aligner averages each term's gradient over the processes itself, so nothing is synchronised on the way."""
    with run.fabric.no_backward_sync(run.model):
        return aligner.step(_passes(run, batches), run.progress.targets, run.progress.step)


def _passes(run: _Run, batches: Sequence[tuple[Batch, float]]) -> Iterator[Losses]:
    """The loss terms of every forward pass, by their batch's share of the utterances."""
    for batch, share in batches:
        here = batch.to(run.fabric.device)
        passes = run.task.parts(run.model, here) if isinstance(run.task, Parted) else _one_pass(run, here)
        while True:
            with run.fabric.autocast():
                losses = next(passes, None)
            if losses is None:
                break
            yield losses.times(share)


def _one_pass(run: _Run, batch: Batch) -> Iterator[Losses]:
    yield run.task.loss(run.model, batch)


def _close_epoch(run: _Run) -> None:
    """Judge the epoch on dev, keep its weights where they may become the result, and make a checkpoint."""
    notes = run.task.notes(run.network) if isinstance(run.task, Noted) else {}
    metrics = _judge(run)
    run.progress = run.progress.after_epoch(metrics)
    done = run.progress.history[-1]
    values = {"loss": sum(done.losses.values()), **_under("loss", done.losses)}
    values |= {**_under("gradient", done.gradients), **_under("note", notes), **_under("dev", metrics)}
    run.tell(Event("epoch", run.progress.step, done.epoch, values))
    chosen = chosen_epochs(run.progress.history, run.config.select, run.config.average)
    if run.fabric.is_global_zero and done.epoch in chosen:
        run.files.keep_epoch(run.network, done.epoch)
    run.checkpoint()
    if run.fabric.is_global_zero:
        run.files.prune(chosen)


def _judge(run: _Run) -> dict[str, float]:
    """Dev metrics of the present weights. Every process judges all of dev, and all go by the numbers of the first."""
    if run.dev is None:
        return {}
    seed_run(run.recipe.seed, "dev", run.progress.step)
    run.model.eval()
    with torch.no_grad(), run.fabric.autocast():
        found = run.task.evaluate(run.model, (batch.to(run.fabric.device) for batch in run.dev))
    metrics: Metrics = run.fabric.broadcast(found)
    select = run.config.select
    if select is not None and select.metric not in metrics.values:
        guess = nearest(select.metric, metrics.values)
        hint = f"Did you mean '{guess}'?" if guess else None
        raise RecipeError(
            f"loop.select.metric: the task gives {', '.join(metrics.values)}, not '{select.metric}'", fix=hint
        )
    return metrics.values


def _finish(run: _Run) -> FitResult:
    """Put the chosen epoch's weights, or the average of several, into the model."""
    run.fabric.barrier()
    history = run.progress.history
    chosen = chosen_epochs(history, run.config.select, run.config.average)
    states = (read_tensors(run.files.epoch_file(epoch))[0] for epoch in chosen)
    shares = epoch_shares(chosen, history, run.config.select, run.config.average)
    load_trained_state(run.network, average_states(states, shares), where=run.files.folder)
    metrics = history[chosen[0]].metrics if len(chosen) == 1 else _judge(run)
    run.network.eval()
    run.tell(Event("result", run.progress.step, chosen[-1], _under("dev", metrics)))
    released(run.fabric)
    return FitResult(run.files.folder, run.progress.step, tuple(chosen), metrics, history)


def seed_run(seed: int, *place: object) -> None:
    """Seed torch, numpy and Python for one place of a run, e.g. `seed_run(recipe.seed, "init")` before a network is
    built.
    """
    from lightning_fabric import seed_everything

    key = sha256_text("/".join(str(part) for part in (seed, *place)))
    seed_everything(int(key[:8], 16), verbose=False)


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """Deterministic algorithms where torch has them (it warns where not), and the caller's choice again afterwards."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may differ from run to run
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark


def _length(recipe: Recipe, train: TrainData, processes: int) -> RunLength:
    """How long the run will be, by the batches of the first epoch."""
    batches = train.count(0)
    if batches == 0:
        raise DataError(
            "there are no training batches", fix="Check the recipe's data, its split and its excluded licences."
        )
    loop = recipe.loop
    utterances = loop.batch_size * loop.accumulate * processes
    steps = math.ceil(batches / (loop.accumulate * processes))
    return RunLength(recipe.optimiser.lr, loop.epochs, steps, utterances)


def _learning(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    found = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not found:
        raise RecipeError("the network has no parameter that learns", fix="Unfreeze a part of it.")
    return found


def _under(group: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in values.items()}


def _require_finite(losses: dict[str, float], step: int) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise RecipeError(
                f"the loss term '{name}' is {value} at step {step + 1}",
                fix="Lower the learning rate, clip gradients, or use 32-bit precision; the last checkpoint is good.",
            )
