"""The alignment rules by their published numbers, and by what each promises of the step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.core.config import parse_config
from earwitness.core.errors import RecipeError
from earwitness.training.gradient_alignment import (
    HIGHEST_TARGET,
    AlignmentConfig,
    CAGradConfig,
    GradVacConfig,
    NoAlignmentConfig,
    PCGradConfig,
    cagrad,
    cagrad_weights,
    gradvac,
    pcgrad,
)

Vectors = NDArray[np.float64]
RULES = [NoAlignmentConfig(), PCGradConfig(), GradVacConfig(), CAGradConfig()]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def targets(losses: int, value: float = 0.0) -> Vectors:
    return np.full((losses, losses), value)


def aligned(config: object, gradients: object, target: float = 0.0) -> Vectors:
    g = np.asarray(gradients, np.float64)
    coefficients, _ = config.coefficients(g @ g.T, targets(len(g), target), rng())  # type: ignore[attr-defined]
    return coefficients @ g


def drawn(seed: int, losses: int, size: int = 6) -> Vectors:
    """Gradients of very different lengths."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal((losses, size)) * generator.lognormal(size=(losses, 1))


@pytest.mark.shows("dpda:6.1")
@pytest.mark.parametrize(
    ("gradients", "pcgrad_", "gradvac_0", "gradvac_half", "cagrad_", "w"),
    [
        ([(1, 0), (-1, 1)], (0.25, 0.75), (0.25, 0.75), (0.394338, 0.894338), (0.2, 0.4), 1),
        ([(2, 0), (1, 1)], (1.5, 0.5), (1.5, 0.5), None, (1.647214, 0.847214), 0),
        ([(1, 0), (-4, 3)], (0.18, 1.74), (0.18, 1.74), (0.907461, 1.843923), (-0.351472, 1.2), None),
    ],
)
def test_golden_vectors(gradients, pcgrad_, gradvac_0, gradvac_half, cagrad_, w) -> None:  # type: ignore[no-untyped-def]
    g = np.array(gradients, np.float64)
    assert aligned(PCGradConfig(), g) == pytest.approx(pcgrad_, abs=1e-6)
    assert aligned(GradVacConfig(), g) == pytest.approx(gradvac_0, abs=1e-6)
    if gradvac_half is not None:
        assert aligned(GradVacConfig(), g, target=0.5) == pytest.approx(gradvac_half, abs=1e-6)
    assert aligned(CAGradConfig(alpha=0.5), g) == pytest.approx(cagrad_, abs=1e-6)
    if w is not None:
        assert cagrad_weights(g @ g.T, 0.5)[0] == pytest.approx(w, abs=1e-6)


@pytest.mark.shows("dpda:6.1")
def test_cagrad_may_go_against_a_loss() -> None:
    assert aligned(CAGradConfig(alpha=0.5), [(1, 0), (-4, 3)]) @ np.array([1, 0]) < 0


@pytest.mark.shows("dpda:6.4")
def test_a_step_in_conflict_goes_up_for_neither_loss() -> None:
    seen = 0
    for seed in range(300):
        g = drawn(seed, 2)
        n1, n2, c = g[0] @ g[0], g[1] @ g[1], g[0] @ g[1]
        if c >= 0:
            assert aligned(PCGradConfig(), g) == pytest.approx(g.mean(0), rel=1e-12)
            continue
        seen += 1
        sine2 = 1 - c**2 / (n1 * n2)
        assert g @ aligned(PCGradConfig(), g) == pytest.approx([n1 * sine2 / 2, n2 * sine2 / 2], rel=1e-9, abs=1e-12)
        a = pcgrad(g @ g.T, rng())
        assert a == pytest.approx([(1 - c / n1) / 2, (1 - c / n2) / 2], rel=1e-12)
        assert (a > 0.5).all()
        assert (a[0] > a[1]) == (n1 < n2)  # the smaller gradient has the larger weight
    assert seen > 100


@pytest.mark.shows("dpda:6.4")
@pytest.mark.parametrize("target", [0.0, 0.3, 0.9])
def test_gradvac_reaches_its_target_cosine(target: float) -> None:
    acted = 0
    for seed in range(200):
        g = drawn(seed, 2)
        a, _ = gradvac(g @ g.T, targets(2, target), rng(), 0.5, True)
        cosine = g[0] @ g[1] / np.sqrt((g[0] @ g[0]) * (g[1] @ g[1]))
        if cosine >= target:
            assert a == pytest.approx([0.5, 0.5])
            continue
        acted += 1
        # a_i = (1 + w_j) / 2, where w_j g_i is what was added to g_j
        mended = np.stack([g[0] + (2 * a[1] - 1) * g[1], g[1] + (2 * a[0] - 1) * g[0]])
        for new, other in ((mended[0], g[1]), (mended[1], g[0])):
            reached = new @ other / np.sqrt((new @ new) * (other @ other))
            assert reached == pytest.approx(target, abs=1e-9)
    assert acted > 50


def test_gradvac_without_a_target_is_pcgrad() -> None:
    for seed in range(100):
        g = drawn(seed, 2)
        assert aligned(GradVacConfig(), g) == pytest.approx(aligned(PCGradConfig(), g), rel=1e-9, abs=1e-12)


def test_gradvacs_targets_follow_the_cosines() -> None:
    agreeing, conflicting = np.array([[1.0, 0.6], [0.6, 1.0]]), np.array([[1.0, -0.5], [-0.5, 1.0]])
    released = GradVacConfig()
    _, after = released.coefficients(agreeing, released.first_targets(2), rng())
    assert after[0, 1] == after[1, 0] == pytest.approx(0.3)
    assert released.coefficients(conflicting, after, rng())[1] == pytest.approx(after)  # negative cosines do not count
    own = GradVacConfig(beta=0.01, update_only_positive=False)
    assert own.coefficients(conflicting, after, rng())[1][0, 1] == pytest.approx(0.99 * 0.3 - 0.01 * 0.5)


def test_equal_gradients_do_not_drive_gradvac_to_infinity() -> None:
    remembered, config = targets(2), GradVacConfig()
    for _ in range(100):
        a, remembered = config.coefficients(np.ones((2, 2)), remembered, rng())
        assert a == pytest.approx([0.5, 0.5])
    a, _ = config.coefficients(np.array([[1.0, -0.9], [-0.9, 1.0]]), remembered, rng())
    assert (np.abs(a) < 2 / np.sqrt(1 - HIGHEST_TARGET**2)).all()


@pytest.mark.parametrize("losses", [3, 4, 6])
def test_pcgrad_of_more_losses_is_the_published_loop(losses: int) -> None:
    for seed in range(50):
        g = drawn(seed, losses, size=4)
        orders = np.random.default_rng(seed)
        mended = g.copy()
        for i in range(losses):
            for j in orders.permutation([j for j in range(losses) if j != i]):
                if mended[i] @ g[j] < 0:
                    mended[i] -= (mended[i] @ g[j]) / (g[j] @ g[j]) * g[j]
        assert pcgrad(g @ g.T, np.random.default_rng(seed)) @ g == pytest.approx(mended.mean(0), rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("losses", [2, 3, 5])
def test_cagrad_finds_the_lowest_point_of_its_objective(losses: int) -> None:
    points = np.random.default_rng(0).dirichlet(np.ones(losses), 2000)
    points = np.concatenate([points, np.eye(losses), points**8 / (points**8).sum(1, keepdims=True)])
    for seed, alpha in itertools.product(range(15), (0.2, 0.5, 1.2)):
        g = drawn(seed, losses)
        g /= np.linalg.norm(g)
        mean = g.mean(0)
        radius = alpha * np.linalg.norm(mean)
        values = points @ g @ mean + radius * np.linalg.norm(points @ g, axis=1)
        w = cagrad_weights(g @ g.T, alpha)
        assert w.sum() == pytest.approx(1)
        assert (w @ g) @ mean + radius * np.linalg.norm(w @ g) <= values.min() + 1e-7


def test_cagrad_without_room_is_the_mean() -> None:
    g = drawn(1, 3)
    assert cagrad(g @ g.T, alpha=0.0) @ g == pytest.approx(g.mean(0))


@pytest.mark.parametrize("rule", RULES, ids=lambda config: config.rule)
@settings(deadline=None)
@given(seed=st.integers(0, 10_000), losses=st.integers(2, 4), size=st.floats(-6, 6))
def test_what_holds_for_every_rule(rule, seed: int, losses: int, size: float) -> None:  # type: ignore[no-untyped-def]
    """Gradients of another unit give the same coefficients, and those of equal losses are left as they are."""
    g = drawn(seed, losses)
    gram, scale = g @ g.T, 10.0**size
    first, _ = rule.coefficients(gram, targets(losses), np.random.default_rng(seed))
    second, _ = rule.coefficients(gram * scale**2, targets(losses), np.random.default_rng(seed))
    assert np.isfinite(first).all()
    assert second == pytest.approx(first, rel=1e-5, abs=1e-6)
    if rule.rule != "cagrad":
        same, _ = rule.coefficients(np.full((losses, losses), scale), targets(losses), rng())
        assert same == pytest.approx(np.full(losses, 1 / losses))


@pytest.mark.parametrize("rule", RULES, ids=lambda config: config.rule)
def test_gradients_that_vanish_harm_nothing(rule) -> None:  # type: ignore[no-untyped-def]
    for gram in (np.zeros((2, 2)), np.diag([1.0, 0.0]), np.array([[1.0, -1.0], [-1.0, 1.0]])):
        coefficients, after = rule.coefficients(gram, targets(2), rng())
        assert np.isfinite(coefficients).all()
        assert np.isfinite(after).all()


def test_recipes_name_rules() -> None:
    assert parse_config(AlignmentConfig, {"rule": "gradvac", "beta": 0.01}) == GradVacConfig(beta=0.01)
    with pytest.raises(RecipeError, match=r"unknown rule 'pcgrat'.*Did you mean 'pcgrad'"):
        parse_config(AlignmentConfig, {"rule": "pcgrat"})
    with pytest.raises(RecipeError, match="needs a `rule`"):
        parse_config(AlignmentConfig, {"alpha": 0.5})
    with pytest.raises(RecipeError, match="`bufferless` weighs whole losses"):
        parse_config(AlignmentConfig, {"rule": "pcgrad", "per": "tensor", "algorithm": "bufferless"})
