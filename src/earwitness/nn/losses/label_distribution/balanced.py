"""Balanced MSE in its batch version (CVPR 2022): which of the batch's labels belongs to a prediction?

A softmax over all labels of the batch, so that those which are common in it are no easier to be near to.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.nn.losses.label_distribution.base import ValueLossConfigBase
from earwitness.nn.losses.label_distribution.regression import Regression, RegressionConfig


class BalancedMseConfig(ValueLossConfigBase):
    """`sigma`: the noise of answers, in units of the label; where it is `learned`, that is its first value (ACCon's
    scripts make the loss anew at each step, so theirs stays 1). Further as `regression`."""

    kind: Literal["balanced_mse"] = "balanced_mse"
    sigma: float = Field(default=1.0, gt=0)
    learned: bool = True
    centre: float | None = None
    scale: float | None = Field(default=None, gt=0)
    spread: float = Field(default=5.0, gt=0)

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    def build(self) -> BalancedMse:
        """With sigma as its only parameter."""
        return BalancedMse(self)


class BalancedMse(Regression):
    """One term, `balanced_mse`: 2 s^2 times the cross-entropy of logits -(f_i - y_j)^2 / (2 s^2) over the batch's
    labels with the item's own. No gradient goes through the factor."""

    def __init__(self, config: BalancedMseConfig) -> None:
        given = config.model_dump(include={"grid", "centre", "scale", "spread"})
        super().__init__(RegressionConfig.model_validate(given))
        self.sigma = nn.Parameter(torch.tensor(config.sigma), requires_grad=config.learned)

    def items(self, outputs: Tensor, values: Tensor) -> dict[str, Tensor]:
        """[B]."""
        answers = self.mean(outputs)
        twice = 2 * self.sigma.to(answers.dtype).square()
        logits = -(answers[:, None] - values[None]).square() / twice
        own = torch.arange(len(values), device=values.device)
        return {"balanced_mse": twice.detach() * F.cross_entropy(logits, own, reduction="none")}
