"""What SVVAD learns by: triplet-like terms on the frozen verifier's vectors, without a label of any frame.

The abstract of arXiv 2305.19581 says "label-free training method with triplet-like losses" and no more: every equation,
margin and weight here is a reconstruction. d(u, v) = 1 - u.v of unit vectors:

    triplet    max(0, d(r, a+) - d(r, n-) + m)          the speaker in a mixture is nearer than who is not in it
    reference  max(0, d(a0, a+) - d(a0, raw) + m')      the gated mixture is nearer to the clean voice than the raw one
    negative   max(0, n-.r - S(impostor).r)             being conditioned on r must not turn others into r
    identity   d(a0, ai)                                clean speech of the speaker is left alone
    coverage   max(0, floor - mean gamma)               mixtures with the speaker are not muted
    absence    mean gamma of the impostors              recordings without the speaker are muted (off as a rule)

r registration, a+ gated mixture, n- gated impostors, a0 clean target, ai gated clean target.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field, model_validator
from torch import Tensor

from earwitness.core.config import Config


class LossConfig(Config):
    """Weights of the terms (0 switches one off; `triplet` alone is the least that the abstract says), margins and the
    floor of coverage."""

    triplet: float = Field(1.0, ge=0)
    reference: float = Field(0.5, ge=0)
    negative: float = Field(1.0, ge=0)
    identity: float = Field(0.5, ge=0)
    coverage: float = Field(0.1, ge=0)
    absence: float = Field(0.0, ge=0)
    margin: float = Field(0.3, ge=0)
    reference_margin: float = Field(0.05, ge=0)
    coverage_floor: float = Field(0.15, ge=0, le=1)

    @model_validator(mode="after")
    def _something(self) -> LossConfig:
        if not any((self.triplet, self.reference, self.negative, self.identity, self.coverage, self.absence)):
            raise ValueError("every term is switched off")
        return self


@dataclass(frozen=True)
class Vectors:
    """Unit vectors [B, E] of a batch, and the mean gamma [B] of its mixtures and impostors. None: no term asked for
    it."""

    registration: Tensor
    mixture: Tensor  # gated
    impostor: Tensor  # gated
    raw_mixture: Tensor
    raw_impostor: Tensor
    gamma: Tensor
    impostor_gamma: Tensor
    clean: Tensor | None = None
    gated_clean: Tensor | None = None


def hinges(vectors: Vectors, config: LossConfig) -> dict[str, Tensor]:
    """Each term that is switched on, an item's value [B], not weighted."""
    to_mixture = _cosine(vectors.registration, vectors.mixture)
    to_impostor = _cosine(vectors.registration, vectors.impostor)
    found: dict[str, Tensor] = {}
    if config.triplet:
        found["triplet"] = torch.relu(to_impostor - to_mixture + config.margin)
    if config.reference and vectors.clean is not None:
        raw, gated = _cosine(vectors.clean, vectors.raw_mixture), _cosine(vectors.clean, vectors.mixture)
        found["reference"] = torch.relu(raw - gated + config.reference_margin)
    if config.negative:
        found["negative"] = torch.relu(to_impostor - _cosine(vectors.registration, vectors.raw_impostor))
    if config.identity and vectors.clean is not None and vectors.gated_clean is not None:
        found["identity"] = 1 - _cosine(vectors.clean, vectors.gated_clean)
    if config.coverage:
        found["coverage"] = torch.relu(config.coverage_floor - vectors.gamma)
    if config.absence:
        found["absence"] = vectors.impostor_gamma
    return found


def _cosine(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum(-1)
