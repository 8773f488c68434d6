"""What every loss of a number-valued label (age, intensity, valence) is: network outputs in, named terms out, and how a
distribution over the label's grid is read from the same outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.nn.losses.label_distribution.grid import Grid, GridConfig

PROBABILITY_FLOOR = 1e-12  # of probabilities that are differences, before their logarithm


class ValueLossConfigBase(Config):
    """Configuration of a loss of a number-valued label. Widths and weights are in the grid's units."""

    grid: GridConfig = GridConfig()

    @property
    def outputs(self) -> int:
        """How many outputs the network needs; one a value of the grid where nothing else is said."""
        return self.grid.count

    def build(self) -> ValueLoss:
        """The loss, with random weights where it has any."""
        raise NotImplementedError


class ValueLoss(nn.Module):
    """Named terms of a batch, and what its network says of a label.

    `grid`: the label's values a_k, K of them. Parameters that a loss has of its own belong to what is trained, and are
    needed to read the outputs again.
    """

    def __init__(self, grid: GridConfig) -> None:
        super().__init__()
        self.grid: Grid = grid.build()

    def forward(self, outputs: Tensor, values: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
        """Outputs [B, O] and labels [B] -> scalar terms by name, already weighted; their sum is minimised.

        `weights` [B] multiply what each item adds (re-weighting of rare labels); terms of a batch as a whole stay.
        Raises `DataError` for a label beyond the grid.
        """
        self.grid.require_inside(values)
        outputs = outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
        items = self.items(outputs, values)
        means = {name: (item if weights is None else item * weights).mean() for name, item in items.items()}
        return means | self.of_batch(outputs, values)

    def items(self, outputs: Tensor, values: Tensor) -> dict[str, Tensor]:
        """Terms of every item, [B] each, already weighted."""
        raise NotImplementedError

    def of_batch(self, outputs: Tensor, values: Tensor) -> dict[str, Tensor]:
        """Scalar terms of a batch as a whole; none where nothing else is said."""
        return {}

    def log_distribution(self, outputs: Tensor) -> Tensor:
        """Outputs [B, O] -> log-probabilities of the grid's values [B, K]; by default a softmax over them."""
        return torch.log_softmax(outputs[:, : self.grid.config.count].float(), dim=1)

    def mean(self, outputs: Tensor) -> Tensor:
        """The label that is answered, [B]: the distribution's mean, where nothing else is said."""
        return self.grid.mean(self.log_distribution(outputs).exp())

    def set_progress(self, epochs: float) -> None:
        """How many epochs have passed, told before each step; most losses don't change."""

    def notes(self) -> dict[str, float]:
        """What was counted since this was asked for last; most losses count nothing."""
        return {}
