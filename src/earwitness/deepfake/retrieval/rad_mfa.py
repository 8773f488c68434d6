"""RAD-MFA, the classifier of RAD (arXiv 2404.13892): one MFA hears the query and its genuine neighbours, the attention
over their differences says what is different, and both are judged together.

With no neighbours it is the MFA classifier alone, the "without retrieval" arm. A reconstruction: the attention's width
and form, the score and the loss are ours.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.nn.pooling.mfa import Mfa, VectorAttention


class RadMfaConfig(Config):
    """`neighbours` 0 builds the classifier without retrieval."""

    layers: int = Field(ge=1)
    width: int = Field(ge=1)
    neighbours: int = Field(10, ge=0)
    hidden: int = Field(128, ge=1)

    def build(self) -> RadMfa | MfaClassifier:
        """With random weights."""
        mfa = Mfa(self.layers, self.width, self.hidden)
        return RadMfa(mfa, self.hidden) if self.neighbours else MfaClassifier(mfa)


class MfaClassifier(nn.Module):
    """Short features of the query [B, 1, L, T, F] -> logits [B, 2], index 1 bona fide."""

    def __init__(self, mfa: Mfa) -> None:
        super().__init__()
        self.mfa = mfa
        self.head = nn.Linear(mfa.dim, 2)

    def forward(self, features: Tensor, counts: Tensor | None = None) -> Tensor:
        """Further features than the query's are not looked at."""
        logits: Tensor = self.head(self.mfa(features[:, 0]))
        return logits


class RadMfa(nn.Module):
    """Short features of query and neighbours [B, 1 + K, L, T, F] -> logits [B, 2], index 1 bona fide.

    r_d = r_k - r_q is pooled over the K neighbours to r_e [8F]; [r_e; r_q] [12F] is judged. The order of the neighbours
    does not matter.
    """

    def __init__(self, mfa: Mfa, hidden: int = 128) -> None:
        super().__init__()
        self.mfa = mfa
        self.over_neighbours = VectorAttention(mfa.dim, hidden)
        self.head = nn.Linear(3 * mfa.dim, 2)

    def forward(self, features: Tensor, counts: Tensor | None = None) -> Tensor:
        """`counts` [B]: how many of the K neighbours there are (None: all). Raises `DataError` for a query without."""
        batch, heard = features.shape[:2]
        vectors = self.mfa(features.flatten(0, 1)).reshape(batch, heard, -1)
        query, neighbours = vectors[:, 0], vectors[:, 1:]
        differences = neighbours - query[:, None]
        pooled = self.over_neighbours(differences, _filled(differences, counts))
        logits: Tensor = self.head(torch.cat([pooled, query], dim=1))
        return logits


def _filled(differences: Tensor, counts: Tensor | None) -> Tensor | None:
    """Which of [B, K] are there; None where all are."""
    places = differences.shape[1]
    if places == 0 or (counts is not None and bool((counts < 1).any())):
        raise DataError("a query has no neighbour", fix="RAD needs at least one; without retrieval use 0 neighbours.")
    if counts is None or bool((counts >= places).all()):
        return None
    return torch.arange(places, device=differences.device) < counts[:, None]
