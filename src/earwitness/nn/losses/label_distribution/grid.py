"""A number as a distribution over a grid: what label distribution learning compares (SVLDL, arXiv 2210.09524).

D_s(y)_k = exp(-(a_k - y)^2 / (2 s^2)) / Z over the grid's values a_k. Z is the sum over the grid, so near the grid's
ends the mean is not y: D_3(2) on 0..100 has mean 3.06.
"""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import DataError


class GridConfig(Config):
    """The values `low`, `low + step`, ..., `high`; by default whole years of age, 0 to 100."""

    low: float = Field(default=0.0, allow_inf_nan=False)
    high: float = Field(default=100.0, allow_inf_nan=False)
    step: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _whole_steps(self) -> GridConfig:
        steps = (self.high - self.low) / self.step
        if steps < 1 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(f"from {self.low:g} to {self.high:g} is not a whole number of steps of {self.step:g}")
        return self

    @property
    def count(self) -> int:
        """K, how many values there are."""
        return round((self.high - self.low) / self.step) + 1

    @property
    def values(self) -> tuple[float, ...]:
        """a_0 to a_(K-1)."""
        return tuple(self.low + self.step * place for place in range(self.count))

    def build(self) -> Grid:
        """The grid as tensors."""
        return Grid(self)


class Grid(nn.Module):
    """`values` [K], and distributions over them. It has nothing to learn."""

    values: Tensor

    def __init__(self, config: GridConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("values", torch.tensor(config.values, dtype=torch.float32), persistent=False)

    def log_distribution(self, value: Tensor, width: Tensor) -> Tensor:
        """ln D_s(y) of values y [...] and widths s [...] > 0, in the grid's units -> [..., K]."""
        distance = (self.values - value.unsqueeze(-1)) / width.unsqueeze(-1)
        return torch.log_softmax(-0.5 * distance.square(), dim=-1)

    def distribution(self, value: Tensor, width: Tensor) -> Tensor:
        """D_s(y) of values y [...] and widths s [...] -> [..., K]."""
        return self.log_distribution(value, width).exp()

    def mean(self, distribution: Tensor) -> Tensor:
        """sum_k p_k a_k of distributions [..., K] -> [...]."""
        return distribution @ self.values.to(distribution.dtype)

    def variance(self, distribution: Tensor) -> Tensor:
        """sum_k p_k (a_k - mean)^2 of distributions [..., K] -> [...]."""
        distance = self.values.to(distribution.dtype) - self.mean(distribution).unsqueeze(-1)
        return (distribution * distance.square()).sum(-1)

    def nearest(self, values: Tensor) -> Tensor:
        """The place of the grid's value nearest to each of `values` [B], int64 [B].

        Raises `DataError` where one is not a number, or lies beyond the grid's ends.
        """
        self.require_inside(values)
        return ((values - self.config.low) / self.config.step).round().long()

    def require_inside(self, values: Tensor) -> None:
        """Raises `DataError` where one of `values` is not a number, or lies beyond the grid's ends."""
        low, high = self.config.low, self.config.high
        if not bool(((values >= low) & (values <= high)).all()):
            wrong = values[~((values >= low) & (values <= high))][0]
            raise DataError(
                f"the label {float(wrong):g} does not lie on the grid from {low:g} to {high:g}",
                fix="Correct the label, or widen the grid of the loss.",
            )


def end_bias(config: GridConfig, value: float, width: float) -> float:
    """How far the mean of D_s(y) lies from y, for the grid ends there.

    >>> round(end_bias(GridConfig(), 2.0, 3.0), 3), round(end_bias(GridConfig(), 0.0, 3.0), 3)
    (1.06, 2.093)
    """
    grid = config.build().double()
    distribution = grid.distribution(torch.tensor(value).double(), torch.tensor(width).double())
    return float(grid.mean(distribution)) - value
