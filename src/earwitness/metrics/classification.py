"""Classification into a few classes (emotions): the confusion matrix, and the accuracies that are read off it.

    WA   weighted accuracy: share of all rows that are right, plain accuracy. Micro-F1 is the same number.
    UA   unweighted accuracy (UAR, "balanced accuracy"): mean recall of the classes that occur in the truth.

Some papers swap the two names. Both stand beside each other here, with the matrix that they come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats, as_weights


@dataclass(frozen=True)
class Confusion:
    """`counts[i, j]`: rows of class i in truth that were called class j, [K, K]; weighted counts in a resample."""

    classes: tuple[str, ...]
    counts: Floats

    def __post_init__(self) -> None:
        size = len(self.classes)
        if self.counts.shape != (size, size):
            raise MetricError(f"has shape {self.counts.shape} for {size} classes", where="confusion matrix")
        if len(set(self.classes)) != size:
            raise MetricError("a class stands twice", where="confusion matrix")
        if not np.isfinite(self.counts).all() or (self.counts < 0).any() or not self.counts.any():
            raise MetricError("has no rows, or a negative or not finite count", where="confusion matrix")

    @property
    def items(self) -> float:
        """All rows."""
        return float(self.counts.sum())

    @cached_property
    def truths(self) -> Floats:
        """Rows of each class in truth, [K]."""
        return np.asarray(self.counts.sum(axis=1), np.float64)

    @cached_property
    def calls(self) -> Floats:
        """Rows called each class, [K]."""
        return np.asarray(self.counts.sum(axis=0), np.float64)

    @cached_property
    def recalls(self) -> Floats:
        """[K]; NaN for a class that does not occur in the truth."""
        return _ratio(np.diag(self.counts), self.truths)

    @cached_property
    def precisions(self) -> Floats:
        """[K]; NaN for a class that nothing was called."""
        return _ratio(np.diag(self.counts), self.calls)

    @cached_property
    def f1s(self) -> Floats:
        """2 P R / (P + R), [K]: 0 where nothing of a class is right, NaN where it is in neither truth nor calls."""
        return _ratio(2 * np.diag(self.counts), self.truths + self.calls)

    @property
    def wa(self) -> float:
        """Weighted accuracy: the share of rows that are right."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def ua(self) -> float:
        """Unweighted accuracy: mean recall of the classes that occur in the truth."""
        return float(np.nanmean(self.recalls))

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that occur in truth or calls."""
        return float(np.nanmean(self.f1s))

    @property
    def weighted_f1(self) -> float:
        """F1 of the classes, weighted by their rows in the truth."""
        return float(np.nansum(self.f1s * self.truths) / self.truths.sum())

    @property
    def micro_f1(self) -> float:
        """F1 of all decisions together: the same as `wa`, as each row has one class and one call."""
        return self.wa

    @property
    def majority_wa(self) -> float:
        """The WA of always calling the most frequent class."""
        return float(self.truths.max() / self.truths.sum())

    @property
    def chance_ua(self) -> float:
        """The UA of any constant call, or of guessing: one over the classes that occur in the truth."""
        return 1 / int(np.count_nonzero(self.truths))


@dataclass(frozen=True)
class MeanSd:
    """Mean over folds and their standard deviation (over n - 1; NaN for one fold)."""

    mean: float
    sd: float
    folds: int

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.sd:.4f} ({self.folds} folds)"


@dataclass(frozen=True)
class FoldFigures:
    """Folds both ways: `pooled` is one matrix over the test rows of all folds, which is what counts; the means over
    folds beside it, since others print those."""

    pooled: Confusion
    folds: tuple[Confusion, ...]
    wa: MeanSd
    ua: MeanSd
    macro_f1: MeanSd
    weighted_f1: MeanSd


def confusion(
    truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str] = (), weights: ArrayLike | None = None
) -> Confusion:
    """The matrix of two lists of class names, in the order of `classes` or else of the alphabet.

    Raises `MetricError` for no rows, unequal lengths, and a class that `classes` lacks.
    """
    if len(truth) != len(predicted) or not len(truth):
        raise MetricError(f"{len(predicted)} calls for {len(truth)} rows", fix="Give one a row, and some rows.")
    names = tuple(classes) or tuple(sorted({*truth, *predicted}))
    place = {name: number for number, name in enumerate(names)}
    if unknown := sorted({*truth, *predicted} - place.keys()):
        raise MetricError(f"unknown class '{unknown[0]}'", fix=f"Classes: {', '.join(names)}.")
    w = np.ones(len(truth)) if weights is None else as_weights(weights, len(truth), "weights")
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, ([place[name] for name in truth], [place[name] for name in predicted]), w)
    return Confusion(names, counts)


def over_folds(folds: Sequence[Confusion]) -> FoldFigures:
    """Pooled and mean figures of the folds of one protocol. Raises `MetricError` where their classes differ."""
    if not folds:
        raise MetricError("there are no folds")
    if len({fold.classes for fold in folds}) > 1:
        raise MetricError("the folds have different classes", fix="Make all matrices with the same `classes`.")
    pooled = Confusion(folds[0].classes, np.sum([fold.counts for fold in folds], axis=0))
    return FoldFigures(
        pooled=pooled,
        folds=tuple(folds),
        wa=_mean_sd([fold.wa for fold in folds]),
        ua=_mean_sd([fold.ua for fold in folds]),
        macro_f1=_mean_sd([fold.macro_f1 for fold in folds]),
        weighted_f1=_mean_sd([fold.weighted_f1 for fold in folds]),
    )


def _mean_sd(values: Sequence[float]) -> MeanSd:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return MeanSd(float(np.mean(values)), sd, len(values))


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0), np.float64)
