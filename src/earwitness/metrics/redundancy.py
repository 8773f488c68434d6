"""How much of what one model knows another knows too: of embeddings by fresh probes on held-out items, of decisions by
where they agree (a reconstruction of the analysis in arXiv 2404.15704; linear CKA: arXiv 1905.00414).

A probe that took part in training says nothing: a weak adversary makes any pair look complementary. The probes here
are fitted anew. A cosine between two models' embeddings would mean nothing at all: any rotation of one of them gives 0.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.core.errors import MetricError
from earwitness.metrics.scores import Floats

STRENGTHS = tuple(10.0**power for power in range(-3, 2))  # of the ridge, against the source's mean variance
HIDDEN = 256


@dataclass(frozen=True)
class Pairs:
    """Embeddings of the same N items: `source` [N, D], and `target` [N, E], which is to be predicted from it.

    Raises `MetricError` for other shapes, fewer than two items, and values that are not finite.
    """

    source: Floats
    target: Floats

    def __post_init__(self) -> None:
        for name, values in (("source", self.source), ("target", self.target)):
            if values.ndim != 2 or len(values) != len(self.source) or len(values) < 2:
                raise MetricError(f"{name} has shape {values.shape}", where="redundancy", fix="Give [items, values].")
            if not np.isfinite(values).all():
                raise MetricError(f"{name} has values that are not finite", where="redundancy")

    @classmethod
    def of(cls, source: ArrayLike, target: ArrayLike) -> Pairs:
        """In double precision."""
        return cls(np.asarray(source, np.float64), np.asarray(target, np.float64))


@dataclass(frozen=True)
class Redundancy:
    """What a member's embeddings v and a newer model's z have in common, on items that no probe was fitted on.

    `ridge_r2`, `mlp_r2`: of v from z. `cka`: linear. `effective_rank` of [v, z] side by side, each of unit variance.
    `floor`: eta squared of v, the share that the classes alone explain, which a flexible probe reaches wherever z tells
    the classes.
    """

    ridge_r2: float
    mlp_r2: float
    cka: float
    effective_rank: float
    floor: float


def redundancy(fit: Pairs, held_out: Pairs, classes: ArrayLike, seed: int = 0) -> Redundancy:
    """z as the source, v as the target; `classes` [N] of the held-out items. Raises `MetricError`."""
    return Redundancy(
        ridge_r2=ridge_r2(fit, held_out),
        mlp_r2=mlp_r2(fit, held_out, seed),
        cka=linear_cka(held_out.source, held_out.target),
        effective_rank=effective_rank(np.hstack([_unit_variance(held_out.target), _unit_variance(held_out.source)])),
        floor=eta_squared(held_out.target, classes),
    )


def ridge_r2(fit: Pairs, held_out: Pairs) -> float:
    """R^2 of a linear probe with a ridge, fitted on `fit`: 1 - squared error / spread about the fitted items' mean, all
    dimensions together. Below 0 where the probe is worse than that mean.

    The ridge is one of `STRENGTHS`, chosen by leaving out one fitted item at a time. The source is scaled as a whole:
    directions in which it varies by less than a thousandth of the mean hardly count, as they hardly do in its cosines.
    """
    from sklearn.linear_model import RidgeCV

    shift, scale = fit.source.mean(axis=0), float(np.sqrt(fit.source.var(axis=0).mean())) or 1.0
    strengths = [strength * len(fit.source) for strength in STRENGTHS]
    probe = RidgeCV(alphas=strengths).fit((fit.source - shift) / scale, fit.target)
    return _r2(np.asarray(probe.predict((held_out.source - shift) / scale)), fit, held_out)


def mlp_r2(fit: Pairs, held_out: Pairs, seed: int = 0) -> float:
    """The same of a probe with two layers, 256 units between, which draws its weights by the seed."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    shift, scale = _standard(fit.source)
    centre, spread = fit.target.mean(axis=0), max(float(fit.target.std()), np.finfo(np.float64).tiny)
    rate = {"learning_rate_init": 3e-3, "max_iter": 300, "tol": 1e-5}
    probe = MLPRegressor(hidden_layer_sizes=(HIDDEN,), random_state=seed, **rate)
    targets = (fit.target - centre) / spread
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it has had its epochs
        probe.fit((fit.source - shift) / scale, targets.ravel() if targets.shape[1] == 1 else targets)
    found = np.asarray(probe.predict((held_out.source - shift) / scale)).reshape(held_out.target.shape)
    return _r2(found * spread + centre, fit, held_out)


def _r2(predicted: Floats, fit: Pairs, held_out: Pairs) -> float:
    spread = float(np.square(held_out.target - fit.target.mean(axis=0)).sum())
    if spread == 0:
        raise MetricError("the target is constant, so nothing of it can be explained", where="redundancy")
    return 1 - float(np.square(held_out.target - predicted.reshape(held_out.target.shape)).sum()) / spread


def linear_residual(pairs: Pairs) -> float:
    """What the best linear predictor leaves of the target, on the very items that it is fitted on:
    trace( S_vv - S_vz S_zz^-1 S_zv ), per item; at most trace(S_vv), reached where the two are uncorrelated.
    """
    source, target = _centred(pairs.source), _centred(pairs.target)
    count = len(source)
    s_vv, s_zv, s_zz = (a.T @ b / count for a, b in ((target, target), (source, target), (source, source)))
    return float(np.trace(s_vv - s_zv.T @ np.linalg.pinv(s_zz, hermitian=True) @ s_zv))


def linear_cka(first: ArrayLike, second: ArrayLike) -> float:
    """Linear centred kernel alignment of [N, D] and [N, E], 0 to 1: |Y'X|^2 / (|X'X| |Y'Y|) of centred columns. It sees
    neither rotation nor scale. Raises `MetricError` where one of the two is constant.
    """
    pairs = Pairs.of(first, second)
    x, y = _centred(pairs.source), _centred(pairs.target)
    scale = float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    if scale == 0:
        raise MetricError("one of the two embeddings is constant", where="linear CKA")
    return float(np.linalg.norm(y.T @ x)) ** 2 / scale


def effective_rank(values: ArrayLike) -> float:
    """exp of the entropy of the normalised singular values of centred [N, D]: how many directions are in use, 1 to D.

    Raises `MetricError` for constant values.
    """
    found = np.linalg.svd(_centred(np.asarray(values, np.float64)), compute_uv=False)
    if found.sum() == 0:
        raise MetricError("the embeddings are constant", where="effective rank")
    share = found[found > 0] / found.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def eta_squared(values: ArrayLike, classes: ArrayLike) -> float:
    """The share of the spread of [N, D] that class means explain: 1 - E|v - E[v|y]|^2 / E|v - E[v]|^2.

    Of few items a class it is too high, since a class's mean then follows its own items. Raises `MetricError` for
    constant values.
    """
    v, labels = np.asarray(values, np.float64), np.asarray(classes)
    if v.ndim != 2 or labels.shape != v.shape[:1]:
        raise MetricError(f"{labels.shape} classes for values of shape {v.shape}", where="eta squared")
    _, place = np.unique(labels, return_inverse=True)
    counts = np.bincount(place)
    means = np.stack([np.bincount(place, weights=column) for column in v.T], axis=1) / counts[:, None]
    total = float(np.square(_centred(v)).sum())
    if total == 0:
        raise MetricError("the embeddings are constant", where="eta squared")
    return 1 - float(np.square(v - means[place]).sum()) / total


def disagreement(first: ArrayLike, second: ArrayLike) -> float:
    """The share of items on which two models decide differently; decisions [N] of any type. Raises `MetricError`."""
    a, b = _decisions(first, second)
    return float((a != b).mean())


def double_fault(first: ArrayLike, second: ArrayLike, truth: ArrayLike) -> float:
    """The share of items on which both are wrong, which no fusion of the decisions can mend. Raises `MetricError`."""
    a, b = _decisions(first, second)
    true, _ = _decisions(truth, first)
    return float(((a != true) & (b != true)).mean())


def _decisions(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise MetricError(f"decisions have shapes {a.shape} and {b.shape}", where="decisions", fix="Give one an item.")
    return a, b


def _centred(values: Floats) -> Floats:
    return np.asarray(values - values.mean(axis=0))


def _standard(values: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of the columns, 1 for a constant one."""
    deviation = values.std(axis=0)
    return values.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def _unit_variance(values: Floats) -> Floats:
    """Divided by one number, so that neither of two embeddings outweighs the other by its scale."""
    spread = float(np.sqrt(np.square(_centred(values)).sum(axis=1).mean()))
    return values / spread if spread else values
