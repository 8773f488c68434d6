"""How well groups of recordings are the voices that they should be: purity, coverage, adjusted Rand index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from earwitness.core.errors import MetricError


@dataclass(frozen=True)
class ClusterFigures:
    """`purity`: share of items in whose cluster their voice is the most frequent one; 1 where no cluster mixes voices.
    `coverage`: share of items in their voice's largest cluster; 1 where no voice is split. `adjusted_rand`: agreement
    of pairs beyond chance (Hubert and Arabie 1985); 1 is perfect, 0 chance.
    """

    items: int
    voices: int
    clusters: int
    purity: float
    coverage: float
    adjusted_rand: float


def cluster_figures(voices: Sequence[str], clusters: Sequence[int]) -> ClusterFigures:
    """Of items whose voices are known. Raises `MetricError` for none, or for unequal lengths."""
    from sklearn.metrics import adjusted_rand_score
    from sklearn.metrics.cluster import contingency_matrix

    if not len(voices) == len(clusters) or not len(voices):
        raise MetricError(f"{len(voices)} voices with {len(clusters)} clusters", fix="Give both for every item.")
    table = np.asarray(contingency_matrix(list(voices), list(clusters)))
    return ClusterFigures(
        items=len(voices),
        voices=table.shape[0],
        clusters=table.shape[1],
        purity=float(table.max(axis=0).sum() / len(voices)),
        coverage=float(table.max(axis=1).sum() / len(voices)),
        adjusted_rand=float(adjusted_rand_score(list(voices), list(clusters))),
    )
