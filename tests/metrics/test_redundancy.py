"""Redundancy of embeddings and decisions, fusion, and overlap of maps: by numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.core.errors import MetricError
from earwitness.metrics.fusion import (
    ScoreFusion,
    classified,
    concatenated,
    fit_logistic_fusion,
    mean_log_softmax,
    mean_of,
    z_normalised,
)
from earwitness.metrics.maps import band_shares, overlap, shuffled, top_iou
from earwitness.metrics.redundancy import (
    Pairs,
    disagreement,
    double_fault,
    effective_rank,
    eta_squared,
    linear_cka,
    linear_residual,
    mlp_r2,
    redundancy,
    ridge_r2,
)

RNG = np.random.default_rng(0)


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(1) / lengths


@pytest.mark.shows("acorl:6.5")
def test_concatenated_embeddings_have_the_mean_of_the_cosines() -> None:
    systems = [RNG.standard_normal((200, size)) * scale for size, scale in ((192, 1.0), (256, 30.0), (64, 0.01))]
    joined = concatenated(systems)
    cosines = np.stack([cosine(values[:100], values[100:]) for values in systems])
    np.testing.assert_allclose(cosine(joined[:100], joined[100:]), cosines.mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(joined, axis=1), 1)
    weighted = concatenated(systems, [1, 2, 5])
    np.testing.assert_allclose(cosine(weighted[:100], weighted[100:]), np.array([1, 2, 5]) / 8 @ cosines, atol=1e-14)
    np.testing.assert_allclose(mean_of(3).fused(cosines), cosines.mean(axis=0))
    with pytest.raises(MetricError, match="no length"):
        concatenated([np.zeros((2, 3)), np.ones((2, 3))])
    with pytest.raises(MetricError, match=r"embed \[2, 3\] items"):
        concatenated([np.ones((2, 3)), np.ones((3, 3))])


def test_score_fusion() -> None:
    scores = np.stack([RNG.normal(5, 2, 1000), RNG.normal(-100, 40, 1000)])
    fused = z_normalised(scores).fused(scores)
    expected = ((scores - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True)).mean(0)
    np.testing.assert_allclose(fused, expected, atol=1e-12)
    # two systems with independent unit noise, 2 and 1 apart: the best weights are as 2 to 1, and so are the LLR's
    positive, negative = RNG.standard_normal((2, 20_000)) + np.array([[2], [1]]), RNG.standard_normal((2, 20_000))
    fusion = fit_logistic_fusion(positive, negative)
    assert fusion.weights == pytest.approx((2, 1), abs=0.08)
    assert fusion.offset == pytest.approx(-2.5, abs=0.1)
    with pytest.raises(MetricError, match="3 systems, the fusion is of 2"):
        fusion.fused(np.ones((3, 4)))
    with pytest.raises(MetricError, match="system 2 gives all trials one score"):
        z_normalised(np.stack([scores[0], np.ones(1000)]))
    assert ScoreFusion((1.0, 1.0), 1.0).fused([[1], [2]]).tolist() == [4]


def test_log_probabilities_and_features() -> None:
    logits = [np.log([[0.8, 0.2]]) + 7, np.log([[0.2, 0.8]])]
    np.testing.assert_allclose(mean_log_softmax(logits), np.log([[0.4, 0.4]]))
    y = np.arange(300) % 3
    features = np.eye(3)[y] + 0.1 * RNG.standard_normal((300, 3))
    found = classified(features[:200], y[:200], features[200:])
    assert (found.argmax(1) == y[200:]).all()
    np.testing.assert_allclose(np.exp(found).sum(1), 1)


def test_probes_find_what_is_there_and_no_more() -> None:
    z, noise = RNG.standard_normal((2000, 6)), RNG.standard_normal((2000, 4))
    linear = z[:, :4] @ RNG.standard_normal((4, 4))
    curved = np.abs(z[:, :4])
    for target, ridge, mlp in ((linear, 1.0, 1.0), (curved, 0.0, 0.9), (noise, 0.0, 0.0)):
        fit, held_out = Pairs(z[:1000], target[:1000]), Pairs(z[1000:], target[1000:])
        assert ridge_r2(fit, held_out) == pytest.approx(ridge, abs=0.03)
        found = mlp_r2(fit, held_out)
        assert found > mlp - 0.1 if mlp else found < 0.02
    half = linear + np.sqrt(linear.var(0)) * noise  # as much noise as signal
    assert ridge_r2(Pairs(z[:1000], half[:1000]), Pairs(z[1000:], half[1000:])) == pytest.approx(0.5, abs=0.05)
    # a direction in which z hardly varies counts little
    faint = np.hstack([1e-4 * z[:, :4], noise])
    assert ridge_r2(Pairs(faint[:1000], linear[:1000]), Pairs(faint[1000:], linear[1000:])) < 0.05


def test_alignment_and_rank() -> None:
    x = RNG.standard_normal((500, 8))
    rotation, _ = np.linalg.qr(RNG.standard_normal((8, 8)))
    assert linear_cka(x, 3 * x @ rotation + 5) == pytest.approx(1)
    assert linear_cka(x, RNG.standard_normal((500, 8))) < 0.05
    white, _ = np.linalg.qr(x - x.mean(0))
    assert effective_rank(white) == pytest.approx(8)
    assert effective_rank(white[:, :1] @ np.ones((1, 8))) == pytest.approx(1)
    assert effective_rank(white * [3, 3, 0, 0, 0, 0, 0, 0]) == pytest.approx(2)
    with pytest.raises(MetricError, match="constant"):
        effective_rank(np.ones((5, 2)))


def test_what_classes_explain() -> None:
    y = np.arange(400) % 4
    assert eta_squared(np.eye(4)[y], y) == pytest.approx(1)
    assert eta_squared(RNG.standard_normal((400, 3)), y) < 0.05
    # two classes at +-1 with noise of deviation 1: half of the spread
    signs = np.where(y % 2, 1.0, -1.0)[:, None]
    assert eta_squared(signs + RNG.standard_normal((400, 1)), y % 2) == pytest.approx(0.5, abs=0.07)


def test_the_linear_residual_of_a_known_world() -> None:
    z = RNG.standard_normal((200_000, 2))
    v = np.stack([z[:, 0] + RNG.standard_normal(200_000), RNG.standard_normal(200_000)], axis=1)
    assert linear_residual(Pairs(z, v)) == pytest.approx(2, abs=0.03)  # 1 of noise, and 1 that z knows nothing of


def test_decisions() -> None:
    first, second, truth = [1, 1, 0, 0], [1, 0, 0, 1], [1, 0, 1, 0]
    assert disagreement(first, second) == 0.5
    assert double_fault(first, second, truth) == 0.25
    assert double_fault([0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]) == 0.5
    with pytest.raises(MetricError, match="decisions"):
        disagreement([1], [1, 0])


def test_the_report_has_all_of_it() -> None:
    y = np.arange(400) % 4
    v = np.eye(4)[y] + 0.1 * RNG.standard_normal((400, 4))
    z = np.hstack([v, RNG.standard_normal((400, 2))])
    found = redundancy(Pairs(z[:200], v[:200]), Pairs(z[200:], v[200:]), y[200:])
    assert found.ridge_r2 > 0.99
    assert found.mlp_r2 > 0.95
    assert 0 < found.cka < 1
    assert 1 < found.effective_rank < 10
    assert 0.9 < found.floor < 1
    with pytest.raises(MetricError, match="not finite"):
        Pairs.of([[np.nan], [1.0]], [[0.0], [1.0]])


@pytest.mark.shows("acorl:6.8")
def test_maps_overlap_and_shuffled_ones_by_chance_alone() -> None:
    cells = RNG.random((100, 80)) ** 3
    same = overlap(cells, 5 * cells)
    assert (same.spearman, same.iou) == (pytest.approx(1), 1.0)
    control = [overlap(cells, shuffled(cells, seed)) for seed in range(20)]
    assert abs(np.mean([found.spearman for found in control])) < 0.02
    assert np.mean([found.iou for found in control]) == pytest.approx(1 / 19, abs=0.01)
    assert sorted(shuffled(cells).ravel()) == sorted(cells.ravel())
    first, second = np.zeros((10, 10)), np.zeros((10, 10))
    first[0], second[0, 5:], second[1, :5] = 1, 1, 1
    assert top_iou(first, second) == pytest.approx(5 / 15)
    rising = np.arange(10.0)[None]
    assert top_iou(rising, np.array([[7.0, 6, 5, 4, 3, 2, 1, 0, 8, 9]]), share=0.2) == 1  # the most, not the least
    mass = np.zeros((3, 8))
    mass[:, :2], mass[:, 6] = 1, 2
    assert band_shares(mass).tolist() == [0.5, 0, 0, 0.5]
    assert band_shares(mass / mass.sum()).tolist() == pytest.approx([0.5, 0, 0, 0.5])
    with pytest.raises(MetricError, match="the map has no mass"):
        band_shares(np.zeros((3, 8)))
    with pytest.raises(MetricError, match=r"\(10, 10\) and \(3, 8\)"):
        overlap(first, mass)
