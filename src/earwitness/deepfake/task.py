"""How a detector is trained and judged: two logits, index 1 = bona fide; the score is their difference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from earwitness.corpora.batch import Batch
from earwitness.corpora.quality import QualityLevels
from earwitness.deepfake.latent_entropy import LatentEntropyLossConfig, LatentEntropyTask
from earwitness.deepfake.one_class import OneClassLoss
from earwitness.deepfake.one_class_tasks import one_class_task
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.scores import bona_fide_score as bona_fide_score
from earwitness.deepfake.scores import dev_metrics, labels_of
from earwitness.training.task import Losses, Metrics, Task


class DetectionTask:
    """Classification of utterances as bona fide (1) or spoof (0)."""

    def __init__(self, loss: nn.Module) -> None:
        self.criterion = loss

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """One term, named `classification`. Raises `DataError` for a batch without labels."""
        label = labels_of(batch)
        return Losses({"classification": self.criterion(model(batch.waveforms, batch.lengths), label)})

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
class Material:
    """What some tasks need beside batches: quality levels of the training rows (QAMO), the bona fide utterances of the
    training speakers (SAMO)."""

    levels: QualityLevels | None = None
    enrolment: Iterable[Batch] | None = None


def task_of(recipe: DetectionRecipe, material: Material = Material()) -> Task:
    """The task of a recipe's loss. Raises `RecipeError` where its material is missing."""
    if isinstance(recipe.loss, OneClassLoss):
        return one_class_task(recipe.loss, material.levels, material.enrolment)
    classification = DetectionTask(recipe.loss.build(recipe.network.outputs or 0, 2))
    if isinstance(recipe.loss, LatentEntropyLossConfig):
        return LatentEntropyTask(classification, recipe.loss, recipe.loop.epochs)
    return classification
