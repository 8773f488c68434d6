"""How well stretches of a low score tell where a recording was spliced: figures on splices of known places.

    hit                 of splices whose insert lies at least half in stretches, the share; by kind of insert
    above the control   the difference of that share between synthetic and human inserts: what hears edits only, or
                        marks at random, has none
    false stretches     a minute of human recordings without an insert
    edges               of hits, how far the stretch begins and ends from the insert, in seconds
    AUC within          of segments of the insert against the rest of the same recording, mean over splices

A rule is chosen on splices of speakers and synthesis that the figures are not of (`choose_rule`). Intervals resample
the speakers of the hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.audio.recording import Segment
from earwitness.core.errors import DataError, MetricError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splices import Kind
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.detection import auc
from earwitness.metrics.scores import Floats
from earwitness.metrics.segments import SegmentScores
from earwitness.metrics.stretches import Stretch, StretchRule, low_stretches

COVERED = 0.5  # of an insert's time, for a hit
MOST_FALSE_A_MINUTE = 1.0  # of human recordings, for a rule to be chosen
SYNTHETIC: tuple[Kind, ...] = ("spoof", "twin")
FALLS = tuple(round(0.25 * step, 2) for step in range(1, 41))  # in units of the score
SHORTEST_S = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class ScoredSplice:
    """The segments of a splice; `place` is its insert, None for kind `none`."""

    id: str
    kind: Kind
    speaker: str
    system: str | None
    place: Segment | None
    segments: SegmentScores


@dataclass(frozen=True)
class Found:
    """What a rule makes of one splice. `edges_s` are the errors of begin and end, of a hit."""

    hit: bool
    stretches: tuple[Stretch, ...]
    edges_s: tuple[float, float] | None


def read_scored_splices(manifest: Manifest, scores: pl.DataFrame) -> list[ScoredSplice]:
    """Splices of a manifest that `corpora.splices` wrote, with a table that `scoring.segments` wrote of them.

    Splices that could not be scored are left out. Raises `DataError` for another manifest.
    """
    if "splice" not in manifest.table.columns:
        raise DataError("is no manifest of splices: it has no column `splice`", where=manifest.root)
    of = {str(name): part for (name,), part in scores.filter(pl.col("error").is_null()).group_by("id")}
    extra = manifest.table.select("id", "splice", "splice_start", "splice_end").iter_rows()
    found = []
    for row, (name, kind, start, end) in zip(manifest.rows(), extra, strict=True):
        if name in of:
            place = None if start is None else Segment(float(start), float(end))
            found.append(ScoredSplice(name, kind, row.speaker or name, row.system, place, _segments(of[name])))
    return found


def _segments(table: pl.DataFrame) -> SegmentScores:
    """From the rows of one recording."""
    table = table.sort("start")
    seconds = float(table["end"][-1])
    step = float(table["end"][0]) if table.height > 1 else seconds
    return SegmentScores(step, seconds, table["score"].to_numpy(), table["seconds_used"].to_numpy())


def find(splice: ScoredSplice, rule: StretchRule) -> Found:
    """The stretches of a splice, and whether they are its insert's."""
    stretches, place = low_stretches(splice.segments, rule), splice.place
    if place is None:
        return Found(False, stretches, None)
    shared = [max(0.0, min(s.end_s, place.end_s) - max(s.start_s, place.start_s)) for s in stretches]
    if sum(shared) < COVERED * place.duration_s:
        return Found(False, stretches, None)
    best = stretches[int(np.argmax(shared))]
    return Found(True, stretches, (best.start_s - place.start_s, best.end_s - place.end_s))


def auc_within(splice: ScoredSplice) -> float | None:
    """Of segments that lie mostly in the insert against those that lie outside of it; None where there are not both."""
    place, segments = splice.place, splice.segments
    if place is None:
        return None
    starts, ends = segments.starts_s, segments.ends_s
    inside = np.maximum(0, np.minimum(ends, place.end_s) - np.maximum(starts, place.start_s))
    heard = segments.heard_s > 0
    low, high = heard & (inside > 0.5 * (ends - starts)), heard & (inside <= 0)
    return auc(segments.scores[high], segments.scores[low]) if low.any() and high.any() else None


@dataclass(frozen=True)
class Figures:
    """Figures of a rule; None where there are no splices for one."""

    splices: int
    hits: dict[str, Interval]  # by kind
    above_control: dict[str, Interval]  # of synthetic kinds
    false_a_minute: Interval | None
    edge_median_s: Interval | None
    edge_90_s: Interval | None
    auc_within: dict[str, Interval]  # by kind


def figures(splices: Sequence[ScoredSplice], rule: StretchRule, n_resamples: int = 1000, seed: int = 0) -> Figures:
    """Raises `MetricError` where the splices are of fewer than two speakers."""
    every = [find(splice, rule) for splice in splices]
    units = Units.of([splice.speaker for splice in splices], "host speaker")
    kinds = np.array([splice.kind for splice in splices])
    hit = np.array([found.hit for found in every], float)
    minutes = np.array([splice.segments.seconds / 60 for splice in splices])
    counts = np.array([len(found.stretches) for found in every], float)
    edges = np.array([np.mean(np.abs(f.edges_s)) if f.edges_s else np.nan for f in every])
    within = np.array([_or_nan(auc_within(splice)) for splice in splices])
    synthetic = np.isin(kinds, SYNTHETIC)

    def interval(statistic: Callable[[Floats], float], rows: NDArray[np.bool_]) -> Interval | None:
        """Over the units; None without rows."""
        if not rows.any():
            return None
        return bootstrap(lambda drawn: [statistic(units.weights(drawn))], units, n_resamples, seed)[0]

    def by_kind(values: Floats, names: Sequence[str]) -> dict[str, Interval]:
        found = {}
        for name in names:
            rows = (kinds == name) & np.isfinite(values)
            if (one := interval(lambda w, rows=rows: _mean(values, w * rows), rows)) is not None:  # type: ignore[misc]
                found[name] = one
        return found

    control = kinds == "genuine"
    above = {}
    for name in (*SYNTHETIC, "synthetic"):
        rows = synthetic if name == "synthetic" else kinds == name
        if rows.any() and control.any():
            above[name] = interval(lambda w, rows=rows: _mean(hit, w * rows) - _mean(hit, w * control), rows)  # type: ignore[misc]
    clean, edged = kinds == "none", synthetic & np.isfinite(edges)
    return Figures(
        splices=len(splices),
        hits=by_kind(hit, ("spoof", "twin", "genuine")),
        above_control={name: one for name, one in above.items() if one is not None},
        false_a_minute=interval(lambda w: _mean(counts, w * clean) / _mean(minutes, w * clean), clean),
        edge_median_s=interval(lambda w: _quantile(edges, w * edged, 0.5), edged),
        edge_90_s=interval(lambda w: _quantile(edges, w * edged, 0.9), edged),
        auc_within=by_kind(within, ("spoof", "twin", "genuine")),
    )


def choose_rule(splices: Sequence[ScoredSplice]) -> StretchRule | None:
    """The rule whose hits of synthetic inserts lie highest above those of human ones, mean over kinds of insert.

    Of rules with at most `MOST_FALSE_A_MINUTE`; the first of equals; None where none is above. Stretches are bridged
    over one segment.
    """
    best: tuple[float, StretchRule] | None = None
    minutes = sum(splice.segments.seconds for splice in splices if splice.kind == "none") / 60
    step_s = splices[0].segments.step_s
    for fall in FALLS:
        for shortest_s in SHORTEST_S:
            rule = StretchRule(fall, shortest_s, step_s)
            every = [(splice, find(splice, rule)) for splice in splices]
            false = sum(len(found.stretches) for splice, found in every if splice.kind == "none")
            if not minutes or false / minutes > MOST_FALSE_A_MINUTE:
                continue
            hits = {
                kind: np.mean(values)
                for kind in ("spoof", "twin", "genuine")
                if (values := [found.hit for splice, found in every if splice.kind == kind])
            }
            gain = float(np.mean([hits[kind] for kind in SYNTHETIC if kind in hits]) - hits.get("genuine", 0.0))
            if gain > 0 and (best is None or gain > best[0]):
                best = (gain, rule)
    return None if best is None else best[1]


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _mean(values: Floats, weights: Floats) -> float:
    """Over rows with a weight. Raises `MetricError` where there is none."""
    rows = weights > 0
    if not rows.any():
        raise MetricError("no splice of this kind", where="splices")
    return float(np.average(values[rows], weights=weights[rows]))


def _quantile(values: Floats, weights: Floats, share: float) -> float:
    rows = weights > 0
    if not rows.any():
        raise MetricError("no hit", where="splices")
    return float(np.quantile(np.repeat(values[rows], weights[rows].astype(int)), share))
