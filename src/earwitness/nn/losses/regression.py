"""Losses of a regression itself: L1, squared error, and Balanced MSE in its batch version (CVPR 2022).

Balanced MSE asks which of the batch's labels belongs to a prediction: a softmax over all of them, so that labels which
are common in the batch are no easier to be near to.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import DataError


class RegressionLoss(nn.Module):
    """Predictions, labels and weights [B] (None: 1 each) -> scalar. Raises `DataError` for labels that are not
    finite."""

    def forward(self, predictions: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """The mean of weight times error."""
        if predictions.shape != labels.shape or not bool(labels.isfinite().all()):
            raise DataError("labels are not finite, or not one a prediction", fix="Train on rows with a label only.")
        errors = self.errors(predictions, labels.to(predictions.dtype))
        return (errors if weights is None else weights * errors).mean()

    def errors(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """Of each item, [B]."""
        raise NotImplementedError


class L1Config(Config):
    """The mean absolute error."""

    kind: Literal["l1"] = "l1"

    def build(self) -> RegressionLoss:
        """It has no weights."""
        return _L1()


class MseConfig(Config):
    """The mean squared error."""

    kind: Literal["mse"] = "mse"

    def build(self) -> RegressionLoss:
        """It has no weights."""
        return _Mse()


class BalancedMseConfig(Config):
    """`sigma`: the noise of predictions, in units of the label; where it is `learned`, that is its first value. ACCon's
    scripts make the loss anew at each step, so theirs stays 1."""

    kind: Literal["balanced_mse"] = "balanced_mse"
    sigma: float = Field(1.0, gt=0)
    learned: bool = True

    def build(self) -> BalancedMse:
        """With sigma as its only parameter."""
        return BalancedMse(self)


RegressionLossConfig = Annotated[L1Config | MseConfig | BalancedMseConfig, Field(discriminator="kind")]


class _L1(RegressionLoss):
    def errors(self, predictions: Tensor, labels: Tensor) -> Tensor:
        return (predictions - labels).abs()


class _Mse(RegressionLoss):
    def errors(self, predictions: Tensor, labels: Tensor) -> Tensor:
        return (predictions - labels).square()


class BalancedMse(RegressionLoss):
    """2 s^2 times the cross-entropy of logits -(f_i - y_j)^2 / (2 s^2) with the item's own label; no gradient goes
    through the factor."""

    def __init__(self, config: BalancedMseConfig) -> None:
        super().__init__()
        self.sigma = nn.Parameter(torch.tensor(config.sigma), requires_grad=config.learned)

    def errors(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """[B], over all labels of the batch."""
        twice = 2 * self.sigma.to(predictions.dtype).square()
        logits = -(predictions[:, None] - labels[None]).square() / twice
        own = torch.arange(len(labels), device=labels.device)
        return twice.detach() * F.cross_entropy(logits, own, reduction="none")
