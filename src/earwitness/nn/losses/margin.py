"""Margin losses over cosines: AAM-softmax (ArcFace, arXiv 1801.07698), AM-softmax (arXiv 1801.05599), sub-centres.

Cosine logits c_j between unit class weights and the unit embedding; the true class y gets a penalty, everything is
scaled and goes through cross-entropy without bias. With sub-centres (arXiv 2110.05042) c_j is the largest of K cosines
of a class.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.nn.losses.base import Loss, LossConfigBase, require_classes

COSINE_LIMIT = 1 - 1e-7  # beyond it the gradient of the sine is not finite


class AamConfig(LossConfigBase):
    """Additive angular margin. `past_switch` says what stands for cos(theta + m) once theta + m would pass 180 degrees:
    'sine' c - m sin(pi - m) (SpeechBrain, voxceleb_trainer), or 'continuous' c - 1 - cos(pi - m) (WeSpeaker)."""

    kind: Literal["aam"] = "aam"
    margin: float = Field(default=0.2, ge=0, lt=math.pi / 2)
    scale: float = Field(default=32.0, gt=0)
    past_switch: Literal["sine", "continuous"] = "sine"
    easy_margin: bool = False
    subcentres: int = Field(default=1, ge=1)

    def build(self, input_dim: int, n_classes: int) -> Aam:
        """Embeddings [B, input_dim]."""
        return Aam(self, input_dim, n_classes)


class AmConfig(LossConfigBase):
    """Additive margin on the cosine: c_y - m."""

    kind: Literal["am"] = "am"
    margin: float = Field(default=0.2, ge=0, lt=1)
    scale: float = Field(default=32.0, gt=0)
    subcentres: int = Field(default=1, ge=1)

    def build(self, input_dim: int, n_classes: int) -> Am:
        """Embeddings [B, input_dim]."""
        return Am(self, input_dim, n_classes)


class MarginLoss(Loss):
    """Owns the class weights [n_classes * K, D] (Xavier uniform). `margin` may be set between steps by a schedule."""

    def __init__(self, config: AamConfig | AmConfig, input_dim: int, n_classes: int) -> None:
        super().__init__()
        self.margin = self.full_margin = config.margin
        self.scale = config.scale
        self.n_classes = n_classes
        self._subcentres = config.subcentres
        self.weight = nn.Parameter(torch.empty(n_classes * config.subcentres, input_dim))
        nn.init.xavier_uniform_(self.weight)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """[B, D] -> cosines with every class [B, n_classes], the nearest sub-centre of each."""
        cosines = F.linear(F.normalize(embeddings), F.normalize(self.weight))
        return cosines.reshape(len(embeddings), self.n_classes, self._subcentres).amax(-1)

    def penalised(self, cosine: Tensor) -> Tensor:
        """The true class's cosine c_y with the margin taken off; any shape."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Embeddings [B, D], targets [B] -> scalar."""
        require_classes(targets, self.n_classes)
        cosines = self.cosines(inputs)
        true = targets.unsqueeze(1)
        logits = cosines.scatter(1, true, self.penalised(cosines.gather(1, true)))
        return F.cross_entropy(self.scale * logits, targets)


class Aam(MarginLoss):
    """phi = cos(theta_y + m) while theta_y + m < 180 degrees."""

    def __init__(self, config: AamConfig, input_dim: int, n_classes: int) -> None:
        super().__init__(config, input_dim, n_classes)
        self._easy = config.easy_margin
        self._past_switch = config.past_switch

    def penalised(self, cosine: Tensor) -> Tensor:
        """cos(theta + m); past the switch c - k; with easy margin c itself where c <= 0."""
        m = self.margin
        sine = torch.sqrt(1 - cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT).square())
        phi = cosine * math.cos(m) - sine * math.sin(m)
        if self._easy:
            return torch.where(cosine > 0, phi, cosine)
        k = m * math.sin(math.pi - m) if self._past_switch == "sine" else 1 + math.cos(math.pi - m)
        return torch.where(cosine > math.cos(math.pi - m), phi, cosine - k)


class Am(MarginLoss):
    """phi = c_y - m."""

    def penalised(self, cosine: Tensor) -> Tensor:
        """c - m."""
        return cosine - self.margin


def scheduled_margin(progress: float, start: float = 0.0, end: float = 0.2) -> float:
    """start + (end - start)(1 - 0.001^r) at progress r: 0 where the margin begins to grow, 1 where it is fixed.

    Before 0 it is `start`; after 1 it is `end`.
    """
    if progress > 1:
        return end
    return start + (end - start) * (1 - math.pow(0.001, max(0.0, progress)))


class MarginRiseConfig(Config):
    """The margin grows from `start` to that of its loss between two moments, in epochs that have passed; WeSpeaker
    (arXiv 2210.17016) has 20 and 40 of 150."""

    start: float = Field(default=0.0, ge=0)
    begins: float = Field(default=20.0, ge=0)
    fixed: float = Field(default=40.0, gt=0)

    @model_validator(mode="after")
    def _takes_time(self) -> MarginRiseConfig:
        if self.fixed <= self.begins:
            raise ValueError("the margin is fixed after it begins to grow")
        return self

    def at(self, epochs: float, margin: float) -> float:
        """The margin when so many epochs have passed; `margin` is what it grows to."""
        return scheduled_margin((epochs - self.begins) / (self.fixed - self.begins), self.start, margin)
