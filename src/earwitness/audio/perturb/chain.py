"""Perturbations made of others: one of several, or several in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from earwitness.audio.perturb.base import BasePerturbationConfig, FloatArray, Operation, Perturbation
from earwitness.audio.recording import Samples

if TYPE_CHECKING:
    from earwitness.audio.perturb import PerturbationConfig


class OneOfConfig(BasePerturbationConfig):
    """One of `components`, drawn by `weights` (equally likely where none are given; they need not sum to 1)."""

    kind: Literal["one_of"] = "one_of"
    components: tuple[PerturbationConfig, ...] = Field(min_length=1)
    weights: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _weights_fit(self) -> OneOfConfig:
        if self.weights is None:
            return self
        if len(self.weights) != len(self.components):
            raise ValueError(f"{len(self.components)} components need as many weights, not {len(self.weights)}")
        if min(self.weights) < 0 or not 0 < sum(self.weights) < float("inf"):
            raise ValueError("weights are not negative, and one of them is above 0")
        return self

    def operation(self) -> Operation:
        """A weighted choice."""
        weights = np.asarray(self.weights or (1.0,) * len(self.components))
        edges = np.cumsum(weights / weights.sum())
        return OneOf(tuple(c.build() for c in self.components), tuple(edges.tolist()))


class SeriesConfig(BasePerturbationConfig):
    """All of `components`, in this order."""

    kind: Literal["series"] = "series"
    components: tuple[PerturbationConfig, ...] = Field(min_length=1)

    def operation(self) -> Operation:
        """One after the other."""
        return Series(tuple(c.build() for c in self.components))


@dataclass(frozen=True)
class OneOf:
    """Applies one of the perturbations; `edges` are the cumulative probabilities."""

    perturbations: tuple[Perturbation, ...]
    edges: tuple[float, ...]

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """What the drawn perturbation makes of the samples."""
        chosen = int(np.searchsorted(self.edges, rng.random() * self.edges[-1], side="right"))
        return self.perturbations[chosen](samples, rate, rng)


@dataclass(frozen=True)
class Series:
    """Applies every perturbation to what the one before made."""

    perturbations: tuple[Perturbation, ...]

    def __call__(self, samples: Samples, rate: int, rng: np.random.Generator) -> FloatArray:
        """What the last perturbation makes."""
        for perturbation in self.perturbations:
            samples = perturbation(samples, rate, rng)
        return samples
