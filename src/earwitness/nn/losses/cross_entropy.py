"""Weighted cross-entropy, and focal losses (arXiv 1708.02002; in the binary form that Nes2Net, arXiv 2504.05657, trains
with)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from earwitness.core.errors import RecipeError
from earwitness.nn.losses.base import Loss, LossConfigBase, require_classes


class CrossEntropyConfig(LossConfigBase):
    """`class_weights`: one a class (published for ASVspoof: 0.1 spoof, 0.9 bona fide); the mean is weighted by them."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)

    def build(self, input_dim: int, n_classes: int) -> CrossEntropy:
        """`input_dim` logits are `n_classes`."""
        _require_logits(self.kind, input_dim, n_classes)
        return CrossEntropy(_weights(self.class_weights, n_classes), self.label_smoothing)


class FocalConfig(LossConfigBase):
    """Multi-class focal loss; `class_weights` play the part of alpha (1 each where None). gamma 0 is cross-entropy."""

    kind: Literal["focal"] = "focal"
    gamma: float = Field(default=2.0, ge=0)
    class_weights: tuple[float, ...] | None = None

    def build(self, input_dim: int, n_classes: int) -> Focal:
        """`input_dim` logits are `n_classes`."""
        _require_logits(self.kind, input_dim, n_classes)
        return Focal(self.gamma, _weights(self.class_weights, n_classes))


class BinaryFocalConfig(LossConfigBase):
    """Focal loss on a single logit (CtrSVDD recipe of Nes2Net): one alpha for both classes, labels smoothed to 0.95 /
    0.05."""

    kind: Literal["binary_focal"] = "binary_focal"
    gamma: float = Field(default=2.0, ge=0)
    alpha: float = Field(default=0.25, gt=0)
    label_smoothing: float = Field(default=0.05, ge=0, lt=0.5)

    def build(self, input_dim: int, n_classes: int) -> BinaryFocal:
        """One logit, two classes."""
        if (input_dim, n_classes) != (1, 2):
            raise RecipeError(
                f"binary_focal needs 1 logit for 2 classes, not {input_dim} for {n_classes}", fix="Use `focal`."
            )
        return BinaryFocal(self)


class CrossEntropy(Loss):
    """-log softmax of the target's logit, smoothed, weighted."""

    weights: Tensor | None

    def __init__(self, weights: Tensor | None, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)
        self._smoothing = label_smoothing

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Logits [B, K], targets [B] -> scalar."""
        require_classes(targets, inputs.shape[1])
        return F.cross_entropy(inputs, targets, self.weights, label_smoothing=self._smoothing)


class Focal(Loss):
    """mean of w_y (1 - p_y)^gamma (-log p_y)."""

    weights: Tensor | None

    def __init__(self, gamma: float, weights: Tensor | None) -> None:
        super().__init__()
        self._gamma = gamma
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Logits [B, K], targets [B] -> scalar."""
        require_classes(targets, inputs.shape[1])
        entropy = F.cross_entropy(inputs, targets, reduction="none")
        focal = _focused(entropy, self._gamma)
        return (focal if self.weights is None else self.weights[targets] * focal).mean()


class BinaryFocal(Loss):
    """mean of alpha (1 - p_t)^gamma BCE with p_t = exp(-BCE), BCE against the smoothed label (1 = bona fide)."""

    def __init__(self, config: BinaryFocalConfig) -> None:
        super().__init__()
        self._config = config

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Logits [B, 1] or [B], targets [B] in {0, 1} -> scalar."""
        require_classes(targets, 2)
        smoothing = self._config.label_smoothing
        labels = targets.to(inputs.dtype) * (1 - 2 * smoothing) + smoothing
        entropy = F.binary_cross_entropy_with_logits(inputs.reshape(-1), labels, reduction="none")
        return self._config.alpha * _focused(entropy, self._config.gamma).mean()


def _focused(entropy: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma entropy, p = exp(-entropy); 1 - p without cancellation for small entropies."""
    missing: Tensor = -torch.expm1(-entropy)
    return missing.clamp(min=1e-12) ** gamma * entropy  # the floor keeps the gradient finite for gamma < 1


def _require_logits(kind: str, input_dim: int, n_classes: int) -> None:
    if input_dim != n_classes or n_classes < 2:
        raise RecipeError(f"{kind} needs one logit a class, at least 2 (got {input_dim} logits, {n_classes} classes)")


def _weights(values: tuple[float, ...] | None, n_classes: int) -> Tensor | None:
    if values is None:
        return None
    if len(values) != n_classes or min(values) < 0 or max(values) == 0:
        raise RecipeError(
            f"class_weights {values} do not fit {n_classes} classes", fix="Give one weight >= 0 a class, not all 0."
        )
    return torch.tensor(values)
