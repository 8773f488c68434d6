"""Two recordings compared phone by phone (arXiv 2501.05729): similarities, the evidence score, and their agreement.

Values are cosines of traits that are not negative, so 0 to 1. They are not calibrated, and phones have very different
levels: never compare them across phones without the phone's own targets and nontargets (`discriminability`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
AT_ONCE = 256  # trials


@dataclass(frozen=True)
class TraitPrint:
    """What is kept of a recording: its embedding [D] at unit length (PhiNet: [0]), unit traits [I, F] with zeros where
    `present` [I] is off, and the seconds of each phone [I]."""

    embedding: NDArray[np.float32]
    traits: NDArray[np.float16]
    present: Flags
    seconds: Floats
    seconds_used: float
    seconds_total: float


@dataclass(frozen=True)
class Similarities:
    """Of n trials: s_i [n, I], 0 where a side lacks the phone, and which phones are shared [n, I]."""

    values: Floats
    shared: Flags

    @property
    def evidence(self) -> Floats:
        """EVD [n]: the mean over shared phones; NaN where there is none. A phone that one side lacks never enters."""
        count = self.shared.sum(1)
        sums = np.where(self.shared, self.values, 0.0).sum(1)
        return np.where(count > 0, sums / np.maximum(count, 1), np.nan)

    @property
    def count(self) -> NDArray[np.int64]:
        """|P| [n]."""
        return np.asarray(self.shared.sum(1))


def similarities(prints: Sequence[TraitPrint], enrol: NDArray[np.int64], test: NDArray[np.int64]) -> Similarities:
    """Of the trials prints[enrol[j]] against prints[test[j]]."""
    present = np.stack([one.present for one in prints])
    shared = present[enrol] & present[test]
    values = np.zeros(shared.shape)
    for start in range(0, len(enrol), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        first = np.stack([prints[place].traits for place in enrol[part]]).astype(np.float32)
        second = np.stack([prints[place].traits for place in test[part]]).astype(np.float32)
        values[part] = np.einsum("nif,nif->ni", first, second)
    return Similarities(np.clip(np.where(shared, values, 0.0), 0.0, 1.0), shared)


def similarity_matrix(first: TraitPrint, second: TraitPrint) -> Floats:
    """M [I, I]: every phone of the first against every phone of the second."""
    return np.asarray(first.traits.astype(np.float64) @ second.traits.astype(np.float64).T)


def full_evidence(matrix: Floats) -> float:
    """The other form of the evidence score: the mean of all M_ij that are not 0; NaN where there is none."""
    found = matrix[matrix != 0]
    return float(found.mean()) if len(found) else float("nan")


def cosines(prints: Sequence[TraitPrint], enrol: NDArray[np.int64], test: NDArray[np.int64]) -> Floats:
    """Of the embeddings [n]; no mean is subtracted."""
    vectors = np.stack([one.embedding for one in prints]).astype(np.float64)
    return np.asarray((vectors[enrol] * vectors[test]).sum(1))


def agreement(scores: Floats, evidence: Floats) -> float:
    """Spearman's rank correlation of verdicts and evidence over trials; NaN where one of them does not vary."""
    from scipy.stats import rankdata

    both = np.isfinite(scores) & np.isfinite(evidence)
    first, second = rankdata(scores[both]), rankdata(evidence[both])
    if len(first) < 2 or first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
