"""The terms by which inputs are inverted, and the images' priors of DeepInversion.

One-hot, adversarial and contrastive as in CMI (arXiv 2105.08584); `jensen_shannon`, `total_variation` and the L2 prior
as in DeepInversion (arXiv 1912.08795).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from earwitness.core.errors import RecipeError

JS_TEMPERATURE = 3.0
JS_RANGE = (0.01, 0.99)  # probabilities are held in


def one_hot(logits: Tensor, classes: Tensor) -> Tensor:
    """L_oh: cross-entropy of the teacher's logits [B, K] with the classes [B] that were asked for."""
    return F.cross_entropy(logits, classes)


def adversarial(teacher: Tensor, student: Tensor, *, clip: bool = True) -> Tensor:
    """L_adv = -mean_i [ T and S agree on i ] KL(T_i || S_i), of logits [B, K].

    Only where both name one class are they pushed apart. With `clip` a sample counts at most ln K, beyond which two
    distributions that agree cannot usefully be pushed (ours).
    """
    divergence = _kl(teacher.log_softmax(1), student.log_softmax(1))
    if clip:
        divergence = divergence.clamp(max=math.log(teacher.shape[1]))
    agree = (teacher.argmax(1) == student.argmax(1)).to(divergence.dtype)
    return -(agree * divergence).mean()


def jensen_shannon(teacher: Tensor, student: Tensor) -> Tensor:
    """DeepInversion's form: 1 - clip(JS, 0, 1) at temperature 3, of logits [B, K]; 1 where both are alike."""
    t, s = ((logits / JS_TEMPERATURE).softmax(1).clamp(*JS_RANGE) for logits in (teacher, student))
    middle = ((t + s) / 2).log()
    divergence = (_kl(t.log(), middle) + _kl(s.log(), middle)).mean() / 2
    return 1 - divergence.clamp(0, 1)


def _kl(first: Tensor, second: Tensor) -> Tensor:
    """KL(first || second) of log-probabilities [B, K], [B]."""
    return (first.exp() * (first - second)).sum(1)


def contrastive(local: Tensor, whole: Tensor, current: int, tau: float) -> Tensor:
    """L_cr of unit vectors [n, d] of local and global views, the `current` ones first, cached ones after them.

    The positive of a row is the other view of the same sample, all else is negative; the global side takes no gradient.
    """
    logits = local @ whole.detach().T / tau
    rows = F.cross_entropy(logits, torch.arange(len(local), device=local.device), reduction="none")
    loss = rows[:current].mean()
    return loss + rows[current:].mean() if len(local) > current else loss


def total_variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbours in time and in frequency, of [B, 1, F, N]."""
    return x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()


def distillation(teacher: Tensor, student: Tensor, tau: float) -> Tensor:
    """L_KD = tau^2 KL(softmax(T / tau) || softmax(S / tau)), of logits [B, K] (arXiv 1503.02531)."""
    return tau**2 * _kl((teacher / tau).log_softmax(1), (student / tau).log_softmax(1)).mean()


def diverged(what: str, number: int) -> RecipeError:
    """The error for a loss that is no longer finite."""
    return RecipeError(
        f"the loss of the {what} is not finite in round {number + 1}",
        fix="Lower its learning rate, or weights.adv; the last checkpoint is good.",
    )
