"""Do raters agree: people with each other, and a judge with people. Textbook formulas, of Cohen, Krippendorff, Shrout.

Exact agreement is not agreement: two raters who nearly always say 4 agree often by chance. Kappa and alpha take that
out; a correlation is blind to a rater who is always two points too kind. `scipy` has Kendall's tau-b and
`metrics.regression` the other correlations.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats


def quadratic_weights(levels: int) -> Floats:
    """(i - j)^2 / (K - 1)^2, [K, K]: how wrong it is to say j for i."""
    places = np.arange(levels, dtype=np.float64)
    return np.asarray((places[:, None] - places) ** 2 / (levels - 1) ** 2, np.float64)


def cohen_kappa(counts: ArrayLike, weights: ArrayLike | None = None) -> float | Floats:
    """Cohen's kappa of tables of counts [..., K, K], first rater by second: 1 - sum w O / sum w E.

    `weights` [K, K] say how wrong each pair is; without them every difference is equally wrong, and kappa is
    (p_o - p_e) / (1 - p_e). NaN where both raters say one and the same level throughout. A float for one table, an
    array [...] for several (resamples). Raises `MetricError` for what is no square table.
    """
    table = np.asarray(counts, np.float64)
    if table.ndim < 2 or table.shape[-1] != table.shape[-2] or table.shape[-1] < 2:
        raise MetricError(f"has shape {table.shape}", where="table of two raters", fix="Give [K, K], K from 2.")
    levels = table.shape[-1]
    wrong = 1 - np.eye(levels) if weights is None else np.asarray(weights, np.float64)
    total = table.sum(axis=(-2, -1))
    seen = np.einsum("...ij,ij->...", table, wrong) * total
    chance = np.einsum("...i,...j,ij->...", table.sum(-1), table.sum(-2), wrong)
    kappa = 1 - np.divide(seen, chance, out=np.full(np.shape(chance), np.nan), where=chance > 0)
    return float(kappa) if table.ndim == 2 else np.asarray(kappa, np.float64)


def rating_table(first: ArrayLike, second: ArrayLike, levels: int) -> Floats:
    """How often the first rater gave i and the second j, [K, K], for whole ratings 0 to K - 1. Raises `MetricError`."""
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise MetricError(f"{a.size} and {b.size} ratings", fix="Give one each an item, and some items.")
    if not all(np.isin(values, np.arange(levels)).all() for values in (a, b)):
        raise MetricError(f"a rating is not one of 0 to {levels - 1}", where="ratings")
    codes = a.astype(np.int64) * levels + b.astype(np.int64)
    return np.bincount(codes, minlength=levels * levels).reshape(levels, levels).astype(np.float64)


def quadratic_weighted_kappa(first: ArrayLike, second: ArrayLike, levels: int = 6) -> float:
    """Kappa of whole ratings 0 to K - 1 with quadratic weights: being off by two is four times as wrong as by one."""
    return float(cohen_kappa(rating_table(first, second, levels), quadratic_weights(levels)))


def krippendorff_alpha(ratings: ArrayLike) -> float:
    """Krippendorff's alpha with the interval distance (a - b)^2, of ratings [raters, items], NaN where there is none.

    1 - D_o / D_e: disagreement within items over that among all ratings of items that have two or more. NaN where
    those are all equal. Raises `MetricError` where no item has two ratings.
    """
    values = np.asarray(ratings, np.float64)
    if values.ndim != 2:
        raise MetricError(f"have shape {values.shape}", where="ratings", fix="Give [raters, items].")
    there = np.isfinite(values)
    values, there = values[:, there.sum(0) > 1], there[:, there.sum(0) > 1]
    if not values.size:
        raise MetricError("no item has two ratings", where="Krippendorff's alpha")
    counts = there.sum(0)
    # the squared differences of all pairs of one set are 2 n^2 times its variance
    within = 2 * counts**2 * np.nanvar(values, axis=0)
    pairable = values[there]
    expected = 2 * len(pairable) ** 2 * pairable.var() / (len(pairable) * (len(pairable) - 1))
    observed = float(np.sum(within / (counts - 1)) / len(pairable))
    return 1 - observed / float(expected) if expected > 0 else math.nan


def icc1(scores: ArrayLike) -> float:
    """ICC(1) (Shrout and Fleiss 1979): how much of the variance of scores [items, raters] lies between items.

    (MSB - MSW) / (MSB + (k - 1) MSW); NaN where all scores are equal. Items with a NaN are left out. Raises
    `MetricError` for fewer than two whole items or two raters.
    """
    values = np.asarray(scores, np.float64)
    values = values[np.isfinite(values).all(axis=1)] if values.ndim == 2 else values
    if values.ndim != 2 or min(values.shape) < 2:
        raise MetricError(f"have shape {values.shape}", where="scores", fix="Give [items, raters], two of each.")
    raters = values.shape[1]
    between = raters * float(values.mean(axis=1).var(ddof=1))
    within = float(values.var(axis=1, ddof=1).mean())
    whole = between + (raters - 1) * within
    return (between - within) / whole if whole > 0 else math.nan
