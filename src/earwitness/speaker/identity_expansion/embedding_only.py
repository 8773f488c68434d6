"""Without a synthesiser: a small head learns on interpolated voice prints. It tests geometry, not the paper's claim.

The class of a new identity is its pair; a sample of it lies between a print of either parent, at a share drawn around
one half (2.5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.nn.losses import AamConfig
from earwitness.speaker.comparison import Vectors, unit
from earwitness.speaker.identity_expansion.interpolation import slerp
from earwitness.speaker.identity_expansion.pairs import Pair

SPREAD = 0.05  # of the share around alpha


class HeadConfig(Config):
    """A linear head of `dim` values, learnt in `steps` of `batch` samples, `share` of them interpolated."""

    dim: int = Field(64, ge=2)
    steps: int = Field(300, ge=1)
    batch: int = Field(64, ge=2)
    share: float = Field(0.3, ge=0, le=0.3)
    lr: float = Field(0.01, gt=0)
    margin: AamConfig = AamConfig()
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Head:
    """A linear map of voice prints. `weight` [dim, D]."""

    weight: Vectors

    def __call__(self, prints: Vectors) -> Vectors:
        """Unit vectors [n, D] to unit vectors [n, dim]."""
        return unit(prints @ self.weight.T)


def interpolated(pair: Pair, prints: Mapping[str, Vectors], rng: np.random.Generator) -> Vectors:
    """One sample [D] of a new identity, from a random print of either parent. Raises `DataError` without prints."""
    sides = [prints.get(name, np.empty((0, 0))) for name in (pair.parent_a, pair.parent_b)]
    if not all(len(side) for side in sides):
        raise DataError(f"a parent of {pair.new_id} has no voice print")
    first, second = (side[int(rng.integers(len(side)))] for side in sides)
    alpha = float(np.clip(rng.normal(pair.alpha, SPREAD), 0, 1))
    return np.asarray(slerp(first, second, alpha), np.float32)


def train_head(prints: Mapping[str, Vectors], pairs: Sequence[Pair], config: HeadConfig) -> Head:
    """Learn to tell the speakers of unit `prints` [n, D] apart, and the identities of `pairs` (none: real ones only).

    Steps and batches are the same with and without pairs. Raises `DataError` with fewer than two speakers.
    """
    names = sorted(prints)
    if len(names) < 2:
        raise DataError(f"{len(names)} speaker(s) cannot be told apart")
    rng = np.random.default_rng(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    size = prints[names[0]].shape[1]
    weight = nn.Parameter(torch.randn(config.dim, size, generator=generator) / size**0.5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        margin = config.margin.build(config.dim, len(names) + len(pairs))
    optimiser = torch.optim.Adam([weight, *margin.parameters()], lr=config.lr)
    made = round(config.batch * min(config.share, len(pairs) / (len(names) + len(pairs))))
    for _ in range(config.steps):
        vectors, classes = _batch(prints, names, pairs, config.batch, made, rng)
        loss = margin(nn.functional.linear(vectors, weight), classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Head(weight.detach().numpy())


def _batch(
    prints: Mapping[str, Vectors],
    names: Sequence[str],
    pairs: Sequence[Pair],
    size: int,
    made: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Prints [size, D] and classes [size]: real ones first, then `made` interpolated."""
    real = rng.integers(len(names), size=size - made)
    vectors = [prints[names[k]][int(rng.integers(len(prints[names[k]])))] for k in real]
    new = rng.integers(len(pairs), size=made) if made else np.empty(0, np.int64)
    vectors += [interpolated(pairs[k], prints, rng) for k in new]
    return torch.from_numpy(np.stack(vectors).astype(np.float32)), torch.from_numpy(np.append(real, new + len(names)))
