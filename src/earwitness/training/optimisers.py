"""Optimisers by name. A new one is a config class here and a member of `OptimiserConfig`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, field_validator
from torch import nn

from earwitness.core.config import Config
from earwitness.core.errors import RecipeError
from earwitness.training.tensors import stands_under

Named = Iterable[tuple[str, nn.Parameter]]


class PartConfig(Config):
    """The parameters under one dotted name (`branches.0.frontend`, `classifier`) learn at a base rate of their own."""

    prefix: str = Field(min_length=1)
    lr: float = Field(gt=0)


class OptimiserConfigBase(Config):
    """What every optimiser has: a base rate, and parts of the network with another one.

    A parameter that stands under several of the prefixes goes by the longest.
    """

    lr: float = Field(1e-3, gt=0)
    parts: tuple[PartConfig, ...] = ()

    @field_validator("parts")
    @classmethod
    def _named_once(cls, parts: tuple[PartConfig, ...]) -> tuple[PartConfig, ...]:
        prefixes = [part.prefix for part in parts]
        if twice := sorted({prefix for prefix in prefixes if prefixes.count(prefix) > 1}):
            raise ValueError(f"the prefix '{twice[0]}' stands twice")
        return parts

    def groups(self, named: Named) -> list[dict[str, Any]]:
        """Parameter groups for torch, in the order of the parameters; `share` is a group's rate over the base rate.

        Raises `RecipeError` for a prefix under which no parameter learns.
        """
        found: dict[PartConfig | None, list[nn.Parameter]] = {}
        for name, parameter in named:
            holding = [part for part in self.parts if stands_under(name, part.prefix)]
            part = max(holding, key=lambda part: len(part.prefix), default=None)
            found.setdefault(part, []).append(parameter)
        if idle := [part.prefix for part in self.parts if part not in found]:
            raise RecipeError(
                f"optimiser.parts: no parameter that learns stands under '{idle[0]}'",
                fix="Prefixes are names of the network's parts, such as branches.0.frontend or classifier.",
            )
        rates = {part: self.lr if part is None else part.lr for part in found}
        return [
            {"params": members, "lr": rates[part], "share": rates[part] / self.lr} for part, members in found.items()
        ]


class AdamConfig(OptimiserConfigBase):
    """Adam (arXiv 1412.6980); `weight_decay` is an L2 term in the gradient, as the field's recipes use it."""

    kind: Literal["adam"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)

    def build(self, named: Named) -> torch.optim.Optimizer:
        """The optimiser of these parameters. Raises `RecipeError` as `groups` does."""
        return torch.optim.Adam(self.groups(named), self.lr, self.betas, self.eps, self.weight_decay)


class AdamWConfig(OptimiserConfigBase):
    """Adam with decoupled weight decay (arXiv 1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(1e-2, ge=0)

    def build(self, named: Named) -> torch.optim.Optimizer:
        """The optimiser of these parameters. Raises `RecipeError` as `groups` does."""
        return torch.optim.AdamW(self.groups(named), self.lr, self.betas, self.eps, self.weight_decay)


class SgdConfig(OptimiserConfigBase):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(1e-4, ge=0)

    def build(self, named: Named) -> torch.optim.Optimizer:
        """The optimiser of these parameters. Without momentum there is nothing for Nesterov to look ahead with.

        Raises `RecipeError` as `groups` does.
        """
        nesterov = self.nesterov and self.momentum > 0
        return torch.optim.SGD(
            self.groups(named), self.lr, self.momentum, weight_decay=self.weight_decay, nesterov=nesterov
        )


OptimiserConfig = Annotated[AdamConfig | AdamWConfig | SgdConfig, Field(discriminator="kind")]
