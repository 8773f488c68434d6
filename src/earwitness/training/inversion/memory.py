"""The contrastive side of CMI (arXiv 2105.08584): a head over the teacher's features, and a bank of earlier ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.core.errors import RecipeError

MOST_FEATURES = 16_384  # of a head as wide as them: a gigabyte of weights, and three more in training


class ContrastiveHead(nn.Module):
    """Features [B, D] -> unit vectors [B, d]: linear to `hidden` (D by default, as in CMI), ReLU, linear.

    Raises `RecipeError` where D is so large that D x D weights and their optimiser would fill the memory.
    """

    def __init__(self, input_dim: int, dim: int, hidden: int | None = None) -> None:
        super().__init__()
        if hidden is None and input_dim > MOST_FEATURES:
            raise RecipeError(
                f"the teacher's batch-norms have {input_dim} features, and a contrastive head as wide as that "
                f"{input_dim**2:,} weights",
                fix="Set contrast.hidden, e.g. to 1024.",
            )
        hidden = hidden or input_dim
        self.layers = nn.Sequential(nn.Linear(input_dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def forward(self, features: Tensor) -> Tensor:
        """[B, D] -> [B, d]."""
        return F.normalize(self.layers(features), dim=1)


class MemoryBank:
    """First in, first out: the last `capacity` pairs of features (local, global), without gradient.

    Raises `RecipeError` where the capacity is no multiple of the batch size.
    """

    def __init__(self, capacity: int, batch: int) -> None:
        if capacity % batch:
            raise RecipeError(
                f"a bank of {capacity} is no multiple of the synthesis batch of {batch}",
                fix="Choose contrast.bank as a multiple of synthesis.batch_size.",
            )
        self.capacity = capacity
        self._pairs: Tensor | None = None  # [n, 2, D], the oldest first

    def __len__(self) -> int:
        return 0 if self._pairs is None else len(self._pairs)

    def add(self, local: Tensor, whole: Tensor) -> None:
        """Take the features [B, D] of a batch's two views; the oldest leave where there is no room."""
        pairs = torch.stack([local, whole], dim=1).detach()
        self._pairs = (pairs if self._pairs is None else torch.cat([self._pairs, pairs]))[-self.capacity :]

    def draw(self, count: int) -> tuple[Tensor, Tensor] | None:
        """At most `count` pairs at random, local and global [n, D]; None while nothing is kept."""
        if self._pairs is None:
            return None
        chosen = torch.randperm(len(self._pairs))[:count].to(self._pairs.device)
        return self._pairs[chosen, 0], self._pairs[chosen, 1]

    def pairs(self) -> Tensor:
        """All that is kept, the oldest first, [n, 2, D]; empty where nothing is."""
        return torch.zeros(0, 2, 0) if self._pairs is None else self._pairs.clone()

    def restore(self, pairs: Tensor) -> None:
        """Put back what `pairs` gave."""
        self._pairs = pairs if len(pairs) else None
