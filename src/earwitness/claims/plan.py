"""What a claim is, before it is run: its statement, its arms, and which differences it is about; and what it is tried
on: a `Material` gives the sides of each seed and says how scores are judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from earwitness.metrics.bootstrap import Units
from earwitness.metrics.scores import Floats


@dataclass(frozen=True)
class Arm:
    """One way of doing it; `words` say what is done, for the table."""

    name: str
    words: str


@dataclass(frozen=True)
class Expected:
    """The direction that the paper states, written down before anything is judged: `better` has the lower error."""

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
    """What an arm said of each thing that its seed tests (a row, a trial), float64 [N] in the order of the material."""

    scores: NDArray[np.float64]
    figures: tuple[Figure, ...] = ()


class Tested(Protocol):
    """What the seeds of a claim are tested on, and how it is judged: `measure` names an error (lower is better), in per
    cent where its name does not end in another unit ("MAE in years"), and `definition` says what it is; `words` say
    what was tested, `units` are resampled together."""

    @property
    def measure(self) -> str: ...

    @property
    def definition(self) -> str: ...

    @property
    def words(self) -> str: ...

    @property
    def units(self) -> Units: ...

    def count(self, place: int) -> int:
        """How many scores the run of the seed at this place must give."""
        ...

    def error(self, place: int, scores: Floats) -> Callable[[Floats], float]:
        """The measure of one run as a function of how often each unit was drawn. It raises `MetricError` where such a
        draw holds nothing to compute it from."""
        ...


class Material(Protocol):
    """What a kind of claim is tried on."""

    @property
    def source(self) -> str:
        """The manifest it was read from."""
        ...

    @property
    def key(self) -> str:
        """sha256 of everything on which the sides of a seed depend: rows, audio, and the rule that splits them."""
        ...

    @property
    def inputs(self) -> dict[str, str]:
        """Hashes of what was read, for the record."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """How it was drawn and split, for the record."""
        ...

    @property
    def licences(self) -> Sequence[str]:
        """Those of its recordings."""
        ...

    def tested(self, seeds: Sequence[int]) -> Tested:
        """What these seeds are tested on."""
        ...


M = TypeVar("M", bound=Material)


class Claim(Protocol[M]):
    """An experiment on one kind of material. `run` trains one arm with one seed, chooses on the seed's dev side alone,
    and scores its test side; `folder` is its own, for checkpoints: what is killed is run again with the same folder."""

    @property
    def plan(self) -> Plan: ...

    def read(self, manifest: str | Path, folder: str | Path) -> M:
        """The material, from a manifest; what is computed of recordings is kept in `folder`."""
        ...

    def run(self, arm: str, seed: int, material: M, folder: Path) -> ArmRun:
        """Must give the same for the same arm, seed and material."""
        ...


def arm_names(plan: Plan) -> Sequence[str]:
    """In the order of the table."""
    return [arm.name for arm in plan.arms]
