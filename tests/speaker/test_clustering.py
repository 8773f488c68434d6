"""Unknown voices told apart, on made-up prints and on real speakers whom the shipped model never trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earwitness.core.errors import DataError
from earwitness.metrics.clustering import cluster_figures
from earwitness.speaker.clustering import cluster_voices
from earwitness.speaker.comparison import Comparator, unit
from earwitness.training.calibration import Calibration, ConditionCalibration

CLEAN = ConditionCalibration(condition="clean", scale=12.0, offset=-6.0, low=-7.0, high=7.0, positives=9, negatives=9)
CALIBRATION = Calibration(fitted_on="nothing", conditions=(CLEAN,))


def people(counts: list[int], seed: int = 0) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    vectors, names = [], []
    for person, count in enumerate(counts):
        direction = rng.standard_normal(24)
        vectors += [direction + 0.6 * rng.standard_normal(24) for _ in range(count)]
        names += [f"p{person}"] * count
    order = rng.permutation(len(names))
    return unit(np.array(vectors, np.float32)[order]), [names[place] for place in order]


def test_voices_are_told_apart_and_numbered_by_size() -> None:
    vectors, names = people([4, 9, 1, 6])
    found = cluster_voices(vectors, Comparator(), CALIBRATION)
    figures = cluster_figures(names, found.labels.tolist())
    assert (figures.purity, figures.coverage, figures.adjusted_rand, found.count) == (1, 1, 1, 4)
    assert np.bincount(found.labels)[1:].tolist() == [9, 6, 4, 1]
    alone = names.index("p2")
    assert found.within(alone) is None
    assert found.nearest_other(alone) is not None
    assert sorted(found.order.tolist()) == list(range(20))


def test_the_mean_ratio_is_what_joins() -> None:
    """Joins at a threshold are those whose mean log ratio, over all pairs of the two groups, reaches it."""
    vectors, _ = people([3, 3], seed=2)
    for threshold in (-7.1, -2.0, 0.0, 3.0, 7.1):
        found = cluster_voices(vectors, Comparator(), CALIBRATION, threshold)
        assert found.count == 1 + int((found.heights < threshold).sum())
    first, second = found.tree[0, :2].astype(int)
    assert found.heights[0] == pytest.approx(found.llrs[first, second], abs=1e-6)
    last = found.tree[-1, :2].astype(int)
    sides = [_leaves(found.tree, node) for node in last]
    assert found.heights[-1] == pytest.approx(found.llrs[np.ix_(*sides)].mean(), abs=1e-6)


def _leaves(tree: np.ndarray, node: int) -> list[int]:
    count = len(tree) + 1
    return [node] if node < count else [leaf for child in tree[node - count, :2] for leaf in _leaves(tree, int(child))]


def test_one_recording_and_none() -> None:
    vectors, _ = people([1])
    found = cluster_voices(vectors, Comparator(), CALIBRATION)
    assert (found.count, found.labels.tolist(), found.nearest_other(0)) == (1, [1], None)
    with pytest.raises(DataError, match="0 recordings"):
        cluster_voices(vectors[:0], Comparator(), CALIBRATION)


@pytest.mark.soak
def test_real_speakers(shared_data: Path) -> None:
    """The shipped model on its dev speakers, on which the threshold was chosen; prints the figures."""
    import polars as pl

    from earwitness.evaluation.loading import load_embedder
    from earwitness.speaker.identities import COHORT_SPEAKERS, keys_in, speaker_key

    embedder = load_embedder("speaker")
    known = keys_in(embedder.info.extra[COHORT_SPEAKERS]) or frozenset()
    vectors, names = [], []
    for corpus in ("speechocean762", "speechocean762_more"):
        table = pl.read_csv(shared_data / corpus / "manifest.csv", infer_schema=False)
        for path, speaker in table.select("path", "speaker").iter_rows():
            name = f"speechocean762:{speaker}"
            if not {speaker_key(speaker), speaker_key(name)} & known:
                vectors.append(embedder.embed_file(shared_data / corpus / path).vector)
                names.append(speaker)
    assert embedder.info.calibration is not None
    found = cluster_voices(np.stack(vectors), embedder.comparator, embedder.info.calibration)
    figures = cluster_figures(names, found.labels.tolist())
    print(figures)
    assert figures.purity > 0.8
    assert figures.adjusted_rand > 0.7
