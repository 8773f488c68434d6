"""Accuracies of classes: values by hand, scikit-learn on random cases, folds, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn
from sklearn import metrics as sk

from earwitness.core.errors import MetricError
from earwitness.metrics.classification import Confusion, confusion, over_folds

EXACT = {"rel": 0, "abs": 1e-6}


@pytest.mark.shows("paralinguistic-metrics:6.1")
def test_values_of_the_definitions() -> None:
    matrix = Confusion(("a", "b"), np.array([[8.0, 2], [3, 1]]))
    assert matrix.wa == pytest.approx(0.642857, **EXACT)
    assert matrix.micro_f1 == matrix.wa
    assert matrix.ua == pytest.approx(0.525, **EXACT)
    assert matrix.macro_f1 == pytest.approx(0.5238095, **EXACT)
    assert matrix.weighted_f1 == pytest.approx((10 * 16 / 21 + 4 * 2 / 7) / 14, **EXACT)
    assert (matrix.majority_wa, matrix.chance_ua) == pytest.approx((10 / 14, 0.5))


@pytest.mark.shows("paralinguistic-metrics:6.2")
@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_equal_to_scikit_learn_on_a_thousand_cases() -> None:
    names = np.array(["anger", "fear", "neutral", "sadness", "disgust"])
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        n, k = int(rng.integers(1, 40)), int(rng.integers(2, 6))
        y, f = names[rng.integers(0, k, n)], names[rng.integers(0, k, n)]
        found = confusion(y.tolist(), f.tolist(), names.tolist())
        assert np.array_equal(found.counts, sk.confusion_matrix(y, f, labels=names))
        with sklearn.config_context(skip_parameter_validation=True):
            _, recalls, f1s, rows = sk.precision_recall_fscore_support(y, f, labels=names, zero_division=0)
            used = [name in {*y, *f} for name in names]
            assert found.wa == pytest.approx(np.average(recalls, weights=rows), abs=1e-12)
            assert found.ua == pytest.approx(recalls[rows > 0].mean(), abs=1e-12)
            assert found.macro_f1 == pytest.approx(f1s[used].mean(), abs=1e-12)
            assert found.weighted_f1 == pytest.approx(np.average(f1s, weights=rows), abs=1e-12)
            if seed % 10:  # the averages by their own names take five times as long
                continue
            assert found.wa == sk.accuracy_score(y, f)
            for average, value in (
                ("micro", found.micro_f1),
                ("macro", found.macro_f1),
                ("weighted", found.weighted_f1),
            ):
                assert value == pytest.approx(sk.f1_score(y, f, average=average, zero_division=0), abs=1e-12)
            if len(set(y)) > 1:
                assert found.ua == pytest.approx(sk.balanced_accuracy_score(y, f), abs=1e-12)


def test_a_class_in_neither_truth_nor_calls_is_left_out() -> None:
    found = confusion(["a", "b"], ["a", "c"], ["a", "b", "c", "d"])
    assert found.ua == 0.5  # of a and b: c is not in the truth
    assert found.macro_f1 == pytest.approx(1 / 3)  # of a, b and c; d is nowhere
    assert np.isnan(found.recalls[2:]).all()
    assert np.isnan(found.precisions[[1, 3]]).all()


def test_folds_pooled_and_as_means() -> None:
    """Five folds with the sizes of IEMOCAP's sessions: the pooled WA weighs them by size."""
    sizes, rates = (1085, 1023, 1151, 1031, 1241), (0.70, 0.72, 0.74, 0.76, 0.78)
    folds = [Confusion(("a", "b"), np.array([[n * r, n * (1 - r)], [0, 0]])) for n, r in zip(sizes, rates, strict=True)]
    both = over_folds(folds)
    assert both.pooled.wa == pytest.approx(0.741157, **EXACT)
    assert both.wa.mean == pytest.approx(0.74, **EXACT)
    assert both.wa.sd == pytest.approx(np.std(rates, ddof=1))
    assert math.isnan(over_folds(folds[:1]).ua.sd)


def test_weights_count_as_copies() -> None:
    y, f, counts = ["a", "b", "b", "c"], ["a", "a", "b", "a"], np.array([2, 0, 3, 1])
    copied = confusion(np.repeat(y, counts).tolist(), np.repeat(f, counts).tolist(), "abc")
    assert np.array_equal(confusion(y, f, "abc", counts).counts, copied.counts)


def test_refused() -> None:
    with pytest.raises(MetricError, match="unknown class 'boredem'"):
        confusion(["boredem"], ["anger"], ["anger", "boredom"])
    for truth, predicted in (([], []), (["a"], ["a", "b"])):
        with pytest.raises(MetricError):
            confusion(truth, predicted)
    with pytest.raises(MetricError, match="different classes"):
        over_folds([confusion(["a"], ["a"]), confusion(["b"], ["b"])])
    with pytest.raises(MetricError, match="has no rows"):
        Confusion(("a",), np.zeros((1, 1)))
