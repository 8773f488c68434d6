"""What a phone is worth: its similarity within speakers beside that between speakers ("F-ratio", arXiv 2501.05729).

The mean over trials of one speaker says how little a speaker varies, that over trials of two how far speakers differ;
phones are sorted by the ratio. A phone shared by fewer than 30 trials of one speaker is greyed: its ratio is a guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from earwitness.core.config import Config
from earwitness.speaker.phonetic_traits.comparing import Flags, Similarities

MOST_TRIALS = 500  # of each kind and phone, as in the released code
FEWEST_TRIALS = 30  # of one speaker, below which a phone is greyed (ours)
QUANTILES = tuple(np.linspace(0, 1, 41).round(3).tolist())


class PhoneDiscriminability(Config):
    """One phone: means of s_i and numbers of trials; `nontarget_quantiles` at `QUANTILES`, empty without trials."""

    phone: str
    target_trials: int = Field(ge=0)
    nontarget_trials: int = Field(ge=0)
    target_mean: float | None
    nontarget_mean: float | None
    nontarget_quantiles: tuple[float, ...] = ()

    @property
    def ratio(self) -> float | None:
        """Mean of targets / mean of nontargets; None where one of them is missing or nontargets are all 0."""
        if self.target_mean is None or not self.nontarget_mean:
            return None
        return self.target_mean / self.nontarget_mean

    @property
    def difference(self) -> float | None:
        """Mean of targets - mean of nontargets."""
        if self.target_mean is None or self.nontarget_mean is None:
            return None
        return self.target_mean - self.nontarget_mean

    @property
    def greyed(self) -> bool:
        """Too few trials of one speaker to count."""
        return self.target_trials < FEWEST_TRIALS

    def percentile(self, similarity: float) -> float | None:
        """Which share of nontarget trials is less alike than this, in %; None without any of them."""
        if not self.nontarget_quantiles:
            return None
        quantiles = np.array(self.nontarget_quantiles)
        below = float(np.interp(similarity, quantiles, QUANTILES, left=0.0, right=1.0))
        return 100 * below


def discriminability(
    found: Similarities, target: Flags, phones: Sequence[str], seed: int = 0
) -> tuple[PhoneDiscriminability, ...]:
    """Every phone, the highest ratio first and what has none last; `target` bool [n]: trials of one speaker.

    Of each phone at most 500 trials of either kind count, drawn by the seed.
    """
    order = np.random.default_rng(seed).permutation(len(target))
    rows = [_of_phone(place, phone, found, target, order) for place, phone in enumerate(phones)]
    return tuple(sorted(rows, key=lambda row: (row.ratio is None, -(row.ratio or 0.0), row.phone)))


def _of_phone(
    place: int, phone: str, found: Similarities, target: Flags, order: NDArray[np.int64]
) -> PhoneDiscriminability:
    shared = order[found.shared[order, place]]
    same = found.values[shared[target[shared]][:MOST_TRIALS], place]
    other = found.values[shared[~target[shared]][:MOST_TRIALS], place]
    return PhoneDiscriminability(
        phone=phone,
        target_trials=len(same),
        nontarget_trials=len(other),
        target_mean=float(same.mean()) if len(same) else None,
        nontarget_mean=float(other.mean()) if len(other) else None,
        nontarget_quantiles=tuple(np.quantile(other, QUANTILES).round(5).tolist()) if len(other) else (),
    )
