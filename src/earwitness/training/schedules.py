"""Learning-rate schedules as pure functions of where a run stands, so that a resumed run needs no schedule state.

A new schedule is a config class here and a member of `ScheduleConfig`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from earwitness.core.config import Config

Schedule = Callable[[int, int], float]
"""(optimiser steps done, epochs done) -> learning rate of the next step."""


@dataclass(frozen=True)
class RunLength:
    """How long a run is: `batch` utterances a step over all devices, at the optimiser's base rate `lr`."""

    lr: float
    epochs: int
    steps_per_epoch: int
    batch: int

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.epochs * self.steps_per_epoch


class ConstantConfig(Config):
    """The base rate throughout."""

    kind: Literal["constant"] = "constant"

    def build(self, run: RunLength) -> Schedule:
        """lr(i) = lr."""
        return lambda step, epoch: run.lr


class CosineConfig(Config):
    """Cosine annealing (arXiv 1608.03983, without restarts): down to `min_lr` in `t_max` epochs or steps, then up
    again.

    `t_max` None: the whole run.
    """

    kind: Literal["cosine"] = "cosine"
    per: Literal["epoch", "step"] = "epoch"
    t_max: int | None = Field(None, gt=0)
    min_lr: float = Field(0.0, ge=0)

    def build(self, run: RunLength) -> Schedule:
        """lr(i) = min + (lr - min)(1 + cos(pi i / t_max)) / 2."""
        t_max = self.t_max or (run.epochs if self.per == "epoch" else run.steps)

        def lr(step: int, epoch: int) -> float:
            return _cosine(run.lr, self.min_lr, (epoch if self.per == "epoch" else step) / t_max)

        return lr


class ExponentialConfig(Config):
    """Exponential decay to `final_lr` over the run, after a linear warm-up from 0, as WeSpeaker trains (arXiv
    2210.17016).

    With `reference_batch` all rates are multiplied by batch / reference_batch.
    """

    kind: Literal["exponential"] = "exponential"
    final_lr: float = Field(5e-5, gt=0)
    warmup_epochs: float = Field(6.0, ge=0)
    reference_batch: int | None = Field(64, gt=0)

    def build(self, run: RunLength) -> Schedule:
        """lr(i) = k(i) lr (final / lr)^(i / i_max); k = scale min(1, i / i_warm)."""
        scale = run.batch / self.reference_batch if self.reference_batch else 1.0
        warmup = self.warmup_epochs * run.steps_per_epoch

        def lr(step: int, epoch: int) -> float:
            decay = math.pow(self.final_lr / run.lr, step / run.steps)
            return scale * _ramp(step, warmup) * run.lr * decay

        return lr


class WarmupCosineConfig(Config):
    """A linear warm-up over the first `warmup` share of the steps, then one cosine down to `min_lr` at the end."""

    kind: Literal["warmup_cosine"] = "warmup_cosine"
    warmup: float = Field(0.03, ge=0, lt=1)
    min_lr: float = Field(0.0, ge=0)

    def build(self, run: RunLength) -> Schedule:
        """lr(i) = lr i / i_warm during warm-up, then as in cosine annealing over the steps that are left."""
        warmup = round(self.warmup * run.steps)

        def lr(step: int, epoch: int) -> float:
            if step < warmup:
                return run.lr * _ramp(step, warmup)
            return _cosine(run.lr, self.min_lr, (step - warmup) / max(1, run.steps - warmup))

        return lr


class StepConfig(Config):
    """The base rate times `factor` to the power of how often `every` epochs have passed."""

    kind: Literal["step"] = "step"
    every: int = Field(10, gt=0)
    factor: float = Field(0.5, gt=0, le=1)

    def build(self, run: RunLength) -> Schedule:
        """lr(i) = lr factor^floor(epoch / every)."""
        return lambda step, epoch: run.lr * self.factor ** (epoch // self.every)


class MilestonesConfig(Config):
    """The base rate times `factor` once for each of the epochs `at` that has begun."""

    kind: Literal["milestones"] = "milestones"
    at: tuple[int, ...] = Field((60, 80), min_length=1)
    factor: float = Field(0.1, gt=0, le=1)

    def build(self, run: RunLength) -> Schedule:
        """lr(i) = lr factor^(milestones up to the epoch)."""
        return lambda step, epoch: run.lr * self.factor ** sum(epoch >= begun for begun in self.at)


class CyclicConfig(Config):
    """The triangular cyclical rate (arXiv 1506.01186): `min_lr` up to the base rate in `step_size` steps, and down
    again.
    """

    kind: Literal["cyclic"] = "cyclic"
    min_lr: float = Field(1e-8, ge=0)
    step_size: int = Field(65_000, gt=0)

    def build(self, run: RunLength) -> Schedule:
        """lr(i) = min + (lr - min) max(0, 1 - |i / step_size - 2 cycle - 1|), cycle = floor(i / (2 step_size))."""

        def lr(step: int, epoch: int) -> float:
            cycle = step // (2 * self.step_size)
            return self.min_lr + (run.lr - self.min_lr) * max(0.0, 1 - abs(step / self.step_size - 2 * cycle - 1))

        return lr


ScheduleConfig = Annotated[
    ConstantConfig
    | CosineConfig
    | ExponentialConfig
    | WarmupCosineConfig
    | StepConfig
    | MilestonesConfig
    | CyclicConfig,
    Field(discriminator="kind"),
]


def _cosine(high: float, low: float, progress: float) -> float:
    return low + (high - low) * (1 + math.cos(math.pi * progress)) / 2


def _ramp(step: int, length: float) -> float:
    return 1.0 if length <= 0 else min(1.0, step / length)
