"""How a detector is trained and judged: two logits, index 1 = bona fide; the score is their difference."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from earwitness.core.errors import DataError
from earwitness.corpora.batch import Batch
from earwitness.metrics.detection import eer
from earwitness.training.task import Losses, Metrics


def bona_fide_score(logits: Tensor) -> Tensor:
    """[B, 2] logits to [B] scores, bona fide minus spoof: higher = bona fide, 0 is the network's own even point."""
    return logits[:, 1] - logits[:, 0]


class DetectionTask:
    """Classification of utterances as bona fide (1) or spoof (0)."""

    def __init__(self, loss: nn.Module) -> None:
        self.criterion = loss

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """One term, named `classification`. Raises `DataError` for a batch without labels."""
        if batch.targets.label is None or bool((batch.targets.label < 0).any()):
            raise DataError(
                "a detector is trained on labelled rows only", fix="Give every row label bonafide or spoof."
            )
        logits = model(batch.waveforms, batch.lengths)
        return Losses({"classification": self.criterion(logits, batch.targets.label)})

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """EER (interpolated) and mean loss over the dev windows."""
        scores, labels, losses = [], [], []
        for batch in batches:
            logits = model(batch.waveforms, batch.lengths)
            assert batch.targets.label is not None
            losses.append(float(self.criterion(logits, batch.targets.label)) * len(batch.ids))
            scores.append(bona_fide_score(logits).cpu())
            labels.append(batch.targets.label.cpu())
        score, label = torch.cat(scores).double().numpy(), torch.cat(labels).numpy()
        return Metrics({"eer": eer(score[label == 1], score[label == 0]).value, "loss": sum(losses) / len(label)})
