"""Any regression task with a contrast of its embeddings, weights for rare labels, or smoothed embeddings beside it.

    waveforms -> ... -> network.embedding -> u -> regressor          the projection u is read as it is
                                              u / |u| -> contrast    and contrasted by its direction

The projection is `network.embedding` of the recipe (`{dim: 256, batch_norm: false}`; ACCon, arXiv 2501.07045, has 512);
the regressor reads it unnormalised, since on a unit vector it could only read an angle. Nothing of this is part of the
model that is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import RecipeError
from earwitness.corpora.batch import Batch
from earwitness.nn.losses import Contrasted, FeatureSmoothingConfig, LabelWeightingConfig, RegressionContrastConfig
from earwitness.nn.losses.label_distribution import ValueLoss
from earwitness.nn.network import Network
from earwitness.training.task import Losses, Metrics, Noted, Paced, Task, TaskState, TrainData


class RegularisersConfig(Config):
    """`contrast` of embeddings by label, `weighting` of items by how rare their label is, `smoothing` of embeddings in
    training. `views`: how often each utterance stands in a batch, cropped and perturbed anew; with 2 of them every item
    has a positive in a contrast."""

    contrast: RegressionContrastConfig | None = None
    weighting: LabelWeightingConfig | None = None
    smoothing: FeatureSmoothingConfig | None = None
    views: int = Field(1, ge=1, le=8)


@dataclass(frozen=True)
class Regression:
    """The parts of a regression task: the `network` whose embedding is contrasted, the `criterion` that the task gives
    outputs and labels, and the `labels` of a batch, [B]."""

    network: Network
    criterion: ValueLoss
    labels: Callable[[Batch], Tensor]


def regularised(
    config: RegularisersConfig, task: Task, parts: Regression, labels: Sequence[float], train: TrainData
) -> Task:
    """The task with what the configuration adds, or the task as it is; `labels` are those of the training rows.

    Raises `RecipeError` where the labels don't fit the configuration.
    """
    if config.contrast is None and config.weighting is None and config.smoothing is None:
        return task
    return RegularisedTask(config, task, parts, labels, train)


class RegularisedTask:
    """Another task's terms, and that of the contrast under its kind. Smoothed embeddings reach the classifier alone: a
    contrast sees them as they are."""

    def __init__(
        self, config: RegularisersConfig, task: Task, parts: Regression, labels: Sequence[float], train: TrainData
    ) -> None:
        self.config, self._task, self._parts, self._train = config, task, parts, train
        self._contrast = None if config.contrast is None else config.contrast.build(labels)
        self._weights = None if config.weighting is None else config.weighting.build(labels)
        self.smoothing = None if config.smoothing is None else config.smoothing.build(parts.network.dim)

    def set_progress(self, epochs: float) -> None:
        """Passed on."""
        if isinstance(self._task, Paced):
            self._task.set_progress(epochs)

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """Raises what the task raises, and `RecipeError` where it embeds other items than the batch's."""
        self._settle(batch.waveforms.device)
        labels = self._parts.labels(batch)
        weights = None if self._weights is None else self._weights(labels)
        outputs: list[Tensor] = []

        def overhear(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            outputs.append(args[0])
            return (*args[:2], weights)

        with ExitStack() as stack:
            stack.callback(self._parts.criterion.register_forward_pre_hook(overhear).remove)
            if self.smoothing is not None:
                smooth = self.smoothing.train()
                hook = self._parts.network.dropout.register_forward_pre_hook(lambda _, args: (smooth(args[0], labels),))
                stack.callback(hook.remove)
            heard = stack.enter_context(self._parts.network.listening())
            losses = self._task.loss(model, batch)
        if self._contrast is None or self.config.contrast is None:
            return losses
        embeddings = torch.cat([part.embedding for part in heard])
        if len(embeddings) != len(batch.ids) or len(outputs) != 1:
            raise RecipeError("contrast: this task does not embed each item of a batch once")
        with torch.no_grad():
            predictions = self._parts.criterion.mean(outputs[0])
        term = self._contrast(Contrasted(embeddings, labels, predictions, weights))
        return Losses({**losses.terms, self.config.contrast.kind: self.config.contrast.weight * term})

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """As the task does."""
        return self._task.evaluate(model, batches)

    def notes(self, model: nn.Module) -> dict[str, float]:
        """The task's own. Ends the epoch: what smoothing goes by is renewed by a pass over the training data."""
        own = self._task.notes(model) if isinstance(self._task, Noted) else {}
        if self.smoothing is None:
            return own
        model.eval()
        self.smoothing.renew(self._embedded(int(self.smoothing.epochs)))
        return {**own, "smoothed_bins": float(self.smoothing.known.sum())}

    def state(self) -> TaskState:
        """What smoothing goes by."""
        kept = {} if self.smoothing is None else self.smoothing.state_dict()
        return TaskState({name: value.detach().to("cpu", copy=True) for name, value in kept.items()})

    def restore(self, kept: TaskState, device: torch.device) -> None:
        """Put it back. Raises `RecipeError` where the run was started with other smoothing."""
        own = {} if self.smoothing is None else self.smoothing.state_dict()
        if {name: value.shape for name, value in kept.tensors.items()} != {name: v.shape for name, v in own.items()}:
            raise RecipeError("the run that lies here was started with other `smoothing`", fix="Use another folder.")
        if self.smoothing is not None:
            self.smoothing.load_state_dict(kept.tensors)
        self._settle(device)

    def _settle(self, device: torch.device) -> None:
        for part in (self._contrast, self._weights, self.smoothing):
            if part is not None:
                part.to(device)

    @torch.no_grad()
    def _embedded(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Embeddings and labels of every training batch of an epoch (from 0)."""
        device = next(self._parts.network.parameters()).device
        for batch in self._train.load(epoch, range(self._train.count(epoch))):
            here = batch.to(device)
            yield self._parts.network.embed(here.waveforms, here.lengths).mean, self._parts.labels(here)
