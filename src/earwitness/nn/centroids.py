"""A classifier of directions: how near an embedding points to the centroids of bona fide speech.

OC-Softmax (arXiv 2010.13995) has one learnt direction, QAMO (arXiv 2509.20679) one a level of speech quality, SAMO
(arXiv 2211.02718) one a training speaker, which is not learnt but computed. The losses that place them are in
`deepfake.one_class`.

With similarities s_1..s_Q in [-1, 1] the score is, by `scoring`,

    softmax   sum_k a_k s_k with a = softmax(s), no temperature
    mean      (s_1 + .. + s_Q) / Q: the ranking of one direction w_1 + .. + w_Q
    max       the nearest centroid alone
    own       the centroid of the recording's own level or speaker, which must be told

always mean <= softmax <= max.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import ModelError, RecipeError

Scoring = Literal["softmax", "mean", "max", "own"]


class OwnLevelConfig(Config):
    """How a recording's own level is found at test time: the number of `thresholds` that its MOS reaches."""

    estimator: str = "dnsmos"  # a name that `nn.pretrained.mos` knows
    thresholds: tuple[float, ...] = Field((2.5,), min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> OwnLevelConfig:
        if list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError("thresholds ascend")
        return self


class CentroidsConfig(Config):
    """`count` directions. `learned` ones start at random (standard normal), others at the first unit vectors.

    Scoring by `own` says in `own` how the level of a recording is found.
    """

    count: int = Field(default=2, ge=1)
    scoring: Scoring = "softmax"
    learned: bool = True
    own: OwnLevelConfig | None = None

    @model_validator(mode="after")
    def _own_is_told(self) -> CentroidsConfig:
        if (self.scoring == "own") != (self.own is not None):
            raise ValueError("scoring by `own` needs `own` with an estimator and thresholds, and only it does")
        if self.own is not None and len(self.own.thresholds) != self.count - 1:
            raise ValueError(f"{self.count} centroids are told apart by {self.count - 1} thresholds")
        return self

    def build(self, dim: int) -> Centroids:
        """For embeddings of `dim` values. Raises `RecipeError` where unit vectors are too few."""
        if not self.learned and self.count > dim:
            raise RecipeError(f"{self.count} centroids cannot start apart in {dim} dimensions", fix="Embed wider.")
        return Centroids(self, dim)


class Centroids(nn.Module):
    """Embeddings [B, D] -> logits [B, 2] whose difference is the score. `weight` [Q, D] need not have unit length.

    `epochs` counts what has passed for centroids that are computed anew every few epochs.
    """

    weight: Tensor
    epochs: Tensor

    def __init__(self, config: CentroidsConfig, dim: int) -> None:
        super().__init__()
        self.config, self.scoring = config, config.scoring
        if config.learned:
            self.weight = nn.Parameter(torch.randn(config.count, dim))
        else:
            self.register_buffer("weight", torch.eye(config.count, dim))
            self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))

    def similarities(self, embeddings: Tensor) -> Tensor:
        """Cosines [B, D] -> [B, Q], in float32 at least; an item's do not depend on its batch."""
        x = F.normalize(embeddings if embeddings.dtype == torch.float64 else embeddings.float(), dim=1)
        return (x.unsqueeze(1) * F.normalize(self.weight, dim=1)).sum(-1)

    def score(self, similarities: Tensor, own: Tensor | None = None) -> Tensor:
        """[B, Q] -> [B], higher = bona fide; `own` int64 [B] says each item's centroid. Raises `ModelError` without it
        where it is needed."""
        return centroid_score(similarities, self.scoring, own)

    def forward(self, embeddings: Tensor) -> Tensor:
        """[B, D] -> logits [B, 2] = (-score / 2, score / 2)."""
        return as_logits(self.score(self.similarities(embeddings)))

    def cosine(self) -> float:
        """The largest cosine between two centroids; 1 for a single one."""
        unit = F.normalize(self.weight.detach().double(), dim=1)
        between = (unit @ unit.T)[~torch.eye(len(unit), dtype=torch.bool, device=unit.device)]
        return float(between.max()) if len(between) else 1.0


def centroid_score(similarities: Tensor, scoring: Scoring, own: Tensor | None = None) -> Tensor:
    """Similarities [B, Q] -> scores [B]. Raises `ModelError` for scoring by `own` where nobody tells it."""
    if scoring == "max":
        return similarities.amax(1)
    if scoring == "mean":
        return similarities.mean(1)
    if scoring == "softmax":
        return (similarities.softmax(1) * similarities).sum(1)
    if own is None:
        raise ModelError(
            "scores by the centroid of a recording's own quality, and no quality estimator was handed in",
            fix="Hand one in, or score by softmax, mean or max.",
        )
    return similarities.gather(1, own.unsqueeze(1)).squeeze(1)


def as_logits(score: Tensor) -> Tensor:
    """Scores [B] -> logits [B, 2] whose difference, index 1 minus index 0, is the score to the last bit."""
    return torch.stack([-score / 2, score / 2], dim=1)
