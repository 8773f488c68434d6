"""Do two models listen to the same places? Overlap of attribution maps over time and frequency, with a control.

Overlap by chance is no agreement: beside every pair stands one whose second map was shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats

TOP = 0.1  # of the cells


@dataclass(frozen=True)
class Overlap:
    """Of two maps: Spearman's correlation of all cells, and the intersection over union of each one's top 10 %.

    Of independent maps the first is 0, the second 1/19.
    """

    spearman: float
    iou: float


def overlap(first: ArrayLike, second: ArrayLike) -> Overlap:
    """Of two maps [T, F] of absolute attribution on the same cells. Raises `MetricError`."""
    a, b = _maps(first, second)
    return Overlap(spearman(a, b), top_iou(a, b))


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Correlation of ranks, ties by their mean rank. Raises `MetricError` for a constant map."""
    ranks = [rankdata(values) for values in _maps(first, second)]
    a, b = (values - values.mean() for values in ranks)
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    if scale == 0:
        raise MetricError("a map is constant and has no order", where="Spearman")
    return float(a @ b) / scale


def top_iou(first: ArrayLike, second: ArrayLike, share: float = TOP) -> float:
    """How far the `share` of cells with the most attribution coincide; ties go to the earlier cell."""
    a, b = (np.argsort(-values.ravel(), kind="stable") for values in _maps(first, second))
    count = max(1, round(share * len(a)))
    common = len(np.intersect1d(a[:count], b[:count]))
    return common / (2 * count - common)


def band_shares(values: ArrayLike, bands: int = 4) -> Floats:
    """A map [T, F] -> the share of its mass in each of `bands` equal stretches of F, low to high; the sum is 1.

    Raises `MetricError` for a map without mass.
    """
    cells = _map(values)
    total = float(cells.sum())
    if total == 0:
        raise MetricError("the map has no mass", where="band shares")
    return np.array([part.sum() for part in np.array_split(cells, bands, axis=1)]) / total


def shuffled(values: ArrayLike, seed: int = 0) -> Floats:
    """The control: the same cells in another order."""
    cells = _map(values)
    return np.random.default_rng(seed).permutation(cells.ravel()).reshape(cells.shape)


def _maps(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    a, b = _map(first), _map(second)
    if a.shape != b.shape:
        raise MetricError(f"maps of {a.shape} and {b.shape} cells", where="overlap", fix="Use one front-end for both.")
    return a, b


def _map(values: ArrayLike) -> Floats:
    cells = np.asarray(values, np.float64)
    if cells.ndim != 2 or not cells.size or not np.isfinite(cells).all() or (cells < 0).any():
        raise MetricError(f"is no map of absolute values: shape {cells.shape}", where="attribution")
    return cells
