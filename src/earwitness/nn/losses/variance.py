"""A variance is held to the error that it should predict: the stochastic variance loss of xi+ (arXiv 2509.05993).

What an embedding's uncertainty ought to be is taken from the distance to its class's centroid:

    || alpha sqrt(v) - |e - c_y| ||^2        summed over the embedding's values as described, or their mean as released

Centroids are the mean embeddings of the classes: of a whole pass over the training data after each epoch (as released),
or a moving average of what training itself embeds (ours, cheaper). The loss as written in the paper's body is known
through a digest; its weight over the epochs is that of the released code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.core.config import Config

VARIANCE_FLOOR = 1e-12  # under the root, for its gradient
MOVING = 0.99  # of a moving centroid stays at each step


class VarianceLossConfig(Config):
    """`alpha` scales the deviation. `reduction` over the D values of an embedding: their `sum`, or their `mean`, which
    weighs D times less. With `detach_target` the loss moves the variance alone, not the embedding.

    The weight of epoch `ep`, counted from 1, is 0 before `first_epoch`, then rises by the epoch to `weight` at
    `full_epoch` (0.02, 0.03 ... 0.5 as released), and stays.
    """

    alpha: float = Field(1.0, gt=0)
    reduction: Literal["sum", "mean"] = "mean"
    detach_target: bool = False
    weight: float = Field(0.5, gt=0)
    first_epoch: int = Field(52, ge=2)  # the epoch before it makes the first centroids
    full_epoch: int = Field(100, ge=2)
    centroids: Literal["pass", "moving"] = "pass"

    @model_validator(mode="after")
    def _rises(self) -> VarianceLossConfig:
        if self.full_epoch < self.first_epoch:
            raise ValueError("full_epoch does not lie before first_epoch")
        return self

    def weight_at(self, epoch: int) -> float:
        """lambda of an epoch, counted from 1.

        >>> [VarianceLossConfig().weight_at(epoch) for epoch in (51, 52, 75, 99, 100)]
        [0.0, 0.02, 0.25, 0.49, 0.5]
        """
        if epoch < self.first_epoch:
            return 0.0
        start = self.first_epoch - 2
        return self.weight * min(1.0, (epoch - start) / (self.full_epoch - start))


def variance_loss(variance: Tensor, error: Tensor, config: VarianceLossConfig) -> Tensor:
    """Variances [B, D] and errors e - c [B, D] -> the loss of each item, [B]."""
    target = error.detach() if config.detach_target else error
    squares = (config.alpha * variance.clamp_min(VARIANCE_FLOOR).sqrt() - target.abs()).square()
    return squares.sum(1) if config.reduction == "sum" else squares.mean(1)


class ClassCentroids(nn.Module):
    """The mean embedding of each class; part of what a checkpoint keeps, so that a resumed run has the same.

    `weight` [C, D]; `known` [C], which classes have one yet; `epochs`, how many have ended.
    """

    weight: Tensor
    known: Tensor
    epochs: Tensor

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(classes, dim))
        self.register_buffer("known", torch.zeros(classes, dtype=torch.bool))
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))

    def errors(self, embeddings: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Of embeddings [B, D] of `classes` [B]: e - c [B, D], and which of them have a centroid, bool [B]."""
        return embeddings - self.weight[classes], self.known[classes]

    @torch.no_grad()
    def move(self, embeddings: Tensor, classes: Tensor) -> None:
        """One step of the moving average, towards the mean of a class's embeddings [B, D]; its first is this mean."""
        sums, counts = _sums(embeddings, classes, self.weight)
        here = counts > 0
        means = sums[here] / counts[here].unsqueeze(1)
        moved = MOVING * self.weight[here] + (1 - MOVING) * means
        self.weight[here] = torch.where(self.known[here].unsqueeze(1), moved, means).to(self.weight.dtype)
        self.known |= here

    @torch.no_grad()
    def replace(self, embedded: Iterable[tuple[Tensor, Tensor]]) -> None:
        """The means of embeddings [B, D] with their classes [B]; a class without any has no centroid from now on."""
        total = torch.zeros_like(self.weight, dtype=torch.float64)
        count = torch.zeros(len(self.weight), dtype=torch.float64, device=self.weight.device)
        for embeddings, classes in embedded:
            sums, counts = _sums(embeddings, classes, self.weight)
            total, count = total + sums, count + counts
        self.weight.copy_(total / count.clamp_min(1).unsqueeze(1))
        self.known.copy_(count > 0)


def _sums(embeddings: Tensor, classes: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Sum [C, D] and number [C] of the embeddings of each class, in double precision."""
    sums = torch.zeros_like(like, dtype=torch.float64).index_add_(0, classes, embeddings.double())
    ones = torch.ones(len(classes), dtype=torch.float64, device=like.device)
    return sums, torch.zeros(len(like), dtype=torch.float64, device=like.device).index_add_(0, classes, ones)
