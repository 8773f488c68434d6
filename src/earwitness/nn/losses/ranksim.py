"""RankSim (arXiv 2205.15236): neighbours in the order of labels are neighbours in the order of cosines.

Of m items, one a distinct label, for each i: the ranks of -|y_i - y_j| and those of cos(h_i, h_j) over j, descending,
divided by m (an item's own is 1 / m). Loss: the sum over i of the mean squared difference. A rank has no gradient; with
g from above it is taken as -(rank(s) - rank(s + lambda g)) / (lambda + 1e-8) (black-box differentiation, arXiv
1912.02175).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from earwitness.nn.losses.contrast import Contrasted, RegressionContrast, RegressionContrastConfigBase, bins_of


class RankSimConfig(RegressionContrastConfigBase):
    """`weight` is the published gamma (100 for AgeDB, 3e-4 for STS-B), `step` the lambda of the differentiation; labels
    of one bin of `bin_width` are one label."""

    kind: Literal["ranksim"] = "ranksim"
    weight: float = Field(100.0, gt=0)
    step: float = Field(2.0, gt=0)
    bin_width: float = Field(1.0, gt=0)

    def build(self, labels: Sequence[float] | Tensor) -> RankSim:
        """Nothing is taken from the labels."""
        return RankSim(self)


class RankSim(RegressionContrast):
    """Which item stands for its label is drawn from torch's generator at each call."""

    def __init__(self, config: RankSimConfig) -> None:
        super().__init__()
        self.config = config

    def contrast(self, batch: Contrasted) -> Tensor:
        """Scalar."""
        rows = one_a_label(bins_of(batch.labels, self.config.bin_width))
        chosen = Contrasted(batch.embeddings[rows], batch.labels[rows])
        wanted = descending_ranks(-chosen.distances)
        found: Tensor = _BlackBoxRanks.apply(chosen.cosines, self.config.step)  # type: ignore[no-untyped-call]
        return (found - wanted).square().mean(1).sum()


def one_a_label(bins: Tensor) -> Tensor:
    """The place of one random item of each bin, in the order of bins: int64 [n] -> [m]."""
    order = torch.randperm(len(bins)).to(bins.device)
    distinct, of = torch.unique(bins[order], return_inverse=True)
    places = torch.arange(len(bins), device=bins.device)
    first = torch.full_like(distinct, len(bins)).scatter_reduce(0, of, places, "amin")
    return order[first]


def descending_ranks(values: Tensor) -> Tensor:
    """Rank / m of each value [.., m] in its row, the largest 1 / m; equal ones in the order in which they stand."""
    order = values.argsort(dim=-1, descending=True, stable=True)
    return (order.argsort(dim=-1) + 1).to(values.dtype) / values.shape[-1]


class _BlackBoxRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, step: float) -> Tensor:
        ranks = descending_ranks(values)
        ctx.save_for_backward(values, ranks)
        ctx.step = step
        return ranks

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None]:
        values, ranks = ctx.saved_tensors
        moved = descending_ranks(values + ctx.step * above[0])
        return -(ranks - moved) / (ctx.step + 1e-8), None
