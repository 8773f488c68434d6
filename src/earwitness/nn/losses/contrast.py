"""What contrasts for regression share: embeddings of a batch are pulled together or pushed apart by how far apart
their labels are. A term beside the regression's own loss; in most of them a softmax over the cosines of the others:

    L_i = -1/|P(i)| sum over p in P(i) of log [ exp(pull_ip) / sum over k in A(i) of exp(logit_ik) ]

with positives P and all that are compared A (supervised contrast, arXiv 2004.11362). Views of an utterance are rows of
their own, with its label repeated. All is computed in 32 bits at least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.nn.frontends.base import full_precision


@dataclass(frozen=True)
class Contrasted:
    """A batch: `embeddings` [n, D] as the regressor reads them, `labels` [n], and where a contrast asks for them the
    regressor's `predictions` [n] (no gradient is taken of them) and `weights` [n] of the items."""

    embeddings: Tensor
    labels: Tensor
    predictions: Tensor | None = None
    weights: Tensor | None = None

    @classmethod
    def of_views(cls, embeddings: Tensor, labels: Tensor) -> Contrasted:
        """[B, V, D] and [B] or [B, 1] -> rows, all views of the first item first."""
        views = embeddings.shape[1]
        return cls(embeddings.flatten(0, 1), labels.reshape(-1).repeat_interleave(views))

    @property
    def cosines(self) -> Tensor:
        """Of all pairs, [n, n], within [-1, 1]."""
        unit = F.normalize(self.embeddings, dim=1)
        return (unit @ unit.T).clamp(-1, 1)

    @property
    def distances(self) -> Tensor:
        """|y_i - y_j|, [n, n]."""
        return (self.labels[:, None] - self.labels[None]).abs()


class RegressionContrast(nn.Module):
    """A scalar to minimise beside a regression's own loss."""

    def forward(self, batch: Contrasted) -> Tensor:
        """Raises `DataError` for labels that are not finite or too few, and where what it needs is not there."""
        for name in ("labels", "predictions", "weights"):
            values = getattr(batch, name)
            if values is not None and (values.shape != batch.embeddings.shape[:1] or not bool(values.isfinite().all())):
                raise DataError(f"{name} are not finite, or not one an embedding", where="contrast")
        with full_precision(batch.embeddings.device.type):
            kind = torch.promote_types(batch.embeddings.dtype, torch.float32)
            rest = (None if x is None else x.detach().to(kind) for x in (batch.predictions, batch.weights))
            return self.contrast(Contrasted(batch.embeddings.to(kind), batch.labels.to(kind), *rest))

    def contrast(self, batch: Contrasted) -> Tensor:
        """The same of a checked batch."""
        raise NotImplementedError


class RegressionContrastConfigBase(Config):
    """`weight`: times the term where it is added to the regression's loss."""

    weight: float = Field(1.0, gt=0)

    def build(self, labels: Sequence[float] | Tensor) -> RegressionContrast:
        """`labels` of the training rows [N] say what a batch cannot: their span, and how many lie between two.

        Raises `RecipeError` where they don't fit the configuration.
        """
        raise NotImplementedError


def bins_of(labels: Tensor, width: float) -> Tensor:
    """int64 [n]: labels in units of `width`, rounded: 1 for whole years, 0.1 as the release does for scores."""
    return (labels / width).round().long()


def same_bin(labels: Tensor, width: float) -> Tensor:
    """Whether two labels are of one bin, bool [n, n]; true of an item with itself."""
    bins = bins_of(labels, width)
    return bins[:, None] == bins[None]


def itself(batch: Contrasted) -> Tensor:
    """The diagonal, bool [n, n]."""
    return torch.eye(len(batch.labels), dtype=torch.bool, device=batch.labels.device)


@dataclass(frozen=True)
class Anchors:
    """Of the m anchors that have a positive: their `loss` [m], how many `positives` [m], and their `rows` [m]."""

    loss: Tensor
    positives: Tensor
    rows: Tensor

    def mean(self, nothing: Tensor, by_pair: bool = False) -> Tensor:
        """The mean over anchors, or over all positive pairs; where there is no anchor, 0 with a gradient of 0 in
        `nothing`."""
        if not len(self.rows):
            return nothing.sum() * 0
        if by_pair:
            return (self.loss * self.positives).sum() / self.positives.sum()
        return self.loss.mean()


def anchored(pull: Tensor, logits: Tensor, positives: Tensor, compared: Tensor) -> Anchors:
    """L_i as above, of `pull` and `logits` float [n, n] with `positives` and `compared` bool [n, n]."""
    rows = torch.nonzero(positives.any(1)).squeeze(1)
    pull, logits, positives, compared = (x[rows] for x in (pull, logits, positives, compared))
    count = positives.sum(1)
    attraction = torch.where(positives, pull, 0.0).sum(1) / count.clamp_min(1)
    return Anchors(logits.masked_fill(~compared, -torch.inf).logsumexp(1) - attraction, count, rows)
