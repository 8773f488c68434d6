"""Plain regression of a number-valued label, by the absolute or the squared error."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from earwitness.nn.losses.label_distribution.base import ValueLoss, ValueLossConfigBase, in_full
from earwitness.nn.losses.label_distribution.terms import Norm


class RegressionConfig(ValueLossConfigBase):
    """The answer is `centre` + `scale` x output, by default the grid's middle and a tenth of its range, so that a fresh
    network answers with about the middle. `spread` is the width of the distribution that is said of a point: it means
    nothing until it was calibrated.
    """

    kind: Literal["regression"] = "regression"
    norm: Norm = "l1"
    centre: float | None = None
    scale: float | None = Field(default=None, gt=0)
    spread: float = Field(default=5.0, gt=0)

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    def build(self) -> Regression:
        """The loss."""
        return Regression(self)


class Regression(ValueLoss):
    """One term, `l1` or `l2`."""

    def __init__(self, config: RegressionConfig) -> None:
        super().__init__(config)
        self._norm: Norm = config.norm
        self._spread = config.spread
        self._centre = (config.grid.low + config.grid.high) / 2 if config.centre is None else config.centre
        self._scale = (config.grid.high - config.grid.low) / 10 if config.scale is None else config.scale

    @torch.no_grad()
    def start(self, labels: Tensor) -> Tensor:
        """[1]: what answers the training labels' median."""
        return ((labels.median() - self._centre) / self._scale)[None]

    def items(self, outputs: Tensor, values: Tensor) -> dict[str, Tensor]:
        """[B]."""
        error = self.mean(outputs) - values
        return {self._norm: error.abs() if self._norm == "l1" else error.square()}

    def log_distribution(self, outputs: Tensor) -> Tensor:
        """[B, K]: a discrete Gaussian of the assumed spread about the answer."""
        answer = self.mean(outputs)
        return self.grid.log_distribution(answer, torch.full_like(answer, self._spread))

    def mean(self, outputs: Tensor) -> Tensor:
        """The answer itself, [B]; it may lie beyond the grid."""
        return self._centre + self._scale * in_full(outputs[:, 0])
