"""Unknown voices told apart: agglomerative clustering of voice prints by calibrated log-likelihood ratios.

Two groups are joined while the mean of the ratios between their recordings (average linkage, Sokal and Michener 1958)
is at least a threshold. That mean is not the ratio of the groups: noise in each recording lowers it, so that at even
odds (0) one voice is often left in several groups. The default of -1 rather leaves a voice in two groups than puts two
voices into one (docs/systems/speaker.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import squareform

from earwitness.core.errors import DataError
from earwitness.metrics.scores import Floats
from earwitness.speaker.comparison import Comparator, Vectors
from earwitness.training.calibration import Calibration

THRESHOLD_LLR = -1.0
MOST = 10_000  # recordings: all pairs of more do not fit into memory


@dataclass(frozen=True)
class Clusters:
    """`labels` [n] count from 1, the largest cluster first; `llrs` [n, n] between the recordings, 0 on the diagonal.

    `tree` [n - 1, 4] is scipy's linkage with `heights` in log ratios, falling from the first join to the last; `order`
    [n] are the recordings as leaves of it, so that no two branches cross.
    """

    labels: NDArray[np.int64]
    llrs: Floats
    tree: Floats
    heights: Floats
    order: NDArray[np.int64]
    threshold: float

    @property
    def count(self) -> int:
        """How many voices there seem to be."""
        return int(self.labels.max())

    def within(self, place: int) -> float | None:
        """The mean log ratio of a recording with the others of its cluster; None where it is alone."""
        others = self.labels == self.labels[place]
        others[place] = False
        return float(self.llrs[place, others].mean()) if others.any() else None

    def nearest_other(self, place: int) -> tuple[int, float] | None:
        """The other cluster that a recording is most like, and its mean log ratio with it; None where there is none."""
        names = [name for name in range(1, self.count + 1) if name != self.labels[place]]
        if not names:
            return None
        means = [float(self.llrs[place, self.labels == name].mean()) for name in names]
        return names[int(np.argmax(means))], max(means)


def cluster_voices(
    vectors: Vectors, comparator: Comparator, calibration: Calibration, threshold: float = THRESHOLD_LLR
) -> Clusters:
    """Clusters of voice prints [n, D]; see the module's text. Raises `DataError` for none, and for more than `MOST`."""
    count = len(vectors)
    if not 1 <= count <= MOST:
        raise DataError(f"{count} recordings cannot be told apart at once", fix=f"Give 1 to {MOST:,}.")
    side = comparator.side(vectors)
    llrs = calibration.conditions[0].llrs(comparator.every(side, side))
    llrs = (llrs + llrs.T) / 2  # single precision leaves the two halves apart in the last digits
    np.fill_diagonal(llrs, 0.0)
    if count == 1:
        return Clusters(np.ones(1, np.int64), llrs, np.empty((0, 4)), np.empty(0), np.zeros(1, np.int64), threshold)
    most = calibration.conditions[0].high
    distances = most - llrs
    np.fill_diagonal(distances, 0.0)
    tree = linkage(squareform(distances, checks=False), "average")
    labels = _by_size(fcluster(tree, most - threshold, "distance"))
    return Clusters(labels, llrs, tree, most - tree[:, 2], leaves_list(tree).astype(np.int64), threshold)


def _by_size(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Named anew from 1: the largest first, of equal ones that of the earliest recording."""
    names, first, counts = np.unique(labels, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(1, len(names) + 1)
    return place[np.searchsorted(names, labels)]
