"""Rank-N-Contrast (arXiv 2210.01189): of all items at least as far in label, the one in question is the nearest.

    L = -1/(n (n - 1)) sum_i sum_{j != i} log [ exp(sim_ij / t) / sum_{k != i, d_ik >= d_ij} exp(sim_ik / t) ]

sim is the negative L2 distance of embeddings as they are, not normalised. Published in two stages: the encoder by this
alone, then a linear regressor (L1) on the frozen encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from earwitness.nn.losses.contrast import Contrasted, RegressionContrast, RegressionContrastConfigBase


class RncConfig(RegressionContrastConfigBase):
    """`t` is the temperature."""

    kind: Literal["rnc"] = "rnc"
    t: float = Field(2.0, gt=0)

    def build(self, labels: Sequence[float] | Tensor) -> RankNContrast:
        """Nothing is taken from the labels."""
        return RankNContrast(self.t)


class RankNContrast(RegressionContrast):
    """Over all n views of a batch, in n^2 log n."""

    def __init__(self, t: float) -> None:
        super().__init__()
        self.t = t

    def contrast(self, batch: Contrasted) -> Tensor:
        """Scalar; 0 for a single item."""
        n = len(batch.labels)
        if n < 2:
            return batch.embeddings.sum() * 0
        apart = torch.linalg.vector_norm(batch.embeddings[:, None] - batch.embeddings[None], dim=2)
        others = ~torch.eye(n, dtype=torch.bool, device=apart.device)
        logits, distances = ((x[others].view(n, n - 1)) for x in (-apart / self.t, batch.distances))
        furthest, order = distances.neg().sort(dim=1, stable=True)
        so_far = logits.gather(1, order).logcumsumexp(1)
        last = torch.searchsorted(furthest, furthest, right=True) - 1  # of those equally far
        return (so_far.gather(1, last) - logits.gather(1, order)).mean()
