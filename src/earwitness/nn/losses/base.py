"""What every classification loss is, and the check of its targets."""

from __future__ import annotations

from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import DataError


class Loss(nn.Module):
    """A scalar to minimise, from [B, D] embeddings (margin losses) or [B, K] logits (cross-entropy family) and targets
    [B]."""

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """[B, input_dim], int64 [B] -> scalar. Raises `DataError` for a target that is no class."""
        raise NotImplementedError


class LossConfigBase(Config):
    """Configuration of a loss."""

    def build(self, input_dim: int, n_classes: int) -> Loss:
        """A loss over `n_classes` for inputs of `input_dim` values. Raises `RecipeError` where they don't fit."""
        raise NotImplementedError


def require_classes(targets: Tensor, n_classes: int) -> None:
    """Raises `DataError` where a target is not one of 0..n_classes - 1 (an unknown label is -1)."""
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= n_classes:
        wrong = low if low < 0 else high
        raise DataError(
            f"target {wrong} is not one of the {n_classes} classes", fix="Leave rows without a label out of training."
        )
