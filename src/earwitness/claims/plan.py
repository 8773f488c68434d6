"""What a claim is, before it is run: its statement, its arms, and which differences it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.claims.material import Material


@dataclass(frozen=True)
class Arm:
    """One way of doing it; `words` say what is done, for the table."""

    name: str
    words: str


@dataclass(frozen=True)
class Expected:
    """The direction that the paper states, written down before anything is judged: `better` has the lower EER."""

    better: str
    worse: str
    words: str


@dataclass(frozen=True)
class Plan:
    """`name` as on the command line, `source` with its arXiv number, `statement` in a sentence; `notes` say what is
    not as in the paper (front-end, data, budget), and what must be known to read the table."""

    name: str
    source: str
    statement: str
    arms: tuple[Arm, ...]
    expected: tuple[Expected, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A number that an arm tells of itself, e.g. its MACs or how often gradients were in conflict."""

    name: str
    value: float


@dataclass(frozen=True)
class ArmRun:
    """Scores of the test rows of a seed's rotation (`Material.sides(seed).test`), float64 [N], higher = bona fide."""

    scores: NDArray[np.float64]
    figures: tuple[Figure, ...] = ()


class Claim(Protocol):
    """An experiment. `run` trains one arm with one seed on `material.sides(seed).train`, chooses on `.dev` alone, and
    scores `.test`; `folder` is its own, for checkpoints: what is killed is run again with the same folder."""

    plan: Plan

    def run(self, arm: str, seed: int, material: Material, folder: Path) -> ArmRun:
        """Must give the same for the same arm, seed and material."""
        ...


def arm_names(plan: Plan) -> Sequence[str]:
    """In the order of the table."""
    return [arm.name for arm in plan.arms]
