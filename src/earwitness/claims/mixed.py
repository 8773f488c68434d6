"""The recordings of claims about voices as mixtures: what a seed tests is who of its test speakers leads a mixture.

Every target trial has a non-target of the same build (as many voices, equally long, at the same places). An error is
the mean of those in the cells of the grid in which the claimed speaker shares the recording with another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.claims.material import Places
from earwitness.claims.speakers import SpeakerMaterial, TestedTrials
from earwitness.claims.store import Halves
from earwitness.claims.views import View
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.mixtures import MixtureOptions, MixtureTrial, Mode, plan
from earwitness.metrics.scores import Floats
from earwitness.metrics.trials import Trials

SHARES = (1.0, 0.8, 0.6, 0.4, 0.2)
MODES: tuple[Mode, ...] = ("concat", "overlap")
PAIRS = 60
"""Of a target and a non-target trial in each cell, the same voices in all cells."""
SECONDS = 4.0
THINNED = 2
"""Of so many frames one is heard: a verifier of 50 frames a second costs half."""
Cells = NDArray[np.int64]


@dataclass(frozen=True)
class MixedMaterial(SpeakerMaterial):
    """Mixtures are made of whole recordings; spectra are kept for the verifier alone, every second frame of them."""

    @property
    def settings(self) -> dict[str, Any]:
        """And the grid of the mixtures."""
        return {**super().settings, "shares": SHARES, "modes": MODES, "pairs": PAIRS, "seconds": SECONDS}

    def spectra(self, view: View = "clean", speed: float = 1.0) -> Halves:
        """[R, T, 80], 50 frames a second."""
        return super().spectra(view, speed)[:, ::THINNED]

    def part(self, places: Places) -> Manifest:
        """Some of the rows, with the stratum as their corpus: voices are mixed within it."""
        return self.rows.with_table(self.rows.table[places].with_columns(corpus=pl.col("stratum")))

    def mixtures(self, seed: int) -> tuple[MixtureTrial, ...]:
        """What a seed tests; at a share of 1 there is no other voice, and one mode is enough."""
        options = MixtureOptions(SHARES, MODES, (None,), PAIRS, (SECONDS, SECONDS), seed=seed)
        found = plan(self.part(self.sides(seed).test), options, self.rows.root)
        return tuple(trial for trial in found if trial.rho < 1 or trial.mode == MODES[0])

    def tested(self, seeds: Sequence[int]) -> TestedMixtures:
        """The mixtures of these seeds."""
        return TestedMixtures.mixed(self, [self.mixtures(seed) for seed in seeds])

    def led(self, trials: Sequence[MixtureTrial]) -> NDArray[np.int64]:
        """The rows of who is claimed and who leads, [N, 2]."""
        return np.array([[self._place[trial.enrol], self._place[trial.voices[0]]] for trial in trials])

    @cached_property
    def _place(self) -> dict[str, int]:
        """Of each recording as trials name it."""
        root = self.rows.root.absolute()
        paths = (os.path.relpath(self.rows.resolve(row).absolute(), root) for row in self.rows.rows())
        return {path.replace(os.sep, "/"): place for place, path in enumerate(paths)}


@dataclass(frozen=True)
class TestedMixtures(TestedTrials):
    """`Tested`: the mixtures of each seed; a trial counts as often as who is claimed and who leads are drawn.

    `cells`: for each seed the cell of each trial, -1 where the speaker is alone.
    """

    definition: str = "interpolated, in per cent; mean over shares below 1 and modes, then over seeds"
    cells: tuple[Cells, ...] = ()

    @classmethod
    def mixed(cls, material: MixedMaterial, trials: Sequence[Sequence[MixtureTrial]]) -> TestedMixtures:
        """Units are the speakers of all trials."""
        found = TestedTrials.of(material, [material.led(some) for some in trials])
        grid = [(rho, mode) for rho in SHARES if rho < 1 for mode in MODES]
        cells = tuple(np.array([_cell(grid, trial) for trial in some]) for some in trials)
        words = (
            f"{len(grid)} cells of {PAIRS} target and {PAIRS} non-target mixtures a seed, {found.units.count} speakers"
        )
        return cls(found.pairs, found.same, found.units, words, cells=cells)

    def error(self, place: int, scores: Floats) -> Callable[[Floats], float]:
        """The mean EER of the cells in per cent of scores [N], higher = the claimed speaker is heard."""
        start, cells, same = sum(len(found) for found in self.pairs[:place]), self.cells[place], self.same[place]
        every = []
        for cell in sorted(set(cells.tolist()) - {-1}):
            target, other = np.flatnonzero((cells == cell) & same), np.flatnonzero((cells == cell) & ~same)
            units = self.units.take(start + np.concatenate([target, other]))
            every.append(Trials(scores[target], scores[other], units))
        return lambda counts: 100 * float(np.mean([trials.resample(counts).eer() for trials in every]))


def _cell(grid: Sequence[tuple[float, Mode]], trial: MixtureTrial) -> int:
    return grid.index((trial.rho, trial.mode)) if trial.rho < 1 else -1
