"""Between two speakers: spherical linear interpolation of embeddings (INSIDE, arXiv 2508.19210), and plain mixing.

Half-way between unit vectors at an angle theta, both parents are at cos(theta / 2). There slerp is the arithmetic mean
at unit length: the two ways of mixing differ elsewhere than at 0.5, or in length, only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.core.errors import DataError

Vector = NDArray[np.floating[Any]]  # [D]

SAME_RAD = 1e-4  # below, both vectors are one
OPPOSITE_RAD = math.pi - 1e-4  # above, every direction lies between them


def angle(first: ArrayLike, second: ArrayLike) -> float:
    """The angle between two vectors [D] in radians, exact for small angles too. Raises `DataError`."""
    a, b = _unit(first), _unit(second)
    return 2 * math.atan2(float(np.linalg.norm(a - b)), float(np.linalg.norm(a + b)))


def slerp(first: ArrayLike, second: ArrayLike, alpha: float = 0.5) -> Vector:
    """The unit vector [D] at the share `alpha` of the way from `first` to `second` (of unit length), in float64.

    sin((1 - alpha) theta) / sin(theta) * first + sin(alpha theta) / sin(theta) * second. Raises `DataError` for vectors
    without a direction or of unequal sizes, for opposite ones, and for an alpha outside of 0 to 1.
    """
    _check_share(alpha)
    theta = angle(first, second)
    if theta > OPPOSITE_RAD:
        raise DataError("opposite vectors have no middle", fix="Choose pairs of nearby speakers.")
    a, b = _unit(first), _unit(second)
    if alpha in (0, 1):
        return (b if alpha else a).copy()
    if theta < SAME_RAD:
        return _unit(a + b)
    mixed = math.sin((1 - alpha) * theta) * a + math.sin(alpha * theta) * b
    return np.asarray(mixed / math.sin(theta))


def lerp(first: ArrayLike, second: ArrayLike, alpha: float) -> Vector:
    """(1 - alpha) first + alpha second, [D], not brought to any length. Raises `DataError` for another alpha than 0 to
    1."""
    _check_share(alpha)
    return np.asarray((1 - alpha) * np.asarray(first, np.float64) + alpha * np.asarray(second, np.float64))


def _check_share(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise DataError(f"alpha {alpha:g} lies outside of the two speakers", fix="Give a share from 0 to 1.")


def _unit(vector: ArrayLike) -> Vector:
    """In float64; what is of unit length already keeps its bits."""
    values = np.asarray(vector, np.float64)
    length = float(np.linalg.norm(values))
    if values.ndim != 1 or not np.isfinite(length) or length < 1e-12:
        raise DataError(f"an embedding of shape {list(values.shape)} and length {length:g} has no direction")
    return values if abs(length - 1) < 1e-15 else values / length
