"""Error rates over the grid of mixtures: by share of the speaker, mode and noise, for every system."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from earwitness.core.errors import DataError
from earwitness.evaluation.personal_vad.scoring import GAMMAS
from earwitness.evaluation.personal_vad.systems import NO_VAD, SVVAD, SYSTEMS
from earwitness.metrics.bootstrap import Paired, Units, paired
from earwitness.metrics.costs import VOX01
from earwitness.metrics.detection import eer, min_dcf
from earwitness.metrics.scores import Floats
from earwitness.metrics.trials import Trials


@dataclass(frozen=True)
class SystemFigures:
    """One system in one cell. `shift`: the EER threshold minus that at rho 1 in the same mode and noise; None where the
    grid has no rho 1."""

    system: str
    eer: float
    min_dcf: float
    threshold: float
    shift: float | None


@dataclass(frozen=True)
class Cell:
    """One mode, share and noise (None: clean), with the trials that it rests on."""

    mode: str
    rho: float
    snr_db: float | None
    targets: int
    nontargets: int
    systems: tuple[SystemFigures, ...]


@dataclass(frozen=True)
class Gain:
    """SVVAD against the plain verifier at one share, over all modes and noises: EERs with intervals over speakers."""

    rho: float
    eer: Paired


@dataclass(frozen=True)
class Gamma:
    """Where gamma is high, as means over target trials; None where no trial can say."""

    auc_other: float | None
    auc_rest: float | None
    lead: float | None
    others: float | None
    silence: float | None


def cells(table: pl.DataFrame) -> tuple[Cell, ...]:
    """Every cell with trials of both kinds, from rho 1 down. Raises `DataError` where there is none."""
    heard = table.filter(pl.col("error").is_null())
    found: list[Cell] = []
    whole: dict[tuple[str, float | None, str], float] = {}
    keys = (
        heard.select("mode", "rho", "snr_db")
        .unique()
        .sort(["mode", "snr_db", "rho"], descending=[False, True, True], nulls_last=False)
    )
    for mode, rho, snr_db in keys.iter_rows():
        part = heard.filter((pl.col("mode") == mode) & (pl.col("rho") == rho) & pl.col("snr_db").eq_missing(snr_db))
        if part["label"].n_unique() < 2:
            continue
        systems = []
        for system in SYSTEMS:
            positive, negative = _sides(part, system)
            crossing = eer(positive, negative)
            if rho == 1:
                whole[mode, snr_db, system] = crossing.threshold
            base = whole.get((mode, snr_db, system))
            shift = None if base is None else crossing.threshold - base
            lowest = min_dcf(positive, negative, VOX01).value
            systems.append(SystemFigures(system, crossing.value, lowest, crossing.threshold, shift))
        found.append(Cell(mode, rho, snr_db, len(positive), len(negative), tuple(systems)))
    if not found:
        fix = "Target and non-target trials of one mode, rho and SNR are needed; see the errors of single trials."
        raise DataError("no cell of the grid has trials of both kinds that could be heard", fix=fix)
    return tuple(found)


def gains(table: pl.DataFrame, n_resamples: int, seed: int) -> Iterator[Gain]:
    """From rho 1 down, over all cells together; enrolments are resampled."""
    heard = table.filter(pl.col("error").is_null())
    for rho in sorted(heard["rho"].unique(), reverse=True):
        part = heard.filter(pl.col("rho") == rho)
        if part["label"].n_unique() < 2:
            continue
        ordered = pl.concat([part.filter("label"), part.filter(~pl.col("label"))])
        units = Units.of(ordered["enrol"].to_list(), "enrolment")
        after, before = (_eer_of(Trials(*_sides(part, system), units)) for system in (SVVAD, NO_VAD))
        yield Gain(rho, paired(after, before, units, n_resamples, seed))


def _eer_of(trials: Trials) -> Callable[[Floats], float]:
    return lambda counts: trials.resample(counts).eer()


def gamma_figures(table: pl.DataFrame) -> Gamma:
    """Over target trials that could be heard."""
    part = table.filter(pl.col("error").is_null() & pl.col("label"))
    names: Sequence[str] = ("auc_other", "auc_rest", *GAMMAS)
    return Gamma(*(_mean(part[name]) for name in names))


def _mean(values: pl.Series) -> float | None:
    known = values.drop_nulls()
    return None if known.is_empty() else float(np.mean(known.to_numpy()))


def _sides(part: pl.DataFrame, system: str) -> tuple[Floats, Floats]:
    positive, negative = (part.filter(side)[system].to_numpy() for side in (pl.col("label"), ~pl.col("label")))
    return positive, negative
