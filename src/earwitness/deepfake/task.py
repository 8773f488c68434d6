"""How a detector is trained and judged: two logits, index 1 = bona fide; the score is their difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from earwitness.corpora.batch import PATHS, Batch
from earwitness.corpora.quality import QualityLevels
from earwitness.deepfake.latent_entropy import LatentEntropyLossConfig, LatentEntropyTask
from earwitness.deepfake.one_class import OneClassLoss
from earwitness.deepfake.one_class_tasks import one_class_task
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.scores import bona_fide_score as bona_fide_score
from earwitness.deepfake.scores import dev_metrics, labels_of
from earwitness.training.task import Losses, Metrics, Task, by_path


class DetectionTask:
    """Classification of utterances as bona fide (1) or spoof (0).

    A batch of two paths (arXiv 2509.20682) gives the losses of both. With a `joint` forward both go through the network
    together, so that batch norm hears the mixture; with `separate` ones each goes alone, which costs one path's memory
    only. The two are the same for a network in which no item of a batch sees another, but for dropout.
    """

    def __init__(self, loss: nn.Module, forward: Literal["joint", "separate"] = "joint") -> None:
        self.criterion = loss
        self._separate = forward == "separate"

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """One term, `classification`; of two paths `clean` and `augmented`, each its path's loss times 1/2.

        Raises `DataError` for a batch without labels.
        """
        return Losses({name: term for part in self.parts(model, batch) for name, term in part.terms.items()})

    def parts(self, model: nn.Module, batch: Batch) -> Iterator[Losses]:
        """The same terms, one forward pass after the other."""
        labels_of(batch)
        if self._separate and batch.paths > 1:
            for name, path in zip(PATHS, batch.each_path(), strict=True):
                logits = model(path.waveforms, path.lengths)
                yield Losses({name: self._criterion(logits, path) / batch.paths})
        else:
            yield by_path(batch, model(batch.waveforms, batch.lengths), self._criterion, "classification")

    def _criterion(self, logits: Tensor, batch: Batch) -> Tensor:
        loss: Tensor = self.criterion(logits, labels_of(batch))
        return loss

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """EER (interpolated) and mean loss over the dev windows. Raises `DataError` where dev holds one class only."""
        scores, labels, losses = [], [], []
        for batch in batches:
            label = labels_of(batch)
            logits = model(batch.waveforms, batch.lengths)
            losses.append(float(self.criterion(logits, label)) * len(batch.ids))
            scores.append(bona_fide_score(logits))
            labels.append(label)
        return dev_metrics(scores, labels, sum(losses) / max(1, sum(map(len, labels))))


@dataclass(frozen=True)
class LossMaterial:
    """What some tasks need beside batches: quality levels of the training rows (QAMO), the bona fide utterances of the
    training speakers (SAMO)."""

    levels: QualityLevels | None = None
    enrolment: Iterable[Batch] | None = None


def task_of(recipe: DetectionRecipe, material: LossMaterial = LossMaterial()) -> Task:
    """The task of a recipe's loss. Raises `RecipeError` where its material is missing."""
    if isinstance(recipe.loss, OneClassLoss):
        return one_class_task(recipe.loss, material.levels, material.enrolment)
    classification = DetectionTask(recipe.loss.build(recipe.network.outputs or 0, 2), recipe.forward)
    if isinstance(recipe.loss, LatentEntropyLossConfig):
        return LatentEntropyTask(classification, recipe.loss, recipe.loop.epochs)
    return classification
