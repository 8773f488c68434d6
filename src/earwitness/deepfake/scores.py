"""What every detection task shares: the score of two logits, labels that must be there, and the dev metrics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from earwitness.core.errors import DataError
from earwitness.corpora.batch import Batch
from earwitness.corpora.manifest import Manifest
from earwitness.metrics.detection import eer
from earwitness.training.task import Metrics


def bona_fide_score(logits: Tensor) -> Tensor:
    """[B, 2] logits to [B] scores, bona fide minus spoof: higher = bona fide, 0 is the network's own even point. A
    single logit [B, 1] is the score itself."""
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def labels_of(batch: Batch) -> Tensor:
    """Labels int64 [B], 1 = bona fide. Raises `DataError` for a batch without, or with an unknown one."""
    label = batch.targets.label
    if label is None or bool((label < 0).any()):
        raise DataError("a detector is trained on labelled rows only", fix="Give every row label bonafide or spoof.")
    return label


def dev_metrics(scores: Sequence[Tensor], labels: Sequence[Tensor], loss: float) -> Metrics:
    """EER (interpolated) of batches of scores and labels [B], and the mean loss. Raises `DataError` for one class."""
    score, label = torch.cat(list(scores)).double().cpu().numpy(), torch.cat(list(labels)).cpu().numpy()
    for value, name in ((1, "bona fide"), (0, "spoof")):
        if not (label == value).any():
            raise DataError(f"dev holds no {name} recording, so it has no EER", fix="Change the recipe's split.")
    return Metrics({"eer": eer(score[label == 1], score[label == 0]).value, "loss": loss})


def require_both_classes(side: Manifest, name: str) -> None:
    """Raises `DataError` where a side holds one class only, before anything is trained on it."""
    for label, words in (("bonafide", "bona fide"), ("spoof", "spoof")):
        if not (side.table["label"] == label).any():
            raise DataError(f"the side '{name}' holds no {words} recording", fix="Change the recipe's split or data.")
