"""ACoRL-style complementary representations (arXiv 2404.15704): a network learns its task, and an adversary keeps it
from encoding what frozen members of an ensemble encode already. A reconstruction: the paper's structure is known, its
adversarial loss, predictor and schedules are not; those below are our own.

For an embedding z of the learner and v_k of member k, u = z / |z| and t_k = v_k / |v_k|, predictors f_k minimise

    L_a = (1/K) sum_k mean_i ( 1 - cos(f_k(u_i), t_k,i) )       or, with `mse`, of |f_k(u_i) - t_k,i|^2

while the learner minimises its own loss minus lambda L_a, by gradient reversal. Both sides have unit length, so that
neither scaling nor collapse of z, nor the members' scale, counts. A linear predictor with `mse` can explain nothing at
all exactly where z and v are uncorrelated.

The room above, `training.complementary_task`, trains with it; `metrics.redundancy` measures what came of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.config import Config

ALONE = "use alone: it was trained to complement other models, may be worse than any of them, and is meant to be fused"
"""What such a model must not be used for, as its card and the end of its training say."""


class ComplementaryConfig(Config):
    """`members`: model folders, or names of shipped models, that stay as they are.

    lambda rises from 0 to `lambda_max` over the first `warmup` of the steps. `predictor`: two layers with `hidden`
    units between, or a linear one; never batch-norm, which would tell it who else is in the batch. It has an Adam of
    its own, at `rate` times the recipe's base rate throughout, and takes `n_adv_steps` of it a batch before the learner
    takes its one. With `weight_decay` (AdamW's) the game settles where it would circle without: the gradient of a plain
    linear predictor turns the learner back and forth through the point at which nothing can be predicted.

    `condition: class` (our own extension) takes from each t_k the running mean of its class (by items until 1 /
    (1 - `momentum`) of them were heard, with `momentum` from then on), so that what both models must share, the class
    itself, is not held against the learner: for detectors, whose embeddings hold little else.
    """

    members: tuple[str, ...] = Field(min_length=1)
    lambda_max: float = Field(1.0, ge=0)
    warmup: float = Field(0.2, ge=0, le=1)
    loss: Literal["cosine", "mse"] = "cosine"
    predictor: Literal["mlp", "linear"] = "mlp"
    hidden: int = Field(256, ge=1)
    rate: float = Field(3.0, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    n_adv_steps: int = Field(1, ge=1, le=5)
    condition: Literal["none", "class"] = "none"
    momentum: float = Field(0.99, ge=0, lt=1)

    def weight(self, epochs: float, of: int) -> float:
        """lambda after so many of a run's epochs."""
        rising = self.warmup * of
        return self.lambda_max * (1.0 if rising <= 0 else min(1.0, epochs / rising))


@dataclass(frozen=True)
class Known:
    """What the members make of a batch: `targets` [B, d_k] of member k, and which items `count` (bool [B])."""

    targets: tuple[Tensor, ...]
    count: Tensor


class Adversary(nn.Module):
    """A predictor for every member, from the learner's embedding of `dim` values, and the class means they go by.

    `classes`: how many there are, where the targets are conditioned on them.
    """

    def __init__(self, config: ComplementaryConfig, dim: int, members: Sequence[int], classes: int = 0) -> None:
        super().__init__()
        self.config = config
        self.predictors = nn.ModuleList(_predictor(config, dim, size) for size in members)
        self.means = ClassMeans(classes, members, config.momentum) if config.condition == "class" else None

    def known(self, embeddings: Sequence[Tensor], classes: Tensor | None) -> Known:
        """Embeddings [B, d_k] of the members -> targets. With class means, they are moved by the batch afterwards."""
        units = tuple(F.normalize(embedding.detach().float()) for embedding in embeddings)
        if self.means is None or classes is None:
            return Known(units, torch.ones(len(units[0]), dtype=torch.bool, device=units[0].device))
        known = self.means.centred(units, classes)
        self.means.move(units, classes)
        return known

    def loss(self, units: Tensor, known: Known) -> Tensor:
        """L_a, of unit embeddings [B, dim] of the learner."""
        pairs = zip(self.predictors, known.targets, strict=True)
        return torch.stack([self._distance(f(units), target, known.count) for f, target in pairs]).mean()

    def _distance(self, predicted: Tensor, target: Tensor, count: Tensor) -> Tensor:
        """Over the items that count; 0 where none does."""
        if self.config.loss == "cosine":
            distance = 1 - F.cosine_similarity(predicted, target)
        else:
            distance = (predicted - target).square().sum(1)
        weights = count.to(distance.dtype)
        return (distance * weights).sum() / weights.sum().clamp_min(1)

    def average_gradients(self) -> None:
        """The predictors' gradients over all processes, where there are several."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                _over_processes(parameter.grad).div_(_processes())


class ClassMeans(nn.Module):
    """Running means of the members' unit embeddings by class: `counts` [C] items heard, and a mean [C, d_k] each."""

    counts: Tensor

    def __init__(self, classes: int, members: Sequence[int], momentum: float) -> None:
        super().__init__()
        self._momentum = momentum
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.float64))
        for number, size in enumerate(members):
            self.register_buffer(f"mean_{number}", torch.zeros(classes, size))

    @property
    def values(self) -> tuple[Tensor, ...]:
        """The mean [C, d_k] of every member."""
        return tuple(value for name, value in self.named_buffers() if name.startswith("mean_"))

    def centred(self, units: Sequence[Tensor], classes: Tensor) -> Known:
        """Without their class's mean as it was before; an item of a class that was never heard does not count."""
        rests = tuple(unit - mean[classes] for unit, mean in zip(units, self.values, strict=True))
        return Known(rests, self.counts[classes] > 0)

    @torch.no_grad()
    def move(self, units: Sequence[Tensor], classes: Tensor) -> None:
        """Take a batch in."""
        heard = torch.zeros_like(self.counts).index_add_(0, classes, torch.ones_like(classes, dtype=torch.float64))
        heard = _over_processes(heard)
        self.counts += heard
        share = (heard / self.counts.clamp_min(1)).clamp_min(1 - self._momentum) * (heard > 0)
        for unit, mean in zip(units, self.values, strict=True):
            sums = _over_processes(torch.zeros_like(mean).index_add_(0, classes, unit))
            new = sums / heard.clamp_min(1).unsqueeze(1)
            mean.add_((share.unsqueeze(1) * (new - mean)).to(mean.dtype))


def _predictor(config: ComplementaryConfig, dim: int, size: int) -> nn.Module:
    if config.predictor == "linear":
        return nn.Linear(dim, size)
    return nn.Sequential(nn.Linear(dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, size))


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _over_processes(values: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if _processes() > 1:
        dist.all_reduce(values)
    return values
