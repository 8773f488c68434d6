"""Gradient alignment: PCGrad (arXiv 2001.06782), GradVac (2010.05874) and CAGrad (2110.14048) for losses that share a
network, as dual-path training with augmented twins uses them (DPDA, arXiv 2509.20682).

A rule joins the gradients g_1 .. g_K of K losses into one, sum_k a_k g_k. All that it needs to find the a_k are the
products <g_i, g_j>, the Gram matrix G [K, K] in float64, so one code path serves every rule, any number of losses and
gradients of any size. Coefficients are those of the *mean*: all 1/K where a rule changes nothing. How the gradients
themselves are taken and joined stands in `training.aligned_gradients`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from earwitness.core.config import Config

Matrix = NDArray[np.float64]

HIGHEST_TARGET = 0.999  # of GradVac: nearer to 1 its correction grows without bound, and equal gradients lead there
STILL = 1e-8  # a gradient this much shorter than the others is none


class AlignmentConfigBase(Config):
    """What all rules share: what they look at, and how the gradients are taken.

    `per` whole: one decision for the whole network, as published; tensor: each weight tensor for itself. `algorithm`
    as in `training.aligned_gradients`: `lean` holds one gradient more for each loss after the first, `full` is the
    plain reference, `bufferless` holds none and takes two losses, `reweighted` ends with one pass of the reweighted
    loss. `blocks` are dotted names of parts of the network whose conflicts are counted beside those of the whole.
    """

    per: Literal["whole", "tensor"] = "whole"
    algorithm: Literal["lean", "full", "bufferless", "reweighted"] = "lean"
    blocks: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_loss_has_one_weight(self) -> AlignmentConfigBase:
        if self.per == "tensor" and self.algorithm in ("bufferless", "reweighted"):
            raise ValueError(f"`{self.algorithm}` weighs whole losses; alignment per tensor needs `lean` or `full`")
        return self

    def first_targets(self, losses: int) -> Matrix:
        """What the rule remembers before the first step, [K, K]; zeros for rules that remember nothing."""
        return np.zeros((losses, losses))


class NoAlignmentConfig(AlignmentConfigBase):
    """The plain mean; for a run whose conflicts are counted and left alone."""

    rule: Literal["none"] = "none"

    def coefficients(self, gram: Matrix, targets: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
        """Gram [K, K], what the rule remembers [K, K] -> coefficients [K], what it remembers from now on."""
        return np.full(len(gram), 1 / len(gram)), targets


class PCGradConfig(AlignmentConfigBase):
    """Each gradient loses its component against every other one that it conflicts with."""

    rule: Literal["pcgrad"] = "pcgrad"

    def coefficients(self, gram: Matrix, targets: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
        """Gram [K, K], what the rule remembers [K, K] -> coefficients [K], what it remembers from now on."""
        return pcgrad(gram, rng), targets


class GradVacConfig(AlignmentConfigBase):
    """Pairs are brought up to a target cosine, which follows the cosines that are seen.

    The defaults are those of the code of DPDA; the method's own paper has `beta` 0.01 and always updates.
    """

    rule: Literal["gradvac"] = "gradvac"
    beta: float = Field(0.5, gt=0, le=1)
    update_only_positive: bool = True

    def coefficients(self, gram: Matrix, targets: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
        """Gram [K, K], target cosines [K, K] -> coefficients [K], the targets of the next step."""
        return gradvac(gram, targets, rng, self.beta, self.update_only_positive)


class CAGradConfig(AlignmentConfigBase):
    """The step near the mean gradient that helps the worst-served loss most.

    With alpha < 1 it may still go against one of the losses.
    """

    rule: Literal["cagrad"] = "cagrad"
    alpha: float = Field(0.5, ge=0)

    def coefficients(self, gram: Matrix, targets: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
        """Gram [K, K], what the rule remembers [K, K] -> coefficients [K], what it remembers from now on."""
        return cagrad(gram, self.alpha), targets


AlignmentConfig = Annotated[
    NoAlignmentConfig | PCGradConfig | GradVacConfig | CAGradConfig, Field(discriminator="rule")
]


def pcgrad(gram: Matrix, rng: np.random.Generator) -> Matrix:
    """Coefficients [K] of PCGrad: g_i' = g_i - (<g_i', g_j> / |g_j|^2) g_j for each j with <g_i', g_j> < 0; mean.

    The others are taken in random order (algorithm 1 of the paper), each as it was before any projection. With two
    losses in conflict: a_i = (1 - <g_1, g_2> / |g_i|^2) / 2.
    """

    def project(row: Matrix, i: int, j: int) -> None:
        product = row @ gram[:, j]
        if product < 0 < gram[j, j]:
            row[j] -= product / gram[j, j]

    return np.asarray(_pairwise(len(gram), rng, project).mean(axis=0))


def gradvac(
    gram: Matrix, targets: Matrix, rng: np.random.Generator, beta: float, update_only_positive: bool
) -> tuple[Matrix, Matrix]:
    """Coefficients [K] of GradVac, and the target cosines [K, K] after this step.

    Where cos(g_i', g_j) lies below its target t, w g_j is added to g_i' so that it equals t,
    w = |g_i'| (t sqrt(1 - cos^2) - cos sqrt(1 - t^2)) / (|g_j| sqrt(1 - t^2)). Then t moves to (1 - beta) t + beta cos.
    """
    after = targets.copy()

    def lift(row: Matrix, i: int, j: int) -> None:
        length, other = math.sqrt(max(float(row @ gram @ row), 0.0)), math.sqrt(gram[j, j])
        if length == 0 or other == 0:
            return
        cosine = min(1.0, max(-1.0, float(row @ gram[:, j]) / (length * other)))
        target = min(float(targets[i, j]), HIGHEST_TARGET)
        if cosine < target:
            flat = math.sqrt(1 - target**2)
            row[j] += length * (target * math.sqrt(1 - cosine**2) - cosine * flat) / (other * flat)
        if cosine > 0 or not update_only_positive:
            after[i, j] = (1 - beta) * targets[i, j] + beta * cosine

    return _pairwise(len(gram), rng, lift).mean(axis=0), after


def _pairwise(losses: int, rng: np.random.Generator, mend: Callable[[Matrix, int, int], None]) -> Matrix:
    """The repaired gradients as rows of coefficients [K, K]: each is mended against all others, in random order."""
    rows = np.eye(losses)
    for i in range(losses):
        others = [j for j in range(losses) if j != i]
        for j in rng.permutation(others) if losses > 2 else others:
            mend(rows[i], i, int(j))
    return rows


def cagrad(gram: Matrix, alpha: float) -> Matrix:
    """Coefficients [K] of CAGrad: (g_0 + (r / |g_w|) g_w) / (1 + alpha^2), g_0 the mean gradient, r = alpha |g_0|, g_w
    the convex combination that `cagrad_weights` finds.
    """
    losses, scale = len(gram), float(np.trace(gram)) / len(gram)
    mean = np.full(losses, 1 / losses)
    if scale == 0:
        return mean
    unit = gram / scale  # so that gradients of any size are told from none in the same way
    weights = cagrad_weights(unit, alpha)
    radius = alpha * _length(unit, mean)
    pull = radius / (_length(unit, weights) + STILL)
    return np.asarray((mean + pull * weights) / (1 + alpha**2))


def cagrad_weights(gram: Matrix, alpha: float) -> Matrix:
    """The weights w [K] of the simplex that minimise F(w) = <g_w, g_0> + r |g_w| (equation 5 of the paper).

    F is convex; between two losses its minimum has a closed form, for more a constrained optimiser finds it.
    """
    mean = np.full(len(gram), 1 / len(gram))
    towards, radius = gram @ mean, alpha * _length(gram, mean)
    return _between_two(gram, towards, radius) if len(gram) == 2 else _on_the_simplex(gram, towards, radius)


def _between_two(gram: Matrix, towards: Matrix, radius: float) -> Matrix:
    """F along w = (t, 1 - t): slope t + radius sqrt(A (t - t_0)^2 + q), A = |g_1 - g_2|^2. Its derivative is zero where
    u / sqrt(u^2 + q) = -slope / (radius sqrt(A)), u = sqrt(A) (t - t_0).
    """
    slope = float(towards[0] - towards[1])
    bend = float(gram[0, 0] - 2 * gram[0, 1] + gram[1, 1])
    sine = -slope / (radius * math.sqrt(bend)) if bend > 0 and radius > 0 else -math.copysign(1.0, slope)
    if abs(sine) >= 1:
        place = 1.0 if sine > 0 else 0.0
    else:
        middle = float(gram[1, 1] - gram[0, 1]) / bend
        rest = max(0.0, float(gram[1, 1]) - bend * middle**2)
        place = min(1.0, max(0.0, middle + sine * math.sqrt(rest / (1 - sine**2) / bend)))
    return np.array([place, 1 - place])


def _on_the_simplex(gram: Matrix, towards: Matrix, radius: float) -> Matrix:
    from scipy.optimize import minimize

    def value(w: Matrix) -> tuple[float, Matrix]:
        length = _length(gram, w) + STILL
        return float(w @ towards) + radius * length, towards + radius * (gram @ w) / length

    start = np.full(len(gram), 1 / len(gram))
    found = minimize(
        value,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(gram),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 200},
    )
    weights = np.asarray(found.x).clip(0.0, 1.0)
    return np.asarray(weights / weights.sum())


def _length(gram: Matrix, weights: Matrix) -> float:
    """|sum_k w_k g_k|."""
    return math.sqrt(max(0.0, float(weights @ gram @ weights)))
