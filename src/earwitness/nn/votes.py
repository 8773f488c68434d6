"""Many small classifiers that vote: several on each branch's vector, each learning alone, their answers averaged.

A joint classifier on several views leans on the view that is easiest on the training data; members with losses of their
own keep what each view knows (deep ensembles, arXiv 1612.01474). How branches are averaged says what they are held for:

    logits   witnesses of the same thing, whose errors cancel
    odds     places in which a class may show: what holds against the last class is a mixture over the branches, so that
             one branch that is sure is enough, and one that sees nothing takes nothing away
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import RecipeError


class VotesConfig(Config):
    """`copies` members a branch, each with one hidden layer; `weights` of the branches in the mean, all alike without.

    `average`: of the branches' logits, or of their odds against the last class (bona fide, in detection).
    In training `drop_features` of a branch's values are hidden from a whole batch, and `dropout` of the hidden units
    from each row.
    """

    hidden: int = Field(default=64, ge=1)
    copies: int = Field(default=3, ge=1)
    drop_features: float = Field(default=0.3, ge=0, lt=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    weights: tuple[float, ...] = ()
    average: Literal["logits", "odds"] = "logits"

    def build(self, dims: Sequence[int], outputs: int) -> Votes:
        """Members for branches of these dims. Raises `RecipeError` for weights that do not fit them."""
        if self.weights and (len(self.weights) != len(dims) or min(self.weights) < 0 or not sum(self.weights)):
            raise RecipeError(f"votes.weights: {len(dims)} branch(es) need as many weights, not negative")
        return Votes(self, dims, outputs)


class Votes(nn.Module):
    """Joined vectors of the branches [B, sum of dims] -> logits [B, outputs]: the mean of logits over copies, and over
    branches that of logits or odds."""

    weights: Tensor

    def __init__(self, config: VotesConfig, dims: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.dims = tuple(dims)
        self.average, self.copies = config.average, config.copies
        weights = torch.tensor(config.weights or [1.0] * len(dims))
        self.register_buffer("weights", weights / weights.sum(), persistent=False)
        self.members = nn.ModuleList(_Members(config, dim, outputs) for dim in dims)

    def forward(self, joined: Tensor) -> Tensor:
        """[B, sum of dims] -> [B, outputs]."""
        return self.over_branches(self.each(joined).mean(dim=2))

    def over_branches(self, votes: Tensor) -> Tensor:
        """The weighted mean over branches: [B, branches, outputs] -> [B, outputs].

        With odds o_c = log sum_s w_s exp(z_sc - z_s,last): o_last = 0.
        """
        if self.average == "odds":
            against_last = votes - votes[..., -1:]
            return torch.logsumexp(against_last + self.weights.log()[:, None], dim=1)
        return torch.einsum("bso,s->bo", votes, self.weights)

    def each(self, joined: Tensor) -> Tensor:
        """The votes one by one: [B, sum of dims] -> [B, branches, copies, outputs]."""
        parts = torch.split(joined, list(self.dims), dim=1)
        return torch.stack([members(part) for members, part in zip(self.members, parts, strict=True)], dim=1)


class _Members(nn.Module):
    """The members of one branch: [B, dim] -> [B, copies, outputs]. Inputs are brought to unit variance."""

    def __init__(self, config: VotesConfig, dim: int, outputs: int) -> None:
        super().__init__()
        self.copies, self.hidden = config.copies, config.hidden
        self.drop_features = config.drop_features
        self.norm = nn.BatchNorm1d(dim, affine=False)
        self.first = nn.Linear(dim, config.copies * config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        bound = config.hidden**-0.5
        self.weight = nn.Parameter(torch.empty(config.copies, config.hidden, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(config.copies, outputs))

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, dim] -> [B, copies, outputs]."""
        x: Tensor = self.norm(vectors)
        if self.training and self.drop_features:
            kept = (torch.rand(x.shape[1], device=x.device) >= self.drop_features).to(x.dtype)
            x = x * (kept / (1 - self.drop_features))
        hidden = nn.functional.gelu(self.first(x)).view(-1, self.copies, self.hidden)
        return torch.einsum("bch,cho->bco", self.dropout(hidden), self.weight) + self.bias
