"""Pooling in which some frames count more than others: outside weights multiply the pooling's own.

So may a soft voice activity detection weigh what is pooled (cf. arXiv 1909.11886), where soft zeros in the features
alone would still dilute means and deviations.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from earwitness.core.errors import RecipeError
from earwitness.nn.pooling.attentive import AttentiveStatistics
from earwitness.nn.pooling.base import Pooling, moments, require_frames, standard_deviation
from earwitness.nn.pooling.simple import VARIANCE_FLOOR, Mean, Statistics
from earwitness.nn.types import Embedding, Frames

LEAST = 1e-6  # a weight: an utterance in which no frame counts is pooled evenly


def pool_weighted(pooling: Pooling, frames: Frames, weights: Tensor) -> Embedding:
    """Unpadded frames [B, T, F] and weights [B, T'] of 0 or more -> [B, dim]; weights are averaged to T frames where an
    encoder has fewer. Raises `RecipeError` for a pooling that cannot be weighted."""
    require_frames(frames)
    x = frames.values.transpose(1, 2)
    if weights.shape[1] != x.shape[2]:
        weights = F.adaptive_avg_pool1d(weights.unsqueeze(1), x.shape[2]).squeeze(1)
    shares = weights.clamp(min=LEAST).unsqueeze(1)
    if isinstance(pooling, AttentiveStatistics):
        shares, floor = shares * pooling.attention(frames), pooling.variance_floor
    elif isinstance(pooling, Statistics):
        floor = VARIANCE_FLOOR
    elif not isinstance(pooling, Mean):
        raise RecipeError(f"{type(pooling).__name__} cannot weigh frames", fix="Use mean or (attentive) statistics.")
    mean, variance = moments(x, shares / shares.sum(-1, keepdim=True))
    if isinstance(pooling, Mean):
        return Embedding(mean.squeeze(-1))
    return Embedding(torch.cat([mean, standard_deviation(variance, floor)], dim=1).squeeze(-1))
