"""The range of a teacher's features: what a generator's output is mapped to, and what a decibel is there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from pydantic import Field, JsonValue, model_validator
from torch import Tensor, nn

from earwitness.core.config import Config, parse_config
from earwitness.core.errors import ModelError
from earwitness.nn.encoders.identity import Identity
from earwitness.nn.frontends import FbankConfig, LogMelConfig
from earwitness.nn.frontends.base import Frontend
from earwitness.nn.network import Branch, Network
from earwitness.nn.pooling.simple import Statistics
from earwitness.nn.votes import Votes

INPUT_RANGE = "input_range"  # in the `extra` of a model.json
DEVIATIONS = 2.5  # of a feature to either side, where its mean and deviation are known


class RangeConfig(Config):
    """The lowest and highest value that features take, in the front-end's own units."""

    low: float = Field(-DEVIATIONS, allow_inf_nan=False)
    high: float = Field(DEVIATIONS, allow_inf_nan=False)

    @model_validator(mode="after")
    def _in_order(self) -> RangeConfig:
        if self.low >= self.high:
            raise ValueError("low lies below high")
        return self


@dataclass(frozen=True)
class InputSpace:
    """`low` and `high` [F, 1] of each feature, and `per_db` [F, 1]: what a gain of 1 dB adds (0: no log spectrum)."""

    low: Tensor
    high: Tensor
    per_db: Tensor

    @property
    def bands(self) -> int:
        """F."""
        return len(self.low)

    def from_unit(self, x: Tensor) -> Tensor:
        """Values in [0, 1], [..., F, N] -> the teacher's range."""
        low, high = self.low.to(x), self.high.to(x)
        return low + (high - low) * x

    def noise(self, count: int, frames: int) -> Tensor:
        """Uniform over the range, [count, 1, F, frames]: what a student learns from in the control arm."""
        return self.from_unit(torch.rand(count, 1, self.bands, frames))


def space_of(
    network: Network, extra: Mapping[str, JsonValue], given: RangeConfig | None, where: object = None
) -> InputSpace:
    """The space of a teacher: as the recipe gives it, as its model.json says, or as its own statistics tell.

    They tell where pooled statistics of the features themselves are normalised by batch-norm (a committee's votes).
    Raises `ModelError` where none of the three does.
    """
    frontends = [cast(Branch, branch).frontend for branch in network.branches]
    per_db = torch.cat([torch.full((frontend.dim, 1), _per_db(frontend)) for frontend in frontends])
    told = extra.get(INPUT_RANGE)
    if given is None and told is not None:
        given = parse_config(RangeConfig, told, where=where)
    if given is not None:
        ones = torch.ones_like(per_db)
        return InputSpace(given.low * ones, given.high * ones, per_db)
    low, high = _from_votes(network, where)
    return InputSpace(low, high, per_db)


def _per_db(frontend: Frontend) -> float:
    """What a decibel adds to a log spectrum; 0 for what is none, and for one that takes its mean off."""
    config = getattr(frontend, "config", None)
    if not isinstance(config, FbankConfig | LogMelConfig) or config.mean_norm:
        return 0.0
    if isinstance(config, FbankConfig):
        return math.log(10) / 10
    deviation = 1.0 if config.standard is None else config.standard[1]
    return math.log(10) / (10 if config.power == 2 else 20) / deviation if config.log else 0.0


def _from_votes(network: Network, where: object) -> tuple[Tensor, Tensor]:
    """Mean +- 2.5 deviations of each feature, from the batch-norms over [mean; deviation] of the features."""
    plain = all(
        isinstance(branch.encoder, Identity) and isinstance(branch.pooling, Statistics) for branch in network.branches
    )
    if not plain or not isinstance(network.classifier, Votes):
        raise ModelError(
            f"says nothing of the range of its features (`{INPUT_RANGE}` in model.json)",
            where=where,
            fix="Give `input_range: {low: ..., high: ...}` in the recipe, in the front-end's units.",
        )
    norms = [cast(nn.BatchNorm1d, members.norm) for members in network.classifier.members]
    halves = [torch.chunk(cast(Tensor, norm.running_mean).cpu(), 2) for norm in norms]
    mean = torch.cat([half[0] for half in halves]).unsqueeze(1)
    deviation = torch.cat([half[1] for half in halves]).unsqueeze(1)
    return mean - DEVIATIONS * deviation, mean + DEVIATIONS * deviation
