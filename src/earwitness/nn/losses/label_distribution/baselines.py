"""Losses of number-valued labels to compare with, over one logit a value of the grid; all answer with the mean.

Definitions and defaults as in a public comparison of age losses (arXiv 2307.04570), which found them almost
indistinguishable once data, network and splits are equal.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from earwitness.nn.losses.label_distribution.base import ValueLoss, ValueLossConfigBase
from earwitness.nn.losses.label_distribution.terms import cross_entropy_to, differences

VARIANCE_FLOOR = 1e-4  # in the grid's units squared: a variance is divided by


class CrossEntropyOfValuesConfig(ValueLossConfigBase):
    """Cross-entropy to the grid's value nearest to the label ("regression via classification")."""

    kind: Literal["ce"] = "ce"

    def build(self) -> MeanVariance:
        """Mean-variance without its two terms."""
        return MeanVariance(self, mean_weight=0.0, variance_weight=0.0)


class MeanVarianceConfig(ValueLossConfigBase):
    """Mean-variance loss (Pan et al., CVPR 2018): CE + l1 (mean - y)^2 / 2 + l2 variance."""

    kind: Literal["mean_variance"] = "mean_variance"
    mean_weight: float = Field(default=0.2, ge=0)
    variance_weight: float = Field(default=0.05, ge=0)

    def build(self) -> MeanVariance:
        """The loss."""
        return MeanVariance(self, self.mean_weight, self.variance_weight)


class MeanVariance(ValueLoss):
    """Terms `ce`, `mean`, `variance`; those of weight 0 are left out."""

    def __init__(self, config: ValueLossConfigBase, mean_weight: float, variance_weight: float) -> None:
        super().__init__(config)
        self._mean_weight, self._variance_weight = mean_weight, variance_weight

    def items(self, outputs: Tensor, values: Tensor) -> dict[str, Tensor]:
        """[B] each."""
        log_p = self.log_distribution(outputs)
        found = {"ce": F.nll_loss(log_p, self.grid.nearest(values), reduction="none")}
        if self._mean_weight:
            found["mean"] = self._mean_weight * (self.grid.mean(log_p.exp()) - values).square() / 2
        if self._variance_weight:
            found["variance"] = self._variance_weight * self.grid.variance(log_p.exp())
        return found


class DldlConfig(ValueLossConfigBase):
    """DLDL (arXiv 1611.01731): cross-entropy to D_s(y), whose gradient is that of KL with a fixed width."""

    kind: Literal["dldl"] = "dldl"
    width: float = Field(default=2.0, gt=0)

    def build(self) -> Dldl:
        """DLDL-v2 without its term of the mean."""
        return Dldl(self, self.width, mean_weight=0.0)


class DldlV2Config(ValueLossConfigBase):
    """DLDL-v2 (IJCAI 2018): DLDL + lambda |mean - y|."""

    kind: Literal["dldl_v2"] = "dldl_v2"
    width: float = Field(default=2.0, gt=0)
    mean_weight: float = Field(default=1.0, ge=0)

    def build(self) -> Dldl:
        """The loss."""
        return Dldl(self, self.width, self.mean_weight)


class Dldl(ValueLoss):
    """Terms `ldl` and `mean`; the latter is left out where its weight is 0."""

    def __init__(self, config: ValueLossConfigBase, width: float, mean_weight: float) -> None:
        super().__init__(config)
        self._width, self._mean_weight = width, mean_weight

    def items(self, outputs: Tensor, values: Tensor) -> dict[str, Tensor]:
        """[B] each."""
        log_p = self.log_distribution(outputs)
        target = self.grid.distribution(values, torch.full_like(values, self._width))
        found = {"ldl": cross_entropy_to(target, log_p)}
        if self._mean_weight:
            found["mean"] = self._mean_weight * (self.grid.mean(log_p.exp()) - values).abs()
        return found


class SordConfig(ValueLossConfigBase):
    """Soft ordinal labels (SORD, CVPR 2019): cross-entropy to softmax_k(-distance(a_k, y) / `scale`)."""

    kind: Literal["sord"] = "sord"
    distance: Literal["absolute", "squared"] = "absolute"
    scale: float = Field(default=1.0, gt=0)

    def build(self) -> Sord:
        """The loss."""
        return Sord(self)


class Sord(ValueLoss):
    """One term, `soft`."""

    def __init__(self, config: SordConfig) -> None:
        super().__init__(config)
        self._config = config

    def items(self, outputs: Tensor, values: Tensor) -> dict[str, Tensor]:
        """[B]."""
        distance = (self.grid.values - values.unsqueeze(1)).abs()
        distance = distance if self._config.distance == "absolute" else distance.square()
        target = torch.softmax(-distance / self._config.scale, dim=1)
        return {"soft": cross_entropy_to(target, self.log_distribution(outputs))}


class UnimodalConfig(ValueLossConfigBase):
    """Unimodal-concentrated loss (arXiv 2204.00309) in an unofficial form: a Gaussian likelihood of the label under the
    distribution's own mean and variance, and a penalty where it does not rise before the label or fall after it.

    Its width is a standard deviation by construction, so it is what SVLDL's must be compared with.
    """

    kind: Literal["unimodal"] = "unimodal"
    unimodal_weight: float = Field(default=1000.0, ge=0)

    def build(self) -> Unimodal:
        """The loss."""
        return Unimodal(self)


class Unimodal(ValueLoss):
    """Terms `concentrated` and `unimodal`."""

    def __init__(self, config: UnimodalConfig) -> None:
        super().__init__(config)
        self._weight = config.unimodal_weight

    def items(self, outputs: Tensor, values: Tensor) -> dict[str, Tensor]:
        """[B] each."""
        p = self.log_distribution(outputs).exp()
        variance = self.grid.variance(p).clamp_min(VARIANCE_FLOOR)
        likelihood = variance.log() / 2 + (self.grid.mean(p) - values).square() / (2 * variance)
        side = torch.sign(self.grid.values[:-1] - values.unsqueeze(1))
        wrong_way = torch.relu(side * differences(p)).sum(1)
        return {"concentrated": likelihood, "unimodal": self._weight * wrong_way}
