"""How one-class detectors are trained: the losses of `deepfake.one_class` over batches, and what they say an epoch.

An epoch's notes: `centroid_cosine`, the largest cosine between two centroids; of QAMO also how many bona fide
utterances stood at the highest level, and how many below it by the row's own quality, by augmentation, or by draw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from earwitness.core.errors import DataError, RecipeError
from earwitness.corpora.batch import PATHS, Batch
from earwitness.corpora.quality import QualityLevels
from earwitness.deepfake.one_class import (
    OcSoftmaxConfig,
    OneClassConfig,
    QamoConfig,
    SamoConfig,
    one_class_loss,
    one_class_terms,
    quality_loss,
)
from earwitness.deepfake.scores import dev_metrics, labels_of
from earwitness.training.task import Losses, Metrics

Terms = dict[str, Tensor]


class OneClassTask:
    """OC-Softmax, and what the others share. The model is a `Network` with centroids."""

    def __init__(self, config: OneClassConfig) -> None:
        self.config = config

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """`one_class` and further terms; of a batch of two paths `clean` and `augmented`, half of all terms of either.

        Raises `DataError` for a batch without labels, or without what bona fide items are assigned by.
        """
        bona_fide = labels_of(batch) == 1
        own = self.own(batch, bona_fide)
        similarities = model(batch.waveforms, batch.lengths, give="similarities")
        paths = batch.paths
        if paths == 1:
            return Losses(self.terms(similarities, bona_fide, own))
        parts = zip(PATHS, similarities.chunk(2), bona_fide.chunk(2), own.chunk(2), strict=True)
        return Losses({name: _sum(self.terms(*part)) / 2 for name, *part in parts})

    def own(self, batch: Batch, bona_fide: Tensor) -> Tensor:
        """The centroid of each bona fide item, int64 [B]."""
        return torch.zeros_like(bona_fide, dtype=torch.int64)

    def terms(self, similarities: Tensor, bona_fide: Tensor, own: Tensor) -> Terms:
        """The weighted terms of one path."""
        return {"one_class": one_class_loss(self.config, similarities, bona_fide, own)}

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """EER (interpolated), and the mean one-class loss with the nearest centroid for all. Raises `DataError` where
        dev holds one class only."""
        scores, labels, losses = [], [], []
        centroids: Any = model.centroids()  # type: ignore[operator]
        for batch in batches:
            label = labels_of(batch)
            similarities = model(batch.waveforms, batch.lengths, give="similarities")
            own = similarities.argmax(1)  # dev rows have no level: scoring by `own` is judged by the nearest
            losses.append(one_class_terms(self.config, similarities, label == 1))
            scores.append(centroids.score(similarities, own))
            labels.append(label)
        loss = float(torch.cat(losses).double().mean()) if losses else float("nan")
        return dev_metrics(scores, labels, loss)

    def notes(self, model: nn.Module) -> dict[str, float]:
        """Of the epoch that ends; counters begin anew."""
        centroids: Any = model.centroids()  # type: ignore[operator]
        return {"centroid_cosine": centroids.cosine()} if len(centroids.weight) > 1 else {}


class QamoTask(OneClassTask):
    """Bona fide items go to the centroid of their quality level, and a term tells the levels apart."""

    config: QamoConfig

    def __init__(self, config: QamoConfig, levels: QualityLevels) -> None:
        super().__init__(config)
        self.levels = levels
        self._audit: Counter[str] = Counter()

    def own(self, batch: Batch, bona_fide: Tensor) -> Tensor:
        """Quality levels; in the augmented path one lower, as an augmented item of a single path is."""
        level = batch.targets.quality
        if level is None or bool((level[bona_fide] < 0).any()):
            row = "" if level is None else batch.ids[int((bona_fide & (level < 0)).nonzero()[0]) % len(batch.ids)]
            raise DataError("has no quality level", where=row or None, fix="Every bona fide row needs one for QAMO.")
        if batch.paths == 2 and self.levels.lowered:
            half = len(level) // 2
            level = torch.cat([level[:half], (level[half:] - 1).clamp_min(0)])
        self._count(batch.ids, level, bona_fide)
        return level

    def terms(self, similarities: Tensor, bona_fide: Tensor, own: Tensor) -> Terms:
        """`one_class`, and `quality` where it has a weight."""
        assigned = own if self.config.assignment == "own" else None
        found = {"one_class": one_class_loss(self.config, similarities, bona_fide, assigned)}
        if self.config.weight:
            found["quality"] = self.config.weight * quality_loss(self.config, similarities, bona_fide, own)
        return found

    def _count(self, ids: tuple[str, ...], levels: Tensor, bona_fide: Tensor) -> None:
        top = self.levels.count - 1
        for place, (level, real) in enumerate(zip(levels.tolist(), bona_fide.tolist(), strict=True)):
            if real:
                self._audit[self._cause(ids[place % len(ids)], level == top)] += 1

    def _cause(self, row: str, high: bool) -> str:
        if high:
            return "high"
        if self.levels.shares:
            return "low_by_draw"
        return "low_by_quality" if self.levels.rows[row] < self.levels.count - 1 else "low_by_augmentation"

    def notes(self, model: nn.Module) -> dict[str, float]:
        """The label audit of the utterances since the last notes (after a resume within an epoch: of its rest)."""
        low = "low_by_draw" if self.levels.shares else "low_by_quality"
        names = ("high", low, *(("low_by_augmentation",) if self.levels.lowered else ()))
        audit = {f"bona_fide_{name}": float(self._audit[name]) for name in names}
        self._audit.clear()
        return {**super().notes(model), **audit}


class SamoTask(OneClassTask):
    """Bona fide items go to their speaker's centroid: the mean embedding of that speaker's bona fide utterances.

    `enrolment` are batches of all of them, with `targets.speaker`, gone through each time; the count of epochs is a
    buffer of the centroids, so that a resumed run computes them at the same places.
    """

    config: SamoConfig

    def __init__(self, config: SamoConfig, enrolment: Iterable[Batch]) -> None:
        super().__init__(config)
        self.enrolment = enrolment

    def own(self, batch: Batch, bona_fide: Tensor) -> Tensor:
        """Speaker classes."""
        speaker = batch.targets.speaker
        if speaker is None or bool((speaker[bona_fide] < 0).any()):
            raise DataError("SAMO learns from bona fide rows with a speaker only", fix="Give every such row a speaker.")
        return speaker

    @torch.no_grad()
    def notes(self, model: nn.Module) -> dict[str, float]:
        """Ends the epoch: where it is one of every few, the centroids move to where the speakers are now."""
        centroids: Any = model.centroids()  # type: ignore[operator]
        centroids.epochs += 1
        if int(centroids.epochs) % self.config.every == 0:
            model.eval()
            centroids.weight.copy_(self._means(model, centroids.weight))
        return super().notes(model)

    def _means(self, model: nn.Module, weight: Tensor) -> Tensor:
        """Mean embedding of every speaker [Q, D]."""
        sums = torch.zeros(weight.shape, dtype=torch.float64, device=weight.device)
        counts = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
        for batch in (batch.to(weight.device) for batch in self.enrolment):
            speaker = self.own(batch, labels_of(batch) == 1)
            sums.index_add_(0, speaker, model(batch.waveforms, batch.lengths, give="embedding").double())
            counts.index_add_(0, speaker, torch.ones_like(speaker, dtype=torch.float64))
        if bool((counts == 0).any()):
            raise RecipeError(
                f"{len(weight)} centroids, but {int((counts > 0).sum())} bona fide speakers to place them"
            )
        return (sums / counts.unsqueeze(1)).to(weight.dtype)


def one_class_task(
    config: OcSoftmaxConfig | SamoConfig | QamoConfig, levels: QualityLevels | None, enrolment: Iterable[Batch] | None
) -> OneClassTask:
    """The task of a loss. Raises `RecipeError` where what it needs was not handed in."""
    if isinstance(config, QamoConfig):
        if levels is None:
            raise RecipeError("qamo needs the quality levels of its training rows")
        return QamoTask(config, levels)
    if isinstance(config, SamoConfig):
        if enrolment is None:
            raise RecipeError("samo needs the bona fide rows of its training speakers")
        return SamoTask(config, enrolment)
    return OneClassTask(config)


def _sum(terms: Terms) -> Tensor:
    return torch.stack(list(terms.values())).sum()
