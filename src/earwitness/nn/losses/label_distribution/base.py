"""What every loss of a number-valued label (age, intensity, valence) is: network outputs in, named terms out, and how a
distribution over the label's grid is read from the same outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.nn.losses.label_distribution.grid import Grid, GridConfig

PROBABILITY_FLOOR = 1e-12  # of probabilities that are differences, before their logarithm
START_STEPS = 3.0  # of the grid: how wide each training label is in the distribution that is begun with
START_FLOOR = 0.01  # of it, shared by all values alike


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

    `grid`: the label's values a_k, K of them; `outputs`, how many it reads of a network. Parameters that a loss has of
    its own belong to what is trained, and are needed to read the outputs again.
    """

    def __init__(self, config: ValueLossConfigBase) -> None:
        super().__init__()
        self.grid: Grid = config.grid.build()
        self.outputs: int = config.outputs

    def forward(self, outputs: Tensor, values: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
        """Outputs [B, O] and labels [B] -> scalar terms by name, already weighted; their sum is minimised.

        `weights` [B] multiply what each item adds (re-weighting of rare labels); terms of a batch as a whole stay.
        Raises `DataError` for a label beyond the grid.
        """
        self.grid.require_inside(values)
        outputs = in_full(outputs)
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
        return torch.log_softmax(in_full(outputs[:, : self.grid.config.count]), dim=1)

    def mean(self, outputs: Tensor) -> Tensor:
        """The label that is answered, [B]: the distribution's mean, where nothing else is said."""
        return self.grid.mean(self.log_distribution(outputs).exp())

    @torch.no_grad()
    def start(self, labels: Tensor) -> Tensor:
        """From how the training labels [N] are distributed: the outputs [O] that say so whatever is heard, as the bias
        of a network's last layer to begin with; and what the loss learns itself is set accordingly.

        Without it a fresh network says the grid's middle with the greatest uncertainty, and much of a short training
        goes into unlearning that.
        """
        width = torch.full_like(labels, START_STEPS * self.grid.config.step)
        p = self.grid.distribution(labels, width).mean(0)
        logits = ((1 - START_FLOOR) * p + START_FLOOR / len(p)).log()
        return torch.cat([logits, logits.new_zeros(self.outputs - len(p))])

    def set_progress(self, epochs: float) -> None:
        """How many epochs have passed, told before each step; most losses don't change."""

    def notes(self) -> dict[str, float]:
        """What was counted since this was asked for last; most losses count nothing."""
        return {}


def in_full(outputs: Tensor) -> Tensor:
    """Half precision has no room for small probabilities."""
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
