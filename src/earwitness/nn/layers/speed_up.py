"""Time-wise speed-up (RAD, arXiv 2404.13892): consecutive groups of frames, each replaced by its mean."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from earwitness.core.errors import UsageError
from earwitness.nn.types import Frames


def speed_up(frames: Frames, tau: int) -> Frames:
    """[B, T', F] -> [B, ceil(T' / tau), F]; the last group is the mean of the frames that it has.

    Frames that a mask excludes are in no mean, and a group without any frame is excluded. Raises `UsageError` for a
    `tau` below 1.
    """
    if tau < 1:
        raise UsageError(f"tau is {tau}; frames are averaged in groups of 1 or more")
    if tau == 1:
        return frames
    values, mask = frames.values, frames.mask
    counted = torch.ones_like(values[..., :1]) if mask is None else mask.to(values.dtype)[..., None]
    sums, counts = _by_group(values * counted, tau).sum(2), _by_group(counted, tau).sum(2)
    return Frames(sums / counts.clamp_min(1), None if mask is None else counts[..., 0] > 0)


def _by_group(values: torch.Tensor, tau: int) -> torch.Tensor:
    """[B, T', F] -> [B, T, tau, F], zeros where the last group has no frames."""
    missing = -values.shape[1] % tau
    batch, _, width = values.shape
    return F.pad(values, (0, 0, 0, missing)).reshape(batch, -1, tau, width)
