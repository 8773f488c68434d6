"""Likelihood-ratio metrics against `lir`, the package of the Netherlands Forensic Institute."""

from __future__ import annotations

import math

import numpy as np
import pytest

from earwitness.metrics import cllr, elub_bounds, min_cllr

metrics = pytest.importorskip("lir.metrics")
models = pytest.importorskip("lir.data.models")
bayeserror = pytest.importorskip("lir.algorithms.bayeserror")


def labelled(pos: np.ndarray, neg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Base-10 ratios and labels, as the package takes them."""
    return np.concatenate([pos, neg]) / math.log(10), np.append(np.ones(len(pos)), np.zeros(len(neg)))


def test_cllr(list_a, tied_sets) -> None:
    for pos, neg in [list_a, *tied_sets]:
        llrs, labels = labelled(pos, neg)
        theirs = models.LLRData(features=llrs, labels=labels)
        assert cllr(pos, neg) == pytest.approx(metrics.cllr(theirs), abs=1e-9)


def test_min_cllr(list_a, tied_sets) -> None:
    for pos, neg in [list_a, *tied_sets]:
        llrs, labels = labelled(pos, neg)
        theirs = models.LLRData(features=llrs, labels=labels)
        assert min_cllr(pos, neg) == pytest.approx(metrics.cllr_min(theirs), abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_elub(seed: int) -> None:
    """Theirs walks a grid, base 10; ours solves the same condition exactly."""
    rng = np.random.default_rng(seed)
    distance = 1 + seed / 5
    pos, neg = rng.normal(distance**2 / 2, distance, 300), rng.normal(-(distance**2) / 2, distance, 400)
    llrs, labels = labelled(pos, neg)
    step = 0.001
    low, high = bayeserror.elub(llrs, labels.astype(int), step_size=step)
    assert np.array(elub_bounds(pos, neg)) / math.log(10) == pytest.approx([low, high], abs=2 * step)
