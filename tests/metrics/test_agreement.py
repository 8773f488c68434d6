"""Agreement of raters, against hand figures and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from earwitness.core.errors import MetricError
from earwitness.metrics.agreement import (
    cohen_kappa,
    icc1,
    krippendorff_alpha,
    quadratic_weighted_kappa,
    quadratic_weights,
    rating_table,
)


@pytest.mark.shows("speech-llm-landscape:7.5")
def test_kappa_of_the_table_in_the_sheet() -> None:
    assert cohen_kappa([[40, 10], [5, 45]]) == pytest.approx(0.70)


@pytest.mark.shows("speech-llm-landscape:7.5")
def test_kappas_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 6, 200)
    second = np.clip(first + rng.integers(-2, 3, 200), 0, 5)
    assert quadratic_weighted_kappa(first, second) == pytest.approx(
        cohen_kappa_score(first, second, weights="quadratic", labels=range(6))
    )
    tables = np.stack([rating_table(first, second, 6), rating_table(first, first, 6)])
    assert cohen_kappa(tables) == pytest.approx([cohen_kappa_score(first, second), 1.0])
    assert np.asarray(cohen_kappa(tables, quadratic_weights(6))).shape == (2,)


def test_quadratic_weights_by_hand() -> None:
    """Three items, ratings 0..2: O has weight 1/4 once; E by the margins (1,1,1) and (0,2,1) over 3."""
    seen = 0.25
    chance = (1 * 2 * 0.25 + 1 * 1 * 1.0 + 1 * 2 * 0 + 1 * 1 * 0.25 + 1 * 2 * 0.25 + 0) / 3
    assert quadratic_weighted_kappa([0, 1, 2], [1, 1, 2], 3) == pytest.approx(1 - seen / chance)


@pytest.mark.shows("speech-llm-landscape:7.5")
def test_alpha_of_krippendorff_s_own_example() -> None:
    """Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), example C: 0.849 for interval data."""
    x = math.nan
    ratings = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, x, x, x],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, x, 3],
        [x, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, x],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, x],
    ]
    assert krippendorff_alpha(ratings) == pytest.approx(0.849, abs=0.0005)
    assert krippendorff_alpha([[1, 2, 3], [1, 2, 3]]) == pytest.approx(1.0)
    assert math.isnan(krippendorff_alpha([[2, 2], [2, 2]]))


def test_icc_of_shrout_and_fleiss() -> None:
    """Their table 2: six targets, four judges, ICC(1,1) = 0.17."""
    scores = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert icc1(scores) == pytest.approx(0.17, abs=0.005)
    assert icc1([[1, 1], [3, 3], [math.nan, 2]]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: cohen_kappa([1, 2]),
        lambda: rating_table([0, 6], [0, 1], 6),
        lambda: rating_table([], [], 6),
        lambda: krippendorff_alpha([[1, math.nan], [math.nan, 1]]),
        lambda: icc1([[1, 2]]),
    ],
)
def test_what_is_no_rating_is_refused(wrong) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MetricError):
        wrong()
