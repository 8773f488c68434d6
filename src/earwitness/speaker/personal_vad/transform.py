"""The Embedding Transform of SVVAD: a fixed orthonormal projection of voice vectors; how it is made is ours."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from earwitness.core.errors import RecipeError
from earwitness.speaker.comparison import Vectors


def projection(size: int, condition: int, seed: int, voices: Vectors | None = None) -> Tensor:
    """Orthonormal columns [size, condition]: the principal axes of speakers' mean vectors `voices` [S, size], and
    axes drawn by `seed` where there are no voices or not as many.

    Raises `RecipeError` for more axes than a vector has.
    """
    if condition > size:
        raise RecipeError(f"network.condition is {condition}, but voice vectors have {size} values")
    drawn = np.random.default_rng([seed, size, condition]).standard_normal((size, condition))
    axes = np.zeros((size, 0)) if voices is None else _principal(voices)[:, :condition]
    made, _ = np.linalg.qr(np.concatenate([axes, drawn], axis=1)[:, :condition])
    return torch.from_numpy(made.astype(np.float32))


def _principal(voices: Vectors) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Axes [size, k] of the centred vectors, by falling variance; those without any are left out."""
    centred = voices.astype(np.float64) - voices.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(axes[spread > 1e-6 * spread.max(initial=1e-12)].T)
