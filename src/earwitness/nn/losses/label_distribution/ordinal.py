"""Ordinal regression: K - 1 questions "is the label above a_k?" instead of one distribution.

OR-CNN (Niu et al., CVPR 2016) answers each by an output of its own; CORAL (arXiv 1901.07884) by one output and K - 1
biases. Distributions are read from them as the differences of the answers, which OR-CNN's need not have in order: they
are made to fall, each no higher than the one before.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.nn.losses.label_distribution.base import (
    PROBABILITY_FLOOR,
    START_FLOOR,
    ValueLoss,
    ValueLossConfigBase,
    in_full,
)


class OrCnnConfig(ValueLossConfigBase):
    """Binary cross-entropy summed over the K - 1 questions, each with unit weight."""

    kind: Literal["or_cnn"] = "or_cnn"

    @property
    def outputs(self) -> int:
        """One a question."""
        return self.grid.count - 1

    def build(self) -> Ordinal:
        """The loss."""
        return Ordinal(self)


class CoralConfig(ValueLossConfigBase):
    """The same with one output for all questions; the loss itself learns a bias for each."""

    kind: Literal["coral"] = "coral"

    @property
    def outputs(self) -> int:
        """One in all."""
        return 1

    def build(self) -> Coral:
        """The loss, its biases at a uniform distribution."""
        return Coral(self)


class Ordinal(ValueLoss):
    """One term, `ordinal`."""

    def answers(self, outputs: Tensor) -> Tensor:
        """The logits of the K - 1 questions, [B, K - 1]."""
        return in_full(outputs[:, : self.grid.config.count - 1])

    @torch.no_grad()
    def start(self, labels: Tensor) -> Tensor:
        """The logits of the shares of training labels above each value, [K - 1]."""
        above = (labels.unsqueeze(1) > self.grid.values[:-1]).float().mean(0)
        return torch.logit(START_FLOOR / 2 + (1 - START_FLOOR) * above)

    def items(self, outputs: Tensor, values: Tensor) -> dict[str, Tensor]:
        """[B]."""
        above = (values.unsqueeze(1) > self.grid.values[:-1]).to(outputs.dtype)
        losses = F.binary_cross_entropy_with_logits(self.answers(outputs), above, reduction="none")
        return {"ordinal": losses.sum(1)}

    def log_distribution(self, outputs: Tensor) -> Tensor:
        """[B, K], from the differences of the answers."""
        above = torch.cummin(torch.sigmoid(self.answers(outputs)), dim=1).values
        ends = torch.ones_like(above[:, :1])
        p = torch.cat([ends, above], dim=1) - torch.cat([above, 0 * ends], dim=1)
        p = p.clamp_min(PROBABILITY_FLOOR)
        return (p / p.sum(1, keepdim=True)).log()


class Coral(Ordinal):
    """Ordinal answers that share the network's one output; `biases` [K - 1] are learnt."""

    def __init__(self, config: CoralConfig) -> None:
        super().__init__(config)
        above = 1 - torch.arange(1, config.grid.count) / config.grid.count
        self.biases = nn.Parameter(torch.logit(above))

    @torch.no_grad()
    def start(self, labels: Tensor) -> Tensor:
        """[1]: nothing; the biases say it."""
        self.biases.copy_(super().start(labels))
        return labels.new_zeros(1)

    def answers(self, outputs: Tensor) -> Tensor:
        """[B, K - 1]."""
        return in_full(outputs[:, :1]) + self.biases
