"""Regions of imbalanced regression: which labels training had many, a medium number, or few examples of, and the error
in each (arXiv 2102.09554, and its released code; the label-weighted form: Balanced MSE, CVPR 2022).

A region belongs to a **training** count: of rows, as published for images, or of distinct speakers, as speech needs,
where twenty clips of one voice are one example of an age. A label that training never had counts 0, so it is `few`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.core.errors import MetricError
from earwitness.metrics.regression import EXACT_GUARD
from earwitness.metrics.scores import Floats, as_scores, as_weights

Region = Literal["many", "medium", "few"]
REGIONS: tuple[Region, ...] = get_args(Region)
_EDGE = 1e-9  # of a bin: 0.3 / 0.1 is 2.9999999999999996


@dataclass(frozen=True)
class RegionRule:
    """`many`: the least training count of a label with many; `medium`: the least of one with a medium number; below it
    are few. Labels are counted in bins of `bin_width`, [k w, (k + 1) w).

    Raises `MetricError` for thresholds that do not descend, and for bins without a width.
    """

    many: int = 101
    medium: int = 20
    bin_width: float = 1.0

    def __post_init__(self) -> None:
        if not self.many >= self.medium >= 1:
            raise MetricError(f"many from {self.many} and medium from {self.medium} on", where="regions")
        if not self.bin_width > 0:
            raise MetricError(f"bins are {self.bin_width} wide", where="regions", fix="Use 1 for years.")

    def bins(self, labels: ArrayLike) -> NDArray[np.int64]:
        """The number of each label's bin, int64 [N]. Raises `MetricError` for labels that are not finite."""
        return np.floor(as_scores(labels, "labels") / self.bin_width + _EDGE).astype(np.int64)


DIR = RegionRule()
"""AgeDB-DIR and IMDB-WIKI-DIR: more than 100 images of an age, 20 to 100, fewer than 20 (arXiv 2102.09554)."""
SPEECH = RegionRule(many=10, medium=4, bin_width=5.0)
"""Ours, for corpora of a hundred speakers: at least 10, 4 to 9, at most 3 speakers in five years."""


@dataclass(frozen=True)
class TrainingLabels:
    """How often training had each bin of labels: `bins` int64 [L], ascending, and `counts` int64 [L]."""

    rule: RegionRule
    bins: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, labels: ArrayLike, rule: RegionRule = DIR, speakers: ArrayLike | None = None) -> TrainingLabels:
        """Of the labels [N] of the training rows; with `speakers` [N] each counts once a bin. Raises `MetricError`."""
        bins = rule.bins(labels)
        if speakers is not None:
            names = np.asarray(speakers).astype(str)
            if names.shape != bins.shape:
                raise MetricError(f"{names.shape} speakers for {len(bins)} labels", where="regions")
            _, voices = np.unique(names, return_inverse=True)
            bins = np.unique(np.stack([bins, voices]), axis=1)[0]
        found, counts = np.unique(bins, return_counts=True)
        return cls(rule, found, counts.astype(np.int64))

    def count(self, labels: ArrayLike) -> NDArray[np.int64]:
        """The training count of each label's bin, [N]; 0 where training had none. Raises `MetricError`."""
        bins = self.rule.bins(labels)
        place = np.searchsorted(self.bins, bins).clip(max=len(self.bins) - 1)
        return np.where(self.bins[place] == bins, self.counts[place], 0)

    def regions(self, labels: ArrayLike) -> NDArray[np.str_]:
        """The `Region` of each label, [N]. Raises `MetricError` for labels that are not finite."""
        counts = self.count(labels)
        return np.select([counts >= self.rule.many, counts >= self.rule.medium], ["many", "medium"], "few")


@dataclass(frozen=True)
class RegionError:
    """Errors of the items of one region: how many `items` in how many bins of `labels`; their mean absolute error and
    geometric mean, over items (`mae`, `gm`), and first within each bin, then over bins (`label_mae`, `label_gm`).

    NaN in all four where the region is empty. A published "region MAE" is over items where it follows arXiv 2102.09554,
    over labels where it follows Balanced MSE.
    """

    region: Region
    items: int
    labels: int
    mae: float
    gm: float
    label_mae: float
    label_gm: float


def region_errors(
    truth: ArrayLike,
    predicted: ArrayLike,
    training: TrainingLabels,
    weights: ArrayLike | None = None,
    guard: float = EXACT_GUARD,
) -> tuple[RegionError, ...]:
    """Of `truth` and `predicted` [N], one entry for each of `REGIONS`; `weights` [N] say how often an item counts (a
    bootstrap's counts; an item of weight 0 is not there). Errors of exactly 0 count `guard` in the geometric mean;
    0 turns that off. Raises `MetricError` for other shapes and values that are not finite.
    """
    y, f = as_scores(truth, "truth"), as_scores(predicted, "predictions")
    if y.shape != f.shape:
        raise MetricError(f"{len(f)} predictions for {len(y)} labels", where="regions")
    w = np.ones(len(y)) if weights is None else as_weights(weights, len(y), "weights")
    regions, bins, errors = training.regions(y), training.rule.bins(y), np.abs(f - y)
    with np.errstate(divide="ignore"):
        logs = np.log(np.where(errors == 0, guard, errors))
    parts = ((name, (regions == name) & (w > 0)) for name in REGIONS)
    return tuple(_region_error(name, bins[here], errors[here], logs[here], w[here]) for name, here in parts)


def _region_error(name: Region, bins: NDArray[np.int64], errors: Floats, logs: Floats, weights: Floats) -> RegionError:
    if not len(bins):
        return RegionError(name, 0, 0, np.nan, np.nan, np.nan, np.nan)
    distinct, place = np.unique(bins, return_inverse=True)
    in_bin = np.bincount(place, weights)

    def means(values: Floats) -> tuple[float, float]:
        sums = np.bincount(place, weights * values)
        return float(sums.sum() / in_bin.sum()), float((sums / in_bin).mean())

    (mae, label_mae), (log, label_log) = means(errors), means(logs)
    return RegionError(name, len(bins), len(distinct), mae, float(np.exp(log)), label_mae, float(np.exp(label_log)))
