"""The figures of one candidate: left-out scores of several seeds, and how far two candidates are apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.evaluation.assessing.committee import FEWEST_FILES, OWN_COPIES
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.calibration import cllr, min_cllr
from earwitness.metrics.detection import eer

RESAMPLES = 300
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Left-out scores of the judged rows for each seed [S, R], with what is known of the rows."""

    table: pl.DataFrame
    scores: Floats
    llrs: Floats
    narrow: Floats  # in a telephone band, of the rows `some`
    some: NDArray[np.int64]
    drawn: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    under: dict[str, Floats] = field(default_factory=dict)  # by perturbation, of the rows `drawn`

    def put_under(self, name: str) -> Judged:
        """The drawn rows alone, as they were heard under a perturbation."""
        return replace(self, table=self.table[self.drawn], scores=self.under[name], under={})

    @property
    def human(self) -> NDArray[np.bool_]:
        """Which rows are bona fide, [R]."""
        return (self.table["label"] == "bonafide").to_numpy()

    @property
    def own_copies(self) -> NDArray[np.bool_]:
        """Which rows are copies that `corpus expand --twins` made, [R]."""
        return self.table["system"].str.starts_with(OWN_COPIES).fill_null(False).to_numpy()

    @property
    def twins(self) -> NDArray[np.bool_]:
        """Copies whose human recording is judged too, and these recordings, [R]."""
        recording = self.table.select(pl.coalesce("source_recording", "id")).to_series()
        human, copied = self.human, self.table["source_recording"].is_not_null().to_numpy()
        spoofs = set(recording.filter(pl.Series(~human & copied))) & set(recording.filter(pl.Series(human)))
        return recording.is_in(list(spoofs)).to_numpy()


@dataclass(frozen=True)
class Figure:
    """A figure of a candidate: its mean over seeds with an interval, and the least and the most of the seeds."""

    name: str
    value: float
    low: float
    high: float
    least: float
    most: float
    minus_reference: tuple[float, float, float] | None = None


def figures(judged: Judged, reference: Judged | None) -> list[Figure]:
    """Everything that is told of a candidate; with a `reference` on the same rows the paired differences too."""
    rest, twins = ~judged.own_copies, judged.twins
    found = [
        _eer("EER pooled", judged, reference, rest),
        _eer("EER twins", judged, reference, twins),
        _figure("EER mean over systems", judged, reference, rest, _mean_over_systems),
        _narrow(judged),
        _alarms(judged, rest),
        _loss(judged, rest),
    ]
    for name in judged.under:
        part, beside = judged.put_under(name), None if reference is None else reference.put_under(name)
        found.append(_eer(f"EER under {name}", part, beside, ~part.own_copies))
    families = sorted(judged.table.filter(pl.Series(rest & ~judged.human))["family"].drop_nulls().unique())
    for family in families:
        rows = rest & (judged.human | (judged.table["family"] == family).fill_null(False).to_numpy())
        seeds = [_eer_of(scores[rows], judged.human[rows]) for scores in judged.scores]
        found.append(_plain(f"EER family {family}", seeds))
    return found


def _eer(name: str, judged: Judged, reference: Judged | None, rows: NDArray[np.bool_]) -> Figure:
    return _figure(name, judged, reference, rows, lambda scores, human, _: _eer_of(scores, human))


def _figure(
    name: str,
    judged: Judged,
    reference: Judged | None,
    rows: NDArray[np.bool_],
    measure: Callable[[Floats, NDArray[np.bool_], NDArray[np.str_]], float],
) -> Figure:
    """The mean over seeds; the bootstrap draws speakers of human speech and systems of spoofs."""
    order = np.concatenate([np.flatnonzero(rows & judged.human), np.flatnonzero(rows & ~judged.human)])
    human = judged.human[order]
    systems = judged.table.select(pl.coalesce("system", "id")).to_series().to_numpy().astype(str)[order]
    speakers = judged.table.select(pl.coalesce("speaker", "id")).to_series().to_numpy().astype(str)[order]
    units = Units.stacked(Units.of(speakers[human], "speaker"), Units.of(systems[~human], "system"))
    both = [judged.scores[:, order]] + ([] if reference is None else [reference.scores[:, order]])

    def statistic(counts: Floats) -> list[float]:
        chosen = np.repeat(np.arange(len(order)), units.weights(counts).astype(int))
        values = [
            float(np.mean([measure(seed[chosen], human[chosen], systems[chosen]) for seed in scores]))
            for scores in both
        ]
        return [*values, values[0] - values[-1]]

    intervals = bootstrap(statistic, units, RESAMPLES, 0)
    seeds = [measure(seed, human, systems) for seed in both[0]]
    own, difference = intervals[0], None if reference is None else _triple(intervals[-1])
    return Figure(name, own.value, own.low, own.high, min(seeds), max(seeds), difference)


def _triple(found: Interval) -> tuple[float, float, float]:
    return found.value, found.low, found.high


def _eer_of(scores: Floats, human: NDArray[np.bool_]) -> float:
    return float(eer(scores[human], scores[~human]).value)


def _mean_over_systems(scores: Floats, human: NDArray[np.bool_], systems: NDArray[np.str_]) -> float:
    names, counts = np.unique(systems[~human], return_counts=True)
    large = names[counts >= FEWEST_FILES]
    return float(np.mean([eer(scores[human], scores[~human & (systems == name)]).value for name in large]))


def _plain(name: str, seeds: list[float]) -> Figure:
    return Figure(name, float(np.mean(seeds)), float("nan"), float("nan"), min(seeds), max(seeds))


def _narrow(judged: Judged) -> Figure:
    rest = ~judged.own_copies[judged.some]
    human = judged.human[judged.some][rest]
    return _plain("EER telephone band", [_eer_of(scores[rest], human) for scores in judged.narrow])


def _alarms(judged: Judged, rest: NDArray[np.bool_]) -> Figure:
    """Real LJ below the threshold of equal errors."""
    lj = judged.human & (judged.table["speaker"] == "lj").fill_null(False).to_numpy()
    seeds = []
    for scores in judged.scores:
        threshold = eer(scores[rest & judged.human], scores[rest & ~judged.human]).threshold
        seeds.append(float((scores[lj] < threshold).mean()))
    return _plain("real LJ called synthetic", seeds)


def _loss(judged: Judged, rest: NDArray[np.bool_]) -> Figure:
    """Cllr minus min Cllr, in bits, of ratios calibrated on the other folds."""
    human = judged.human
    seeds = [
        cllr(llrs[rest & human], llrs[rest & ~human]) - min_cllr(llrs[rest & human], llrs[rest & ~human])
        for llrs in judged.llrs
    ]
    return _plain("Cllr minus min Cllr, bits", seeds)
