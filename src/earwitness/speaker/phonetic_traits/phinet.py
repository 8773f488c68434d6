"""PhiNet's scoring (arXiv 2604.01590, as in its released code): a verdict that is the sum of what each phone says.

    f(s) = w2 . tanh(w1 s + b1)                      two hidden units
    score = tanh( sum_i p_i f(s_i) s_i / (sum_i p_i [s_i != 0] + 1e-6) )

p are learned weights of the phones, scaled to 0..1. p says what a phone is worth at all, p_i f(s_i) s_i what it said
in a trial. A phone that one side lacks has s_i = 0 and says nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.speaker.phonetic_traits.layers import COUNT_FLOOR, Traits
from earwitness.speaker.phonetic_traits.losses import loss_diff, loss_same


class PhiNetConfig(Config):
    """`hidden` units of f, and the weights of the loss terms: same, minus diff, and the pairing's cross-entropy."""

    hidden: int = Field(2, ge=1)
    same: float = Field(0.001, ge=0)
    diff: float = Field(0.0015, ge=0)
    pairing: float = Field(0.5, gt=0)

    def build(self, phones: int) -> PhiNetHead:
        """With random weights."""
        return PhiNetHead(phones, self.hidden)

    def terms(self, head: PhiNetHead, first: Traits, second: Traits) -> dict[str, Tensor]:
        """The weighted loss terms; the pairing asks which second utterance is of the first one's speaker."""
        similarities = torch.einsum("kif,lif->kli", first.unit(), second.unit())
        scores = head(similarities)
        target = torch.arange(len(scores), device=scores.device)
        return {
            "same": self.same * loss_same(first, second),
            "diff": -self.diff * loss_diff(first, second),
            "pairing": self.pairing * F.cross_entropy(scores, target),
        }


class PhiNetHead(nn.Module):
    """Similarities of phones [..., I] -> scores [...] in (-1, 1)."""

    def __init__(self, phones: int, hidden: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.rand(phones))
        self.inner = nn.Linear(1, hidden)
        self.outer = nn.Linear(hidden, 1, bias=False)

    def importance(self) -> Tensor:
        """p [I] in 0..1: the global explanation."""
        low, high = self.weights.min(), self.weights.max()
        return (self.weights - low) / (high - low).clamp_min(COUNT_FLOOR)

    def contributions(self, similarities: Tensor) -> Tensor:
        """p_i f(s_i) s_i [..., I]: the local explanation."""
        shaped: Tensor = self.outer(torch.tanh(self.inner(similarities.unsqueeze(-1)))).squeeze(-1)
        return self.importance() * shaped * similarities

    def forward(self, similarities: Tensor) -> Tensor:
        """[..., I] -> [...]."""
        weight = (self.importance() * (similarities != 0)).sum(-1)
        return torch.tanh(self.contributions(similarities).sum(-1) / (weight + COUNT_FLOOR))
