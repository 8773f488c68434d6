"""The terms that losses of number-valued labels are made of; p and D are distributions over a grid of K values.

Concordance: Lin 1989. KL, first differences and variance: SVLDL, arXiv 2210.09524, as reconstructed.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Norm = Literal["l1", "l2"]
CCC_FLOOR = 1e-8  # of the denominator


def divergence(log_target: Tensor, log_p: Tensor) -> Tensor:
    """KL(D || p) = sum_k D_k (ln D_k - ln p_k) of log-distributions [..., K] that broadcast -> [...]."""
    return (log_target.exp() * (log_target - log_p)).sum(-1)


def cross_entropy_to(target: Tensor, log_p: Tensor) -> Tensor:
    """-sum_k D_k ln p_k of targets and log-probabilities [..., K] -> [...]."""
    return -(target * log_p).sum(-1)


def differences(distribution: Tensor) -> Tensor:
    """d(q)_k = q_(k+1) - q_k, [..., K] -> [..., K - 1]."""
    return distribution[..., 1:] - distribution[..., :-1]


def difference_loss(p: Tensor, target: Tensor, norm: Norm = "l1") -> Tensor:
    """sum_k |d(p)_k - d(D)_k|, or of the squares; of distributions [..., K] -> [...].

    It sees a second mode, which mean and concordance don't. The idea is SVLDL's, the form is a reconstruction.
    """
    error = differences(p) - differences(target)
    return (error.abs() if norm == "l1" else error.square()).sum(-1)


def concordance(predicted: Tensor, labels: Tensor) -> Tensor:
    """Lin's concordance correlation coefficient of a batch, [B] and [B] -> scalar; population (1/B) moments."""
    first, second = predicted - predicted.mean(), labels - labels.mean()
    spread = first.square().mean() + second.square().mean() + (predicted.mean() - labels.mean()).square()
    return 2 * (first * second).mean() / (spread + CCC_FLOOR)


def concordance_loss(predicted: Tensor, labels: Tensor) -> Tensor:
    """1 - CCC of a batch; 0 without a gradient where all labels are equal, which says nothing of concordance.

    It depends on what stands in a batch: gradients accumulated over several batches are not those of one large one.
    """
    if bool((labels == labels[0]).all()):
        return torch.zeros((), dtype=predicted.dtype, device=predicted.device)
    return 1 - concordance(predicted, labels)
