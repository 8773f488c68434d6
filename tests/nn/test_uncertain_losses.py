"""The variance loss and the uncertain margin against the numbers of their sheet and sums written out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from earwitness.core.errors import RecipeError
from earwitness.nn.losses import (
    AamConfig,
    ClassCentroids,
    MarginRiseConfig,
    UncertainAamConfig,
    VarianceLossConfig,
    variance_loss,
)
from earwitness.nn.losses.uncertain_margin import gap


@pytest.mark.shows("xi-plus:6.6")
@pytest.mark.parametrize(("reduction", "expected"), [("sum", 2.0), ("mean", 1.0)])
def test_golden_variance_loss(reduction: str, expected: float) -> None:
    """|2 - 1|^2 + |1 - 2|^2."""
    config = VarianceLossConfig(reduction=reduction)  # type: ignore[arg-type]
    assert variance_loss(torch.tensor([[4.0, 1.0]]), torch.tensor([[1.0, 2.0]]), config).tolist() == [expected]


@pytest.mark.shows("xi-plus:6.6")
def test_it_is_0_exactly_where_the_deviation_is_the_error() -> None:
    error = torch.tensor([[0.5, -2.0, 1.5]])
    assert variance_loss(error.square(), error, VarianceLossConfig()).item() == 0
    assert variance_loss(error.square() / 4, error, VarianceLossConfig(alpha=2)).item() == 0
    for changed in (error.square() + 0.01, error.square() * 0.9):
        assert variance_loss(changed, error, VarianceLossConfig()).item() > 0


@pytest.mark.shows("xi-plus:6.6")
def test_the_released_weights_of_the_epochs() -> None:
    config = VarianceLossConfig()
    found = [config.weight_at(epoch) for epoch in (1, 51, 52, 75, 99, 100, 150)]
    assert found == pytest.approx([0, 0, 0.02, 0.25, 0.49, 0.5, 0.5], abs=1e-12)
    assert found[:2] == [0, 0]
    with pytest.raises(ValidationError, match="full_epoch"):
        VarianceLossConfig(first_epoch=60, full_epoch=59)


@pytest.mark.parametrize("detached", [False, True])
def test_what_the_loss_moves(detached: bool) -> None:
    variance = torch.tensor([[4.0, 1.0]], requires_grad=True)
    error = torch.tensor([[1.0, -2.0]], requires_grad=True)
    variance_loss(variance, error, VarianceLossConfig(detach_target=detached)).sum().backward()
    assert variance.grad is not None
    assert variance.grad.flatten().tolist() == pytest.approx([0.25, -0.5])  # (sqrt(v) - |e|) / sqrt(v), over two values
    assert (error.grad is None) if detached else bool(error.grad.any())  # type: ignore[union-attr]


def test_centroids_by_a_pass_are_means_and_forget_who_is_gone() -> None:
    centroids = ClassCentroids(3, 2)
    e = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]])
    centroids.replace([(e[:1], torch.tensor([0])), (e[1:], torch.tensor([0, 2]))])
    assert centroids.weight.tolist() == [[2, 1], [0, 0], [5, 5]]
    assert centroids.known.tolist() == [True, False, True]
    error, known = centroids.errors(e, torch.tensor([0, 1, 2]))
    assert (error.tolist(), known.tolist()) == ([[-1, -1], [3, 2], [0, 0]], [True, False, True])
    centroids.replace([(e[:1], torch.tensor([1]))])
    assert centroids.known.tolist() == [False, True, False]
    assert set(centroids.state_dict()) == {"weight", "known", "epochs"}  # what a checkpoint keeps


def test_moving_centroids() -> None:
    centroids = ClassCentroids(2, 1)
    centroids.move(torch.tensor([[2.0], [4.0]]), torch.tensor([0, 0]))
    assert centroids.weight.tolist() == [[3.0], [0.0]]  # the first is the mean itself
    centroids.move(torch.tensor([[5.0], [7.0]]), torch.tensor([0, 1]))
    assert centroids.weight.flatten().tolist() == pytest.approx([0.99 * 3 + 0.01 * 5, 7.0])


def test_the_gap_has_no_gradient() -> None:
    cosines = torch.tensor([[0.9, 0.2, 0.5], [0.1, 0.3, 0.2]], requires_grad=True)
    found = gap(cosines, torch.tensor([0, 2]))
    assert found.tolist() == pytest.approx([0.4, -0.1])
    assert not found.requires_grad


def test_kappa_by_hand() -> None:
    loss = UncertainAamConfig().build(2, 3).double()
    e = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    v = torch.tensor([[0.2, 0.6]], dtype=torch.float64)
    expected = math.sqrt(25 / (9 * (0.2 + 0.5 - 0.3 + 1e-6) + 16 * (0.6 + 0.5 - 0.3 + 1e-6)))
    assert loss.kappa(e, v, torch.tensor([0.3])).item() == pytest.approx(expected, abs=1e-6)
    wide, narrow = loss.kappa(e, v, torch.tensor([0.3])), loss.kappa(e, v, torch.tensor([-0.3]))
    assert narrow < wide  # a narrow gap flattens the soft-max
    assert loss.kappa(e, 4 * v, torch.tensor([0.3])) < wide  # and so does variance


def test_brackets_below_the_floor_are_held_and_counted() -> None:
    loss = UncertainAamConfig(floor=1e-3).build(2, 3)
    e, v = torch.ones(2, 2), torch.tensor([[0.0, 0.5], [0.1, 0.1]])
    kappa = loss.kappa(e, v, torch.tensor([0.9, 0.2]))  # 0 + 0.5 - 0.9 is below 0
    assert kappa[0].item() == pytest.approx(math.sqrt(2 / (1e-3 + 0.1)), rel=1e-4)
    assert loss.counted() == (1, 4)
    assert loss.counted() == (0, 0)
    assert "clamped" not in loss.state_dict()


def test_uncertain_aam_is_aam_with_an_own_scale_for_each_item() -> None:
    torch.manual_seed(0)
    config = UncertainAamConfig(margin=0.2, scale=20)
    loss = config.build(6, 4).double()
    e, v = torch.randn(5, 6, dtype=torch.float64), torch.rand(5, 6, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 3, 0])
    kappa = loss.kappa(e, v, gap(loss.cosines(e), y))
    plain = AamConfig(margin=0.2, past_switch="continuous").build(6, 4).double()
    plain.load_state_dict(loss.state_dict())
    losses = []
    for item in range(5):
        plain.scale = 20 * kappa[item].item()
        losses.append(plain(e[item, None], y[item, None]))
    torch.testing.assert_close(loss(e, y, v), torch.stack(losses).mean())


def test_the_gradient_reaches_the_variance() -> None:
    torch.manual_seed(0)
    loss = UncertainAamConfig().build(6, 4)
    e, v = torch.randn(8, 6), torch.rand(8, 6, requires_grad=True)
    loss(e, torch.arange(8) % 4, v).backward()
    assert v.grad is not None
    assert bool(v.grad.abs().sum(1).gt(0).all())


def test_one_class_has_no_gap() -> None:
    with pytest.raises(RecipeError, match="two classes"):
        UncertainAamConfig().build(6, 1)


def test_the_margin_rises_between_its_epochs() -> None:
    rise = MarginRiseConfig(begins=20, fixed=40)
    found = [rise.at(epochs, 0.2) for epochs in (0, 20, 25, 30, 35, 41)]
    assert found == pytest.approx([0, 0, 0.1644, 0.1937, 0.1989, 0.2], abs=1e-4)
    with pytest.raises(ValidationError, match="after"):
        MarginRiseConfig(begins=5, fixed=5)
