"""Where in a recording the spoofed parts are: segment EER at several resolutions, and range EER.

Segments are counted from the start of a recording in steps of whole milliseconds. A label is True for bona fide; a
segment that holds any spoofed part is spoof, so labels are coarsened by their minimum, and scores (higher = bona fide)
too. Rules of the PartialSpoof evaluation (arXiv 2204.05177), range EER of arXiv 2305.17739.

labels = Track.of_labels(10, [reference_labels(regions, seconds, 10) for regions, seconds in ...])
segment_eer(Track.of_scores(20, scores), labels, measure_ms=160).value
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.core.errors import MetricError
from earwitness.metrics.detection import Eer, EerMethod, eer, eer_at, weighted_rates
from earwitness.metrics.scores import Floats, as_scores

Labels = NDArray[np.bool_]

RESOLUTIONS_MS = (10, 20, 40, 80, 160, 320, 640)


@dataclass(frozen=True)
class Region:
    """A stretch of a recording that is bona fide throughout, or spoof; times in seconds."""

    start: float
    end: float
    bonafide: bool


@dataclass(frozen=True)
class Track:
    """Scores (float [S]) or labels (bool [S], True bona fide) of the segments of each utterance, one a `step_ms`.

    Made by `of_scores` and `of_labels`, which raise `MetricError` where there are none, where a score is not finite,
    and where labels are neither bool nor 0/1.
    """

    step_ms: int
    utterances: tuple[NDArray[Any], ...]

    @classmethod
    def of_scores(cls, step_ms: int, utterances: Sequence[ArrayLike]) -> Track:
        """Scores of each utterance."""
        return cls(step_ms, tuple(as_scores(u, f"segment scores of utterance {i}") for i, u in enumerate(utterances)))

    @classmethod
    def of_labels(cls, step_ms: int, utterances: Sequence[ArrayLike]) -> Track:
        """Labels of each utterance."""
        return cls(step_ms, tuple(_as_labels(u, f"segment labels of utterance {i}") for i, u in enumerate(utterances)))

    def __post_init__(self) -> None:
        if self.step_ms < 1:
            raise MetricError(f"a segment lasts {self.step_ms} ms", where="segments", fix="Use 10 or more.")
        if not self.utterances:
            raise MetricError("there are no utterances", where="segments")
        if any(values.dtype.kind not in "fb" or not len(values) for values in self.utterances):
            raise MetricError("neither scores nor labels", where="segments", fix="Use Track.of_scores or of_labels.")

    def at(self, step_ms: int) -> Track:
        """The same at another resolution: the minimum over the parts of a longer segment, repeated in shorter ones.

        Raises `MetricError` where neither step is a multiple of the other.
        """
        if step_ms % self.step_ms == 0:
            return Track(step_ms, tuple(coarsen(values, step_ms // self.step_ms) for values in self.utterances))
        if self.step_ms % step_ms == 0:
            return Track(step_ms, tuple(np.repeat(values, self.step_ms // step_ms) for values in self.utterances))
        raise MetricError(f"segments of {self.step_ms} ms do not fit into {step_ms} ms", where="segments")


def _as_labels(values: ArrayLike, name: str) -> Labels:
    numbers = as_scores(values, name)
    if not np.isin(numbers, (0, 1)).all():
        raise MetricError("are neither bool nor 0 and 1", where=name, fix="1 is bona fide, 0 is spoof.")
    return np.asarray(numbers == 1, bool)


def coarsen(values: NDArray[Any], factor: int) -> NDArray[Any]:
    """Minimum over each `factor` segments [S] -> [ceil(S / factor)]; the last window may be shorter."""
    return np.minimum.reduceat(values, np.arange(0, len(values), factor))


def training_labels(labels: ArrayLike, factor: int) -> Labels:
    """Labels [S] at a step `factor` times as long, as networks are trained on them: [max(1, floor(S / factor))].

    What is left over at the end has no segment of its own in training. Raises `MetricError`.
    """
    values = _as_labels(labels, "labels")
    whole = len(values) // factor * factor or len(values)
    return np.asarray(coarsen(values[:whole], factor))


def reference_labels(regions: Sequence[Region], seconds: float, step_ms: int) -> Labels:
    """Labels [ceil(seconds / step)] of an utterance.

    A region sets the segments round(start / step) .. round(end / step) - 1. The published scoring leaves what no region
    sets as spoof. Here regions must cover the utterance, and a last part that only rounding leaves out gets the label
    of the last region, so that no bona fide recording ends in a spoofed segment.
    Raises `MetricError` for a gap or an overlap of half a step or more, and for regions out of order.
    """
    step = step_ms / 1000
    _require_cover(regions, seconds, step)
    labels = np.zeros(math.ceil(seconds / step - 1e-6), bool)
    for region in regions:
        labels[round(region.start / step) : round(region.end / step)] = region.bonafide
    labels[round(regions[-1].end / step) :] = regions[-1].bonafide
    return labels


def _require_cover(regions: Sequence[Region], seconds: float, step: float) -> None:
    if not (math.isfinite(seconds) and seconds > 0 and regions):
        raise MetricError(f"{len(regions)} regions in {seconds} s", where="regions", fix="Give at least one.")
    edges = [0.0, *(edge for region in regions for edge in (region.start, region.end)), seconds]
    for before, after in zip(edges[::2], edges[1::2], strict=True):
        if not abs(after - before) < step / 2 + 1e-9:
            what = "is covered by no region" if after > before else "is covered twice, or regions are out of order"
            raise MetricError(f"{min(before, after):g} s to {max(before, after):g} s {what}", where="regions")
    if not all(region.start < region.end for region in regions):
        raise MetricError("a region ends before it starts", where="regions")


@dataclass(frozen=True)
class PooledSegments:
    """Scores of all segments of both classes, and the number of the utterance each comes from (to resample by it)."""

    bonafide: Floats
    spoof: Floats
    bonafide_utterance: NDArray[np.int64]
    spoof_utterance: NDArray[np.int64]


def pool_segments(scores: Track, labels: Track, measure_ms: int) -> PooledSegments:
    """All segments at one measuring resolution; of scores and labels the longer is cut to the shorter.

    Raises `MetricError` where the two differ by more than one segment of the coarser, where labels are coarser than
    what is measured, and where the numbers of utterances differ.
    """
    if labels.step_ms > measure_ms:
        raise MetricError(f"labels of {labels.step_ms} ms cannot be measured at {measure_ms} ms", where="segments")
    _require_same(len(scores.utterances), len(labels.utterances))
    slack = max(1, scores.step_ms // measure_ms)
    values, truths, numbers = [], [], []
    pairs = zip(scores.at(measure_ms).utterances, labels.at(measure_ms).utterances, strict=True)
    for number, (value, truth) in enumerate(pairs):
        if abs(len(value) - len(truth)) > slack:
            raise MetricError(
                f"{len(value)} scores and {len(truth)} labels at {measure_ms} ms",
                where=f"utterance {number}",
                fix="Check the resolutions and the order of the utterances.",
            )
        both = min(len(value), len(truth))
        values.append(value[:both])
        truths.append(truth[:both])
        numbers.append(np.full(both, number))
    value, truth, number_of = np.concatenate(values), np.concatenate(truths), np.concatenate(numbers)
    return PooledSegments(value[truth], value[~truth], number_of[truth], number_of[~truth])


def _require_same(scored: int, labelled: int) -> None:
    if scored != labelled:
        raise MetricError(f"{scored} utterances are scored, {labelled} labelled", where="segments")


def segment_eer(scores: Track, labels: Track, measure_ms: int, method: EerMethod = "interpolated") -> Eer:
    """EER of all segments of all utterances at one resolution, bona fide against spoof. Raises `MetricError`.

    Measured coarser than it was scored, a system looks better than it is.
    """
    pooled = pool_segments(scores, labels, measure_ms)
    return eer(pooled.bonafide, pooled.spoof, method)


def segment_eer_matrix(
    scores: Sequence[Track],
    labels: Track,
    measure_ms: Sequence[int] = RESOLUTIONS_MS,
    method: EerMethod = "interpolated",
) -> Floats:
    """Segment EERs [tracks, resolutions]: one row a score resolution; its own column is the usual figure."""
    return np.array([[segment_eer(track, labels, step, method).value for step in measure_ms] for track in scores])


def utterance_scores(scores: Track) -> Floats:
    """The score of each utterance [N]: that of its most suspicious segment, the minimum."""
    return np.array([float(values.min()) for values in scores.utterances])


def range_eer(scores: Track, regions: Sequence[Sequence[Region]]) -> Eer:
    """EER in durations: the share of bona fide time called spoof against the share of spoofed time missed.

    `regions[i]` cover utterance i, in order; its last score reaches to the end of the last region. The crossing is
    solved exactly where the published tool bisects until the two shares differ by 1e-5.
    Raises `MetricError` where regions leave gaps, and where scores end more than one segment before or after them.
    """
    pooled = pool_ranges(scores, regions)
    segments = pooled.segments
    return eer_at(weighted_rates(segments.bonafide, segments.spoof, pooled.bonafide_s, pooled.spoof_s))


@dataclass(frozen=True)
class PooledRanges:
    """The segments that hold any time of a class (some hold both), and how many seconds of it each holds."""

    segments: PooledSegments
    bonafide_s: Floats
    spoof_s: Floats


def pool_ranges(scores: Track, regions: Sequence[Sequence[Region]]) -> PooledRanges:
    """What `range_eer` weighs. Raises `MetricError` as it does."""
    _require_same(len(scores.utterances), len(regions))
    step = scores.step_ms / 1000
    parts = [
        _durations(each, len(values), step, f"utterance {number}")
        for number, (values, each) in enumerate(zip(scores.utterances, regions, strict=True))
    ]
    bonafide, spoof = (np.concatenate(side) for side in zip(*parts, strict=True))
    for side, name in ((bonafide, "bona fide"), (spoof, "spoof")):
        if not side.any():
            raise MetricError(f"no time is {name}", where="regions", fix="Both classes are needed.")
    value = np.concatenate(scores.utterances)
    number_of = np.repeat(np.arange(len(regions)), [len(values) for values in scores.utterances])
    real, fake = bonafide > 0, spoof > 0
    segments = PooledSegments(value[real], value[fake], number_of[real], number_of[fake])
    return PooledRanges(segments, bonafide[real], spoof[fake])


def _durations(regions: Sequence[Region], segments: int, step: float, where: str) -> tuple[Floats, Floats]:
    """Seconds of bona fide and of spoof within each segment, [S]."""
    end = regions[-1].end if regions else 0.0
    _require_cover(regions, end, step)
    if not -1 - 1e-6 < end / step - segments < 1 + 1e-6:
        raise MetricError(f"{segments} segments of {step:g} s are scored, the regions end at {end:g} s", where=where)
    edges = np.append(np.minimum(np.arange(segments) * step, end), end)
    knots = np.maximum.accumulate([edge for region in regions for edge in (region.start, region.end)])
    sides = []
    for wanted in (True, False):
        lasted = [(region.end - region.start) * (region.bonafide == wanted) for region in regions]
        so_far = np.concatenate([[0.0], np.cumsum(lasted)])
        sides.append(np.diff(np.interp(edges, knots, np.repeat(so_far, 2)[1:-1])))
    return sides[0], sides[1]


def regions_of(labels: ArrayLike, step_ms: int) -> tuple[Region, ...]:
    """The runs of equal labels [S] as regions. Raises `MetricError`."""
    values = _as_labels(labels, "labels")
    cuts = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    step = step_ms / 1000
    return tuple(Region(a * step, b * step, bool(values[a])) for a, b in pairwise(cuts))
