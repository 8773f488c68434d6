"""Which mixtures are tried: a grid of shares, modes and noise, and for each target trial one of the same build without
the enrolled speaker.

A target trial and its non-target have one seed, so that both have as many voices, equally long and at the same places;
only who leads differs. Otherwise the number of voices or the lengths would give the answer away.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.audio.perturb.base import item_rng
from earwitness.core.errors import DataError, UsageError
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.mixtures.signal import Mode
from earwitness.corpora.mixtures.trials import SECONDS, MixtureTrial, drawn_seconds

SIR_DB = (-5.0, 15.0)


@dataclass(frozen=True)
class MixtureOptions:
    """`pairs` of a target and a non-target trial in every cell of the grid `rho` x `modes` x `snr_db` (None: no noise).

    Each mixture has one other voice beside the leading one (none at rho 1), and lasts `seconds`, drawn. With
    `same_corpus` all voices of a trial are of one corpus: otherwise the channel may tell them apart.
    """

    rho: tuple[float, ...] = (1.0, 0.8, 0.6, 0.4, 0.2)
    modes: tuple[Mode, ...] = ("concat", "overlap")
    snr_db: tuple[float | None, ...] = (None, 20.0, 10.0, 0.0)
    pairs: int = 20
    seconds: tuple[float, float] = SECONDS
    same_corpus: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `UsageError` for an empty grid or impossible numbers."""
        if not (self.rho and self.modes and self.snr_db and self.pairs > 0):
            raise UsageError("the grid is empty", fix="Give at least one rho, mode and SNR, and a pair.")
        if not all(0 < rho <= 1 for rho in self.rho) or not 0.5 <= self.seconds[0] <= self.seconds[1] or self.seed < 0:
            raise UsageError(
                "impossible mixtures", fix="rho lies in (0, 1]; 0.5 seconds or more, the shorter first; seed 0 or more."
            )


def plan(manifest: Manifest, options: MixtureOptions, root: str | Path) -> tuple[MixtureTrial, ...]:
    """The trials of a grid, paths against `root`, the folder of the list; all cells try the same voices.

    Raises `DataError` where no corpus has three speakers, one of them with two recordings.
    """
    voices = _Voices(manifest, options.same_corpus, Path(root))
    trials = []
    for number in range(options.pairs):
        rng = item_rng(options.seed, 0, f"mixture {number}")
        seed = int(rng.integers(2**31))
        enrol, target, stand_in, other = voices.drawn(rng)
        seconds = drawn_seconds(seed, options.seconds)
        sir_db = round(float(rng.uniform(*SIR_DB)), 1)
        for mode in options.modes:
            for rho in options.rho:
                others = (other,) if rho < 1 else ()
                ratio = sir_db if mode == "overlap" and rho < 1 else None
                for snr_db in options.snr_db:
                    build = (rho, mode, ratio, snr_db, seed, seconds)
                    trials.append(MixtureTrial(True, enrol, target, others, *build))
                    trials.append(MixtureTrial(False, enrol, None, (stand_in, *others), *build))
    return tuple(trials)


class _Voices:
    """Recordings by speaker within each corpus; whole files alone, as a list names files."""

    def __init__(self, manifest: Manifest, same_corpus: bool, root: Path) -> None:
        table = manifest.table
        named = same_corpus and "corpus" in table.columns
        corpora = table["corpus"].to_list() if named else [None] * len(manifest)
        found: dict[str, dict[str, list[str]]] = {}
        for row, corpus in zip(manifest.rows(), corpora, strict=True):
            if _usable(row):
                path = Path(os.path.relpath(manifest.resolve(row).absolute(), root.absolute())).as_posix()
                found.setdefault(str(corpus), {}).setdefault(str(row.speaker), []).append(path)
        self._corpora = [
            {speaker: sorted(paths) for speaker, paths in sorted(speakers.items())}
            for _, speakers in sorted(found.items())
            if len(speakers) >= 3 and any(len(paths) >= 2 for paths in speakers.values())
        ]
        if not self._corpora:
            fix = "Mixtures need three speakers (of one corpus), one of them with two recordings."
            raise DataError("has too few voices to mix", where=manifest.root, fix=fix)
        self._weights = [sum(len(paths) >= 2 for paths in speakers.values()) for speakers in self._corpora]

    def drawn(self, rng: np.random.Generator) -> tuple[str, str, str, str]:
        """Enrolment and test of one speaker, and one recording each of two others."""
        weights = np.asarray(self._weights) / sum(self._weights)
        speakers = self._corpora[int(rng.choice(len(self._corpora), p=weights))]
        who = [name for name, paths in speakers.items() if len(paths) >= 2]
        speaker = who[int(rng.integers(len(who)))]
        enrol, target = rng.choice(len(speakers[speaker]), 2, replace=False)
        left = [name for name in speakers if name != speaker]
        others = [left[place] for place in rng.choice(len(left), 2, replace=False)]
        first, second = (_one(speakers[name], rng) for name in others)
        return speakers[speaker][enrol], speakers[speaker][target], first, second


def _usable(row: Row) -> bool:
    """A whole mono recording of a known human speaker."""
    whole = row.start is None and row.end is None and row.channel is None
    return whole and row.speaker is not None and row.label != "spoof"


def _one(paths: Sequence[str], rng: np.random.Generator) -> str:
    return paths[int(rng.integers(len(paths)))]
