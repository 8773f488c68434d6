"""Gradient reversal (arXiv 1505.07818): the identity forward, a factor below zero on the way back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradients[0], None


def reverse_gradient(values: Tensor, weight: float = 1.0) -> Tensor:
    """The values as they are; the gradient that comes back to them is multiplied by -`weight`."""
    reversed_: Tensor = _Reversal.apply(values, weight)  # type: ignore[no-untyped-call]
    return reversed_
