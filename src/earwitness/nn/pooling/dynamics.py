"""How frames move: the mean absolute change from frame to frame, and the mean absolute change of that change.

Mean and deviation forget the order of frames. Speech that was synthesised from smooth trajectories may have the
averages of human speech and still move otherwise. The pooling is ours.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from earwitness.nn.pooling.base import Pooling, PoolingConfigBase, require_frames
from earwitness.nn.types import Embedding, Frames


class DynamicsConfig(PoolingConfigBase):
    """Mean absolute first and second differences over time."""

    kind: Literal["dynamics"] = "dynamics"

    def build(self, input_dim: int) -> Dynamics:
        """dim = 2 input_dim."""
        return Dynamics(input_dim)


class Dynamics(Pooling):
    """Frames x [B, T, F] -> [mean |x[t] - x[t - 1]|; mean |x[t] - 2 x[t - 1] + x[t - 2]|] [B, 2F].

    Only neighbours that all count are compared; where there are none, nothing moves: 0.
    """

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.dim = 2 * input_dim

    def forward(self, frames: Frames) -> Embedding:
        """[B, T, F] -> [B, 2F]."""
        require_frames(frames)
        x, mask = frames.values, frames.mask
        first = x[:, 1:] - x[:, :-1]
        second = first[:, 1:] - first[:, :-1]
        if mask is None:
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        both = mask[:, 1:] & mask[:, :-1]
        return Embedding(torch.cat([_mean_size(first, both), _mean_size(second, both[:, 1:] & both[:, :-1])], dim=1))


def _mean_size(changes: Tensor, counted: Tensor) -> Tensor:
    """The mean over time of |changes| [B, T, F] where they are counted [B, T]: [B, F]."""
    weights = counted.to(changes.dtype)[..., None]
    return (changes.abs() * weights).sum(1) / weights.sum(1).clamp_min(1)
