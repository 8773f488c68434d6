"""AAM-softmax whose scale follows the embedding's uncertainty (U3-xi, arXiv 2601.15719; the released code's form).

    gap    = cos_y - max over j != y of cos_j                      no gradient
    kappa  = sqrt( e'e / sum_d e_d^2 (v_d + 0.5 - gap + 1e-6) )    gradient to e and v
    logits = scale * kappa * [AAM-penalised cosines]               then cross-entropy

High variance, or a narrow gap, gives a flatter soft-max. Where an item is far on its side (gap > 0.5) and certain, the
bracket is negative and has no root: it is held at 1e-3 (ours), and how often is counted.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from earwitness.core.errors import RecipeError
from earwitness.nn.losses.base import LossConfigBase, require_classes
from earwitness.nn.losses.margin import Aam, AamConfig

EPSILON = 1e-6


class UncertainAamConfig(LossConfigBase):
    """As `aam`; `offset` is what a gap of 0 adds to every variance, `floor` the least that the bracket may be."""

    kind: Literal["uncertain_aam"] = "uncertain_aam"
    margin: float = Field(default=0.2, ge=0, lt=math.pi / 2)
    scale: float = Field(default=32.0, gt=0)
    past_switch: Literal["sine", "continuous"] = "continuous"
    subcentres: int = Field(default=1, ge=1)
    offset: float = Field(default=0.5, gt=0)
    floor: float = Field(default=1e-3, gt=0)

    def build(self, input_dim: int, n_classes: int) -> UncertainAam:
        """Embeddings [B, input_dim]. Raises `RecipeError` for a single class, which has no gap to another."""
        if n_classes < 2:
            raise RecipeError("uncertain_aam needs two classes", fix="Train on more speakers, or use `aam`.")
        return UncertainAam(self, input_dim, n_classes)


class UncertainAam(Aam):
    """`brackets` and `clamped` count the brackets of kappa and those held at the floor, since `counted` was asked."""

    brackets: Tensor
    clamped: Tensor

    def __init__(self, config: UncertainAamConfig, input_dim: int, n_classes: int) -> None:
        plain = AamConfig(
            margin=config.margin,
            scale=config.scale,
            past_switch=config.past_switch,
            subcentres=config.subcentres,
        )
        super().__init__(plain, input_dim, n_classes)
        self._offset, self._floor = config.offset, config.floor
        for name in ("brackets", "clamped"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, inputs: Tensor, targets: Tensor, variance: Tensor | None = None) -> Tensor:
        """Embeddings [B, D], targets [B] and variances [B, D] -> scalar; None: embeddings without a doubt."""
        require_classes(targets, self.n_classes)
        cosines = self.cosines(inputs)
        true = targets.unsqueeze(1)
        logits = cosines.scatter(1, true, self.penalised(cosines.gather(1, true)))
        kappa = self.kappa(inputs, torch.zeros_like(inputs) if variance is None else variance, gap(cosines, targets))
        return F.cross_entropy(self.scale * kappa.unsqueeze(1) * logits, targets)

    def kappa(self, inputs: Tensor, variance: Tensor, gaps: Tensor) -> Tensor:
        """What multiplies the scale, [B], of embeddings and variances [B, D] and gaps [B]."""
        bracket = variance + (self._offset - gaps).unsqueeze(1) + EPSILON
        self.brackets += bracket.numel()
        self.clamped += (bracket.detach() < self._floor).sum()
        squares = inputs.square()
        spread = (squares * bracket.clamp_min(self._floor)).sum(1)
        return (squares.sum(1) / spread.clamp_min(torch.finfo(spread.dtype).tiny)).sqrt()

    def counted(self) -> tuple[int, int]:
        """Brackets that were held at the floor, and all of them; the count begins anew."""
        found = int(self.clamped), int(self.brackets)
        self.clamped.zero_()
        self.brackets.zero_()
        return found


@torch.no_grad()
def gap(cosines: Tensor, targets: Tensor) -> Tensor:
    """How far the true class's cosine lies above the best of the others, [B], of cosines [B, C]."""
    true = targets.unsqueeze(1)
    others = cosines.scatter(1, true, float("-inf")).amax(1)
    return cosines.gather(1, true).squeeze(1) - others
