"""Several voices in one recording: a voice print that mixes them answers nothing, so this is warned of.

The measure needs no further model: where one person speaks throughout, the windows before any moment resemble those
after it. `least_likeness` is the mean cosine between the two sides at the moment where they are least alike; what is
usual for one voice is measured on recordings of one speaker each, in a row where they are short.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from earwitness.speaker.comparison import Vectors
from earwitness.speaker.embedder import VoicePrint
from earwitness.training.model_folder import ModelInfo

FEWEST = 4  # windows: two on each side
QUANTILE = 0.01  # of the recordings of one voice; as many of them are warned of for nothing
EXTRA = "one_voice"  # where a model's description keeps the limit


def least_likeness(windows: Vectors) -> float | None:
    """The lowest mean cosine between the windows [W, D] before and after a moment; None for fewer than four."""
    count = len(windows)
    if count < FEWEST:
        return None
    forward = np.cumsum(windows, axis=0, dtype=np.float64)
    before = forward[1 : count - 2]  # sums of the first 2, 3, ... W - 2 windows
    after = forward[-1] - before
    first = np.arange(2, count - 1)
    return float((np.einsum("kd,kd->k", before, after) / (first * (count - first))).min())


def one_voice_limit(recordings: Iterable[Vectors]) -> float | None:
    """The least likeness that all but 1 % of recordings of one voice, windows [W, D] each, reach; None where none is
    long enough."""
    found = [value for windows in recordings if (value := least_likeness(windows)) is not None]
    return float(np.quantile(found, QUANTILE)) if found else None


def in_a_row(recordings: Iterable[Vectors]) -> Iterator[Vectors]:
    """Windows of one speaker's recordings [W, D] each, one after the other and cut anew: `FEWEST` windows each."""
    found = list(recordings)
    joined = np.concatenate(found) if found else np.empty((0, 1), np.float32)
    return (joined[start : start + FEWEST] for start in range(0, len(joined) - FEWEST + 1, FEWEST))


def several_voices(print_: VoicePrint, info: ModelInfo) -> bool:
    """Whether a recording's windows differ more than those of one voice usually do under this model.

    False where that cannot be known: for too short a recording, and for a model without a limit.
    """
    limit, value = info.extra.get(EXTRA), least_likeness(print_.windows)
    return isinstance(limit, float) and value is not None and value < limit
