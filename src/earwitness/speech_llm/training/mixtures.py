"""How much of each kind of question is drawn: kind k of n_k with probability ~ n_k^exponent (0.5 is ours; the weights
of arXiv 2508.07273 are not known)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from earwitness.core.errors import DataError
from earwitness.corpora.samplers import BalancedSampler, BatchOrder


def mixture(counts: Mapping[str, int], exponent: float = 0.5) -> dict[str, float]:
    """The probability of each kind; kinds without items get none. Raises `DataError` where there is nothing.

    >>> mixture({"ASR": 900, "CPQA": 100})
    {'ASR': 0.75, 'CPQA': 0.25}
    """
    weights = {kind: count**exponent for kind, count in counts.items() if count > 0}
    if not weights:
        raise DataError("there is nothing to mix", fix="Give at least one kind of question.")
    total = sum(weights.values())
    return {kind: weight / total for kind, weight in weights.items()}


class MixtureOrder(BalancedSampler):
    """Rows by their kinds: each kind gets its share of an epoch of `size` draws to within one row, and within a kind
    every row comes once before any comes again."""

    def __init__(self, kinds: Sequence[str], batch_size: int, seed: int, size: int, exponent: float = 0.5) -> None:
        BatchOrder.__init__(self, batch_size, seed)
        shares = mixture(Counter(kinds), exponent)
        self.size = size
        self.cells = [np.flatnonzero(np.array(kinds) == kind) for kind in shares]
        self.weights = np.array(list(shares.values()))
