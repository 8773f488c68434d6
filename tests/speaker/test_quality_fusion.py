"""The thirteen inputs, and a fit that equals outside libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from earwitness.core.errors import MetricError
from earwitness.metrics import cllr
from earwitness.speaker.quality_fusion import Qualities, QualityFusion, fit_quality_fusion, quality_inputs


def made_up(seed: int, n: int = 3_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that say less where a recording is short, the inputs, and which trials are targets."""
    rng = np.random.default_rng(seed)
    target = rng.random(n) < 0.3
    sides = [Qualities(rng.uniform(1, 40, n), rng.uniform(8, 20, n), rng.uniform(0.05, 0.4, n)) for _ in range(2)]
    shorter = np.minimum(*(np.minimum(side.duration_s, 20.0) for side in sides))
    scores = np.where(target, 3.0, 0.0) * shorter / 20 + rng.standard_normal(n)
    return scores, quality_inputs(scores, *sides), target


def test_inputs_by_hand_and_in_either_order() -> None:
    a, b = Qualities([4.0, 50.0], [10.0, 12.0], [0.2, 0.1]), Qualities([8.0, 10.0], [5.0, 12.0], [0.1, 0.3])
    found = quality_inputs([1.5, -2.0], a, b)
    assert found[0] == pytest.approx([1.5, 4, 8, 4, 2, 5, 10, 5, 2, 0.1, 0.2, 0.1, 2])
    assert found[1] == pytest.approx([-2, 10, 20, 10, 2, 12, 12, 0, 1, 0.1, 0.3, 0.2, 3])  # 50 s count as 20 s
    assert np.array_equal(quality_inputs([1.5, -2.0], b, a), found)


def test_fit_equals_scikit_learn_and_beats_the_score_alone() -> None:
    scores, inputs, target = made_up(0)
    fusion = fit_quality_fusion(inputs, target)
    model = LogisticRegression(C=1e10, class_weight="balanced", tol=1e-12, max_iter=5_000)
    standard = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    expected = model.fit(standard, target).decision_function(standard)
    assert fusion.llr(inputs) == pytest.approx(expected, abs=1e-3)  # balanced classes: log odds are log ratios
    held_scores, held, held_target = made_up(1)
    alone = LogisticRegression(C=1e10, class_weight="balanced").fit(scores[:, None], target)
    by_score = alone.decision_function(held_scores[:, None])
    by_all = fusion.llr(held)
    assert cllr(by_all[held_target], by_all[~held_target]) < cllr(by_score[held_target], by_score[~held_target]) - 0.01


def test_fit_minimises_cllr() -> None:
    _, inputs, target = made_up(2, 800)
    fusion = fit_quality_fusion(inputs, target)

    def cost(weights: np.ndarray, bias: float) -> float:
        llr = QualityFusion(weights, bias).llr(inputs)
        return cllr(llr[target], llr[~target])

    lowest = cost(fusion.weights, fusion.bias)
    assert lowest < cost(np.full(13, 1 / 13), 0.0)
    for place in range(13):
        for step in (-0.01, 0.01):
            assert cost(fusion.weights + step * np.eye(13)[place], fusion.bias) > lowest
    assert cost(fusion.weights, fusion.bias + 0.01) > lowest < cost(fusion.weights, fusion.bias - 0.01)


def test_a_raw_cosine_is_no_likelihood_ratio() -> None:
    """It lies in [-1, 1]: even without an error its Cllr stays above 0.45."""
    assert cllr([1.0], [-1.0]) == pytest.approx(math.log2(1 + math.exp(-1)), abs=1e-12) == pytest.approx(0.45, abs=0.01)


@pytest.mark.parametrize("value", [0.0, -0.1])
def test_measures_without_a_ratio_are_refused(value: float) -> None:
    good, bad = Qualities([1.0], [1.0], [0.1]), Qualities([1.0], [1.0], [value])
    with pytest.raises(MetricError, match="cohort mean: 1 not above 0"):
        quality_inputs([0.0], good, bad)


def test_what_cannot_be_fitted_is_refused() -> None:
    _, inputs, target = made_up(3, 60)
    with pytest.raises(MetricError, match="of one class"):
        fit_quality_fusion(inputs, np.ones(60))
    with pytest.raises(MetricError, match="must be finite and"):
        fit_quality_fusion(inputs[:, :12], target)
    inputs[:, 0] = np.where(target, 9.0, -9.0)
    with pytest.raises(MetricError, match="do not overlap"):
        fit_quality_fusion(inputs, target)
    with pytest.raises(MetricError, match="2 scores with measures of 1"):
        quality_inputs([0.0, 1.0], Qualities([1.0], [1.0], [0.1]), Qualities([1.0], [1.0], [0.1]))
