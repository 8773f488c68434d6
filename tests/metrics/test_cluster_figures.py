"""Figures of clusters against counts made by hand."""

from __future__ import annotations

import pytest

from earwitness.core.errors import MetricError
from earwitness.metrics.clustering import cluster_figures


def test_by_hand() -> None:
    """Clusters {a a b}, {b b}, {c}: 2 + 2 + 1 of 6 are the most frequent of their cluster; a 2, b 2, c 1 of 6 lie in
    the largest cluster of their voice. Rand: pairs together in both 1 + 1, in clusters 3 + 1, of voices 1 + 3, of 15:
    (2 - 4 * 4 / 15) / ((4 + 4) / 2 - 4 * 4 / 15)."""
    found = cluster_figures(list("aabbbc"), [0, 0, 0, 1, 1, 2])
    assert (found.items, found.voices, found.clusters) == (6, 3, 3)
    assert (found.purity, found.coverage) == pytest.approx((5 / 6, 5 / 6))
    assert found.adjusted_rand == pytest.approx((2 - 16 / 15) / (4 - 16 / 15))


def test_all_apart_is_pure_and_all_together_covers() -> None:
    apart, together = cluster_figures(list("aab"), [0, 1, 2]), cluster_figures(list("aab"), [0, 0, 0])
    assert (apart.purity, apart.coverage) == pytest.approx((1, 2 / 3))
    assert (together.purity, together.coverage) == pytest.approx((2 / 3, 1))
    assert apart.adjusted_rand == together.adjusted_rand == 0
    assert cluster_figures(list("aab"), [7, 7, 3]).adjusted_rand == 1


def test_refused() -> None:
    for voices, clusters in (([], []), (["a"], [0, 1])):
        with pytest.raises(MetricError):
            cluster_figures(voices, clusters)
