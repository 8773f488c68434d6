"""A vector for a list of numbers that describe a voice, such that directions between vectors are voices in between.

Each number is taken from its mean in units of its spread, and a constant is added as one more coordinate. So all
vectors lie in one half of the sphere, their cosine tells how far two voices are from each other, and the way from one
to the other on the sphere is the straight line between their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import DataError
from earwitness.speaker.comparison import Vectors, unit

Numbers = NDArray[np.float64]  # [P]


@dataclass(frozen=True)
class ParameterSpace:
    """`mean` and `spread` [P] of the numbers over speakers. Vectors are [P + 1] of unit length.

    `constant` is the further coordinate: as long as the numbers of a typical voice (the square root of P) it puts
    unrelated voices at a cosine of about one half, shorter it puts them further apart.
    """

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    constant: float

    def vector(self, numbers: Numbers) -> Vectors:
        """[P] to [P + 1]."""
        standard = (np.asarray(numbers, np.float64) - self.mean) / self.spread
        return unit(np.append(standard, self.constant).astype(np.float32))

    def numbers(self, vector: Vectors) -> Numbers:
        """[P + 1], of any length, to [P]. Raises `DataError` for a vector of the other half of the sphere."""
        values = np.asarray(vector, np.float64)
        if values.shape != (len(self.mean) + 1,) or not values[-1] > 1e-6:
            raise DataError(f"a vector of shape {list(values.shape)} is no voice of this synthesiser")
        return np.asarray(values[:-1] / values[-1] * self.constant * self.spread + self.mean)
