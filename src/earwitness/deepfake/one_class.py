"""One-class losses: bona fide speech is drawn to one or several directions, spoofs are pushed from the nearest.

With cosines s_1..s_Q to the centroids (`nn.centroids`), d of an item is the cosine with its own centroid where it is
bona fide, and the largest one where it is a spoof:

    softplus(alpha (m0 - d))  bona fide        softplus(alpha (d - m1))  spoof        one plain mean over the batch

    oc_softmax   one learnt centroid (arXiv 2010.13995)
    samo         one a training speaker, its mean embedding, computed anew every few epochs (arXiv 2211.02718)
    qamo         one learnt a level of speech quality, and a term that keeps them apart (arXiv 2509.20679)
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from earwitness.core.config import Config
from earwitness.corpora.quality import MosLevels, QualitySource


class OneClassConfig(Config):
    """Bona fide is drawn nearer than `m0`, spoofs are pushed below `m1` (cosines); `alpha` is the sharpness."""

    alpha: float = Field(20.0, gt=0)
    m0: float = Field(0.9, ge=-1, le=1)
    m1: float = Field(0.2, ge=-1, le=1)

    @model_validator(mode="after")
    def _the_right_way_round(self) -> OneClassConfig:
        if self.m1 >= self.m0:
            raise ValueError("m0, for bona fide, lies above m1, for spoofs")
        return self


class OcSoftmaxConfig(OneClassConfig):
    """One centroid. The embedding is drawn within 25.8 degrees of it, so early losses near 18 a bona fide item are
    normal."""

    kind: Literal["oc_softmax"] = "oc_softmax"


class SamoConfig(OneClassConfig):
    """One centroid a bona fide speaker of training, computed after every `every` epochs."""

    kind: Literal["samo"] = "samo"
    m0: float = Field(0.7, ge=-1, le=1)
    m1: float = Field(0.0, ge=-1, le=1)
    every: int = Field(3, ge=1)  # epochs


class QamoConfig(OneClassConfig):
    """One centroid a level of `quality`. `weight` (lambda) is that of the AM-softmax over levels, of bona fide items
    alone, with `am_scale` (20 in the paper, 32 in its code) and `am_margin`.

    `assignment`: bona fide items are drawn to their own centroid, or to the nearest. What of both was kept in the
    published run without the quality term is not stated; with `weight: 0` either can be asked for.
    """

    kind: Literal["qamo"] = "qamo"
    weight: float = Field(0.1, ge=0)
    am_scale: float = Field(20.0, gt=0)
    am_margin: float = Field(0.4, ge=0, lt=2)
    assignment: Literal["own", "nearest"] = "own"
    quality: QualitySource = MosLevels()


OneClassLoss = OcSoftmaxConfig | SamoConfig | QamoConfig


def one_class_loss(
    config: OneClassConfig, similarities: Tensor, bona_fide: Tensor, own: Tensor | None = None
) -> Tensor:
    """Cosines [B, Q] and bool [B] -> scalar. `own` int64 [B]: each bona fide item's centroid (of spoofs not looked at;
    -1 or None: the nearest)."""
    return one_class_terms(config, similarities, bona_fide, own).mean()


def one_class_terms(
    config: OneClassConfig, similarities: Tensor, bona_fide: Tensor, own: Tensor | None = None
) -> Tensor:
    """The same of each item, [B]."""
    d = similarities.max(dim=1).values  # one index, also of equals: the others get no gradient
    if own is not None:
        told = similarities.gather(1, own.clamp_min(0).unsqueeze(1)).squeeze(1)
        d = torch.where(bona_fide & (own >= 0), told, d)
    return F.softplus(config.alpha * torch.where(bona_fide, config.m0 - d, d - config.m1))


def quality_loss(config: QamoConfig, similarities: Tensor, bona_fide: Tensor, levels: Tensor) -> Tensor:
    """AM-softmax over centroids (QAMO): the mean cross-entropy of bona fide items, 0 where
    there are none or only one centroid. Not weighted yet."""
    s, q = similarities[bona_fide], levels[bona_fide]
    if len(s) == 0 or s.shape[1] == 1:
        return similarities.sum() * 0
    margin = config.am_margin * F.one_hot(q, s.shape[1]).to(s.dtype)
    return F.cross_entropy(config.am_scale * (s - margin), q)
