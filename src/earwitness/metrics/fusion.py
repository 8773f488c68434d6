"""Several systems as one: by their scores, by their embeddings, by their logits, or by a classifier on their features.

Of embeddings with equal weights the fused cosine is the mean of the systems' cosines exactly, so what concatenation
does can be had from score files too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats

PENALTY = (
    100.0  # inverse strength of the ridge on weights of unit scores: keeps them finite where classes don't overlap
)


@dataclass(frozen=True)
class ScoreFusion:
    """sum_k weights_k x score_k + offset, of K systems."""

    weights: tuple[float, ...]
    offset: float = 0.0

    def fused(self, scores: ArrayLike) -> Floats:
        """Scores [K, N] -> [N]. Raises `MetricError` for another number of systems."""
        values = _of_systems(scores)
        if len(values) != len(self.weights):
            raise MetricError(f"{len(values)} systems, the fusion is of {len(self.weights)}", where="fusion")
        return np.asarray(np.array(self.weights) @ values + self.offset)


def mean_of(count: int) -> ScoreFusion:
    """The plain mean: of cosines, what concatenating the unit embeddings gives."""
    return ScoreFusion((1 / count,) * count)


def z_normalised(scores: ArrayLike) -> ScoreFusion:
    """The mean of scores that each system's own mean and deviation on these trials [K, N] normalise.

    Raises `MetricError` where a system gives all of them one score.
    """
    values = _of_systems(scores)
    mean, deviation = values.mean(axis=1), values.std(axis=1)
    if not (deviation > 0).all():
        raise MetricError(f"system {int(np.argmin(deviation)) + 1} gives all trials one score", where="fusion")
    weights = 1 / deviation / len(values)
    return ScoreFusion(tuple(weights.tolist()), -float(weights @ mean))


def fit_logistic_fusion(positive: ArrayLike, negative: ArrayLike) -> ScoreFusion:
    """Weights by logistic regression at even prior, on trials held out for it: [K, P] and [K, M].

    The fused score is then close to a log-likelihood ratio, unbounded. A weight may be negative: systems that err
    alike are held against each other. Raises `MetricError`.
    """
    from sklearn.linear_model import LogisticRegression

    pos, neg = _of_systems(positive), _of_systems(negative)
    if len(pos) != len(neg):
        raise MetricError(f"{len(pos)} and {len(neg)} systems in the two classes", where="fusion")
    pooled = np.concatenate([pos, neg], axis=1)
    own = z_normalised(pooled)  # refuses constant scores
    scale = np.array(own.weights) * len(pooled)
    labels = np.repeat([1, 0], [pos.shape[1], neg.shape[1]])
    model = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000)
    model.fit(((pooled - pooled.mean(axis=1, keepdims=True)) * scale[:, None]).T, labels)
    weights = model.coef_[0] * scale
    return ScoreFusion(tuple(weights.tolist()), float(model.intercept_[0] - weights @ pooled.mean(axis=1)))


def concatenated(embeddings: Sequence[ArrayLike], weights: Sequence[float] | None = None) -> Floats:
    """Embeddings [N, D_k] of K systems, scaled to unit length and put side by side, [N, sum of D_k], of unit length.

    The cosine of two such rows is the mean of the systems' cosines, weighted by `weights` (None: equally). Raises
    `MetricError` for embeddings of other items, of zero length, or weights that are not positive.
    """
    shares = np.ones(len(embeddings)) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != (len(embeddings),) or not (shares > 0).all():
        raise MetricError(f"weights {shares.tolist()} for {len(embeddings)} systems", where="fusion")
    shares = np.sqrt(shares / shares.sum())
    parts = [share * _units(values) for share, values in zip(shares, embeddings, strict=True)]
    if len({len(part) for part in parts}) != 1:
        raise MetricError(f"the systems embed {[len(part) for part in parts]} items", where="fusion")
    return np.hstack(parts)


def mean_log_softmax(logits: Sequence[ArrayLike]) -> Floats:
    """Logits [N, C] of K systems -> the mean of their log-probabilities, [N, C]: a geometric mean, not normalised."""
    return np.asarray(np.mean([log_softmax(np.asarray(values, np.float64), axis=1) for values in logits], axis=0))


def classified(features: ArrayLike, classes: ArrayLike, tests: ArrayLike) -> Floats:
    """A logistic regression on (concatenated) features [N, D] with their classes -> log-probabilities of tests [M, D]
    in the order of the sorted classes, [M, C]. Raises `MetricError` for a single class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = np.asarray(classes)
    if len(np.unique(labels)) < 2:
        raise MetricError("a classifier needs two classes", where="fusion")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return np.asarray(model.fit(np.asarray(features, np.float64), labels).predict_log_proba(np.asarray(tests)))


def _of_systems(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise MetricError(
            f"scores of shape {values.shape}, or not finite", where="fusion", fix="Give [systems, trials]."
        )
    return values


def _units(values: ArrayLike) -> Floats:
    rows = np.asarray(values, np.float64)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    if rows.ndim != 2 or not (lengths > 0).all():
        raise MetricError("an embedding has no length, so no direction", where="fusion")
    return np.asarray(rows / lengths)
