"""Losses against the numbers of their sheets and against sums written out by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from earwitness.core.errors import DataError, RecipeError
from earwitness.nn.losses import (
    AamConfig,
    AmConfig,
    BinaryFocalConfig,
    CrossEntropyConfig,
    FocalConfig,
    scheduled_margin,
)


@pytest.mark.shows("speaker-metrics:9.1")
@pytest.mark.parametrize(
    ("past_switch", "cosine", "expected"),
    [
        ("sine", 0.8, 0.664852),
        ("continuous", 0.8, 0.664852),
        ("sine", -0.99, -1.029734),
        ("continuous", -0.99, -1.009933),
    ],
)
def test_aam_penalty(past_switch: str, cosine: float, expected: float) -> None:
    loss = AamConfig(margin=0.2, past_switch=past_switch).build(4, 3)  # type: ignore[arg-type]
    assert loss.penalised(torch.tensor(cosine, dtype=torch.float64)).item() == pytest.approx(expected, abs=5e-7)


def test_only_the_continuous_convention_is_continuous_at_the_switch() -> None:
    around = torch.tensor([-math.cos(0.2) - 1e-9, -math.cos(0.2) + 1e-9], dtype=torch.float64)
    steps = {}
    for past_switch in ("sine", "continuous"):
        before, after = AamConfig(past_switch=past_switch).build(4, 3).penalised(around)  # type: ignore[arg-type]
        steps[past_switch] = abs((after - before).item())
    assert steps["continuous"] < 1e-6
    assert steps["sine"] == pytest.approx(0.039734 - 0.019933, abs=1e-6)


def test_easy_margin_leaves_wrong_sides_alone() -> None:
    loss = AamConfig(easy_margin=True).build(4, 3)
    assert loss.penalised(torch.tensor([0.8, -0.3])).tolist() == pytest.approx([0.664852, -0.3], abs=1e-6)


def test_aam_is_cross_entropy_of_scaled_angles() -> None:
    torch.manual_seed(0)
    loss = AamConfig(margin=0.3, scale=30).build(8, 5).double()
    embeddings, targets = torch.randn(7, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    angles = torch.acos(F.cosine_similarity(embeddings[:, None], loss.weight[None], dim=2))
    assert bool((angles + 0.3 < math.pi).all())
    angles = angles + 0.3 * F.one_hot(targets, 5)
    expected = F.cross_entropy(30 * torch.cos(angles), targets)
    torch.testing.assert_close(loss(embeddings, targets), expected)


@pytest.mark.parametrize("config", [AamConfig(), AmConfig(), AamConfig(easy_margin=True)])
def test_gradients_are_finite_at_cosines_of_one(config: AamConfig | AmConfig) -> None:
    loss = config.build(4, 2)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]]))
    embeddings = torch.tensor([[2.0, 0, 0, 0], [2.0, 0, 0, 0]], requires_grad=True)
    loss(embeddings, torch.tensor([0, 1])).backward()
    assert embeddings.grad is not None
    assert bool(embeddings.grad.isfinite().all())
    assert bool(loss.weight.grad.isfinite().all())


def test_am_subtracts_the_margin() -> None:
    assert AmConfig(margin=0.35).build(4, 3).penalised(torch.tensor(0.8)).item() == pytest.approx(0.45)


def test_a_margin_set_between_steps_counts() -> None:
    loss = AmConfig(margin=0.0).build(4, 3)
    embeddings, targets = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    without = loss(embeddings, targets)
    loss.margin = 0.2
    assert loss(embeddings, targets) > without


def test_sub_centres_take_the_nearest() -> None:
    loss = AamConfig(subcentres=3).build(6, 4)
    assert loss.weight.shape == (12, 6)
    embeddings = torch.randn(5, 6)
    cosines = loss.cosines(embeddings)
    for row, embedding in enumerate(embeddings):
        for label in range(4):
            own = loss.weight[3 * label : 3 * label + 3]
            assert cosines[row, label].item() == pytest.approx(
                F.cosine_similarity(embedding[None], own).max().item(), abs=1e-6
            )


def test_class_weights_start_xavier_uniform() -> None:
    torch.manual_seed(0)
    weight = AamConfig().build(192, 500).weight
    bound = math.sqrt(6 / (192 + 500))
    assert float(weight.detach().abs().max()) <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.shows("speaker-metrics:9.1")
def test_margin_schedule() -> None:
    values = [scheduled_margin(r) for r in (0, 0.25, 0.5, 0.75, 1)]
    assert values == pytest.approx([0, 0.1644, 0.1937, 0.1989, 0.1998], abs=5e-5)
    assert (scheduled_margin(-1), scheduled_margin(1.5)) == (0.0, 0.2)


def test_weighted_cross_entropy() -> None:
    loss = CrossEntropyConfig(class_weights=(0.1, 0.9)).build(2, 2)
    logits, targets = torch.tensor([[2.0, 0.0], [1.0, 0.5], [0.0, 0.0]]), torch.tensor([0, 1, 1])
    terms = [math.log1p(math.exp(-2)), math.log1p(math.exp(0.5)), math.log(2)]
    expected = (0.1 * terms[0] + 0.9 * terms[1] + 0.9 * terms[2]) / 1.9
    assert loss(logits, targets).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(3, 1), (3,)])
def test_binary_focal_is_that_of_the_ctrsvdd_recipe(shape: tuple[int, ...]) -> None:
    values, labels = [1.5, -0.5, 0.3], [1, 1, 0]
    expected = 0.0
    for value, label in zip(values, labels, strict=True):
        y, p = (0.95 if label else 0.05), 1 / (1 + math.exp(-value))
        bce = -(y * math.log(p) + (1 - y) * math.log(1 - p))
        expected += 0.25 * (1 - math.exp(-bce)) ** 2 * bce / 3
    loss = BinaryFocalConfig().build(1, 2)
    assert loss(torch.tensor(values).reshape(shape), torch.tensor(labels)).item() == pytest.approx(expected, rel=1e-6)


def test_focal_without_focus_is_cross_entropy_and_focus_favours_hard_items() -> None:
    logits, targets = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    plain = FocalConfig(gamma=0).build(4, 4)(logits, targets)
    torch.testing.assert_close(plain, F.cross_entropy(logits, targets))
    p = torch.softmax(logits, 1)[torch.arange(6), targets]
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0])
    expected = (weights[targets] * (1 - p) ** 2 * -p.log()).mean()
    loss = FocalConfig(class_weights=(1.0, 2.0, 0.5, 1.0)).build(4, 4)
    torch.testing.assert_close(loss(logits, targets), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_gradient_is_finite_for_certain_answers(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    FocalConfig(gamma=gamma).build(2, 2)(logits, torch.tensor([0])).backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("config", [AamConfig(), AmConfig(), CrossEntropyConfig(), FocalConfig()])
@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_target_that_is_no_class_is_refused(
    config: AamConfig | AmConfig | CrossEntropyConfig | FocalConfig, wrong: int
) -> None:
    with pytest.raises(DataError, match=str(wrong)):
        config.build(3, 3)(torch.randn(2, 3), torch.tensor([0, wrong]))


@pytest.mark.parametrize(
    ("config", "logits", "classes"),
    [
        (CrossEntropyConfig(), 1, 2),
        (FocalConfig(), 3, 2),
        (BinaryFocalConfig(), 2, 2),
        (CrossEntropyConfig(class_weights=(1.0,)), 2, 2),
        (CrossEntropyConfig(class_weights=(0.0, 0.0)), 2, 2),
    ],
)
def test_losses_that_do_not_fit_the_logits_are_refused(
    config: CrossEntropyConfig | FocalConfig | BinaryFocalConfig, logits: int, classes: int
) -> None:
    with pytest.raises(RecipeError):
        config.build(logits, classes)
