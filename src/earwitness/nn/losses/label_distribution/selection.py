"""Selective variance: which width of the label's distribution fits what the network says now (SVLDL, arXiv 2210.09524;
the selection is a reconstruction, the paper's equation was not available).

    s* = argmin over candidate widths s of KL(D_s(y) || p)

By KL, never by cross-entropy: the latter lacks the target's entropy, which depends on s, and so always takes the
narrowest candidate. And with s* chosen, what is left of the KL, (y - m)^2 / (2 t^2) for a prediction of mean m and
width t, falls for ever as t grows: without a variance loss the widths drift to the widest candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from earwitness.nn.losses.label_distribution.grid import Grid, GridConfig


@dataclass(frozen=True)
class Selected:
    """What was chosen for each item: `place` [B] among the candidates, `width` [B], `target` D_s* [B, K], and the
    `divergence` KL(D_s* || p) [B], through which the gradient flows."""

    place: Tensor
    width: Tensor
    target: Tensor
    divergence: Tensor


class CandidateTargets(nn.Module):
    """D_s(y) for every value y of a grid and every candidate width, made once: `targets` [K, S, K] with their negative
    entropies [K, S]. Labels between the grid's values are worked out when they come."""

    widths: Tensor
    targets: Tensor
    negentropy: Tensor

    def __init__(self, grid: GridConfig, widths: tuple[float, ...]) -> None:
        super().__init__()
        self.grid: Grid = grid.build()
        self.register_buffer("widths", torch.tensor(widths, dtype=torch.float32), persistent=False)
        targets, negentropy = self._worked_out(self.grid.values)
        self.register_buffer("targets", targets, persistent=False)
        self.register_buffer("negentropy", negentropy, persistent=False)

    def of(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Targets [B, S, K] and negative entropies [B, S] of labels [B]. Raises `DataError` beyond the grid."""
        place = self.grid.nearest(values)
        if bool((self.grid.values[place] == values).all()):
            return self.targets[place], self.negentropy[place]
        return self._worked_out(values)

    def select(self, log_p: Tensor, values: Tensor) -> Selected:
        """The best candidate of each item: log-probabilities [B, K], labels [B]. The choice itself has no gradient."""
        targets, negentropy = self.of(values)
        divergences = negentropy - torch.einsum("bsk,bk->bs", targets, log_p)
        place = divergences.detach().argmin(1)
        item = torch.arange(len(values), device=values.device)
        return Selected(place, self.widths[place], targets[item, place], divergences[item, place])

    def _worked_out(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Of any labels [B]; in double precision, for entropy and cross-entropy are near to each other."""
        exact = Grid(self.grid.config).to(values.device).double()
        log_target = exact.log_distribution(values.double()[:, None], self.widths.double())
        target = log_target.exp()
        return target.to(self.widths.dtype), (target * log_target).sum(-1).to(self.widths.dtype)
