"""Contrasts for regression: ACCon's geometry, its special cases, and the numbers of what it is compared with."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from earwitness.core.config import parse_config
from earwitness.core.errors import DataError, RecipeError
from earwitness.nn.losses import (
    AcconConfig,
    AdaConConfig,
    ConrConfig,
    Contrasted,
    RankSimConfig,
    RegressionContrastConfig,
    RncConfig,
    SupConConfig,
)
from earwitness.nn.losses.angle_compensated import Accon, compensate
from earwitness.nn.losses.ranksim import descending_ranks, one_a_label

SPAN = 100.0
KINDS = [kind for member in get_args(get_args(RegressionContrastConfig)[0]) for kind in (member,)]


def accon(tau: float = 1.0, eps: float = 0.0, **more: object) -> Accon:
    found = AcconConfig.model_validate({"tau": tau, "eps": eps, "span": SPAN, **more}).build([20.0, 60.0])
    assert isinstance(found, Accon)
    return found


def batch(embeddings: object, labels: object) -> Contrasted:
    return Contrasted(torch.as_tensor(embeddings, dtype=torch.float64), torch.as_tensor(labels, dtype=torch.float64))


def half_circle(labels: list[float]) -> Contrasted:
    angles = math.pi * torch.tensor(labels, dtype=torch.float64) / SPAN
    return batch(torch.stack([angles.cos(), angles.sin()], dim=1), labels)


def random_batch(seed: int, dim: int = 3, levels: int = 6) -> Contrasted:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, levels, (10,), generator=generator).double() * (SPAN / (levels - 1))
    return batch(torch.randn(10, dim, generator=generator, dtype=torch.float64), labels)


@pytest.mark.shows("accon:7.1")
@pytest.mark.parametrize(
    ("tau", "expected", "off"), [(1, 0.4326529, 5e-8), (0.5, 0.0707031, 5e-8), (0.1, 8.2446e-9, 5e-13)]
)
def test_on_the_half_circle_the_loss_is_the_least_that_there_can_be(tau: float, expected: float, off: float) -> None:
    found = accon(tau)(half_circle([20, 40, 60, 20, 40, 60]))
    assert found.item() == pytest.approx(expected, abs=off)
    assert math.log(1 + 4 * math.exp(-2 / tau)) == pytest.approx(expected, abs=off)


def test_the_released_form_has_another_least() -> None:
    found = accon(0.5, form="release")(half_circle([20, 40, 60, 20, 40, 60]))
    assert found.item() == pytest.approx(math.log(1 + 4 * math.exp(-1 / 0.5)), abs=1e-9)


@pytest.mark.shows("accon:7.2")
@pytest.mark.parametrize("form", ["formula", "release"])
def test_no_batch_is_below_the_bound(form: str) -> None:
    height = 2.0 if form == "formula" else 1.0
    closest = math.inf
    for seed in range(1000):
        tau = (0.1, 0.5, 1.0)[seed % 3]
        given = random_batch(seed, dim=2 + seed % 4)
        anchors = accon(tau, eps=1e-6, form=form).anchors(given)
        negatives = len(given.labels) - 1 - anchors.positives
        bound = torch.log(anchors.positives + negatives * math.exp(-height / tau))
        assert bool((anchors.loss >= bound * (1 - 1e-4) - 1e-12).all())
        closest = min(closest, float((anchors.loss - bound).min()))
    assert closest < 0.5  # the bound is not far away from what occurs


@pytest.mark.shows("accon:7.3")
def test_where_all_distances_are_0_or_the_span_it_is_supcon() -> None:
    for seed in range(20):
        given = random_batch(seed, levels=2)
        supcon = SupConConfig(tau=0.5).build([])(given)
        for eps in (0.0, 1e-6):
            assert accon(0.5, eps)(given).item() == pytest.approx(supcon.item(), abs=1e-6)
    assert accon(0.5)(random_batch(0)).item() != pytest.approx(SupConConfig(tau=0.5).build([])(random_batch(0)).item())


def test_supcon_is_the_mean_of_its_definition() -> None:
    given, tau = random_batch(3), 0.3
    z = F.normalize(given.embeddings, dim=1)
    losses = []
    for i in range(10):
        others = [k for k in range(10) if k != i]
        positives = [k for k in others if given.labels[k] == given.labels[i]]
        total = sum(math.exp(float(z[i] @ z[k]) / tau) for k in others)
        if positives:
            losses.append(-sum(float(z[i] @ z[k]) / tau - math.log(total) for k in positives) / len(positives))
    assert SupConConfig(tau=tau).build([])(given).item() == pytest.approx(sum(losses) / len(losses))


@pytest.mark.shows("accon:7.4")
@pytest.mark.parametrize("distance", [10, 25, 50, 90])
def test_a_negative_is_lowest_at_the_right_angle(distance: float) -> None:
    for start in (0.2, 1.3, 3.0):
        theta = torch.tensor(start, dtype=torch.float64)
        for _ in range(60):
            theta.requires_grad_()
            value = compensate(theta.cos(), torch.tensor(float(distance)), SPAN, eps=0.0)
            theta = (theta - 0.5 * torch.autograd.grad(value, theta)[0]).detach()
        assert theta.item() == pytest.approx(math.pi * distance / SPAN, abs=1e-6)


@pytest.mark.shows("accon:7.5")
@pytest.mark.parametrize(
    ("labels", "formula", "release"),
    [((30, 30, 80, 80), 0.2395448, 0.551445), ((30, 30, 50, 50), 0.3427067, 0.747215)],
)
def test_four_vectors(labels: tuple[int, ...], formula: float, release: float) -> None:
    given = batch([[1, 0], [1, 0], [0, 1], [0, 1]], labels)
    assert accon()(given).item() == pytest.approx(formula, abs=5e-8)
    assert accon(form="release")(given).item() == pytest.approx(release, abs=5e-7)
    assert SupConConfig(tau=1).build([])(given).item() == pytest.approx(0.5514447, abs=5e-8)


@pytest.mark.shows("accon:7.8")
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_gradients_are_finite_at_coincident_and_antipodal_negatives(kind: str) -> None:
    vectors = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [1, 0], [0, 1]], dtype=getattr(torch, kind), requires_grad=True)
    labels = torch.tensor([20.0, 40, 60, 20, 60])
    for tau in (1.0, 0.05):
        for form in ("formula", "release"):
            vectors.grad = None
            loss = accon(tau, eps=1e-6, form=form)(Contrasted(vectors, labels))
            loss.backward()
            assert vectors.grad is not None
            assert bool(vectors.grad.isfinite().all())
            assert float(vectors.grad.abs().max()) > 1e-6


@pytest.mark.shows("accon:7.8")
@pytest.mark.parametrize("form", ["formula", "release"])
def test_gradients_are_right_elsewhere(form: str) -> None:
    given = random_batch(5)
    loss = accon(0.5, eps=1e-6, form=form)
    vectors = given.embeddings.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(Contrasted(x, given.labels)), vectors)


def test_views_are_rows_and_an_item_without_a_positive_is_left_out() -> None:
    vectors = torch.randn(4, 2, 3, dtype=torch.float64)
    labels = torch.tensor([[20.0], [30], [45], [60]], dtype=torch.float64)
    given = Contrasted.of_views(vectors, labels)
    assert given.labels.tolist() == [20, 20, 30, 30, 45, 45, 60, 60]
    assert torch.equal(given.embeddings[2:4], vectors[1])
    assert accon().anchors(given).positives.tolist() == [1] * 8
    alone = Contrasted(vectors[:, 0].requires_grad_(), labels[:, 0])
    loss = accon()(alone)
    loss.backward()
    assert loss.item() == 0
    assert len(accon().anchors(alone).rows) == 0
    some = Contrasted(vectors[:, 0].detach(), torch.tensor([20.0, 20.2, 45, 60]))
    assert accon().anchors(some).rows.tolist() == [0, 1]
    assert len(accon(bin_width=0.1).anchors(some).rows) == 0


def test_settings_of_sts_b_count_an_item_as_its_own_positive_and_all_pairs_alike() -> None:
    given = batch(torch.randn(5, 3, generator=torch.Generator().manual_seed(1)), [0.0, 0.0, 0.0, 2.5, 5.0])
    loss = AcconConfig(span=5, bin_width=0.1, eps=0, self_pairs=True, average="pair").build([0.0, 5.0])
    z = F.normalize(given.embeddings, dim=1)
    total = pairs = 0.0
    for i in range(5):
        logit = [
            float(z[i] @ z[k]) if given.labels[i] == given.labels[k]
            else -math.cos(math.acos(float(z[i] @ z[k])) - math.pi * abs(float(given.labels[i] - given.labels[k])) / 5)
            for k in range(5)
        ]  # fmt: skip
        own = [k for k in range(5) if given.labels[i] == given.labels[k]]
        total += sum(math.log(sum(map(math.exp, logit))) - logit[k] for k in own)
        pairs += len(own)
    assert loss(given).item() == pytest.approx(total / pairs, abs=1e-7)


def test_distances_beyond_the_span_count_as_the_span_and_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="up to 150 apart"):
        wide = AcconConfig(span=SPAN).build([0.0, 150.0])
    vectors = torch.randn(4, 3, dtype=torch.float64)
    found = wide(Contrasted(vectors, torch.tensor([0.0, 0, 150, 150], dtype=torch.float64)))
    assert found.item() == wide(Contrasted(vectors, torch.tensor([0.0, 0, 100, 100], dtype=torch.float64))).item()
    assert AcconConfig().build([6.0, 43.0]).span == 37  # type: ignore[attr-defined]
    with pytest.raises(RecipeError, match="no span"):
        AcconConfig().build([6.0, 6.0])


def test_the_margin_of_adacon_counts_the_labels_between() -> None:
    training = [10.0] * 6 + [20.0] * 3 + [30.0]
    loss = AdaConConfig(tau=0.5).build(training)
    given = batch([[1, 0], [1, 0], [0, 1], [0, 1]], [10, 10, 30, 30])
    expected = math.log(math.exp(2) + 2 * math.exp((2 / 10) * 4 / 0.5)) - 2
    assert loss(given).item() == pytest.approx(expected)
    assert AdaConConfig(tau=0.5, kappa=10).build(training)(given).item() == pytest.approx(
        math.log(math.exp(2) + 2 * math.exp(2 / 0.5)) - 2  # clipped at 2
    )


@pytest.mark.parametrize(("features", "expected"), [((0, 1, 2), 0.3890747), ((0, 2, 1), 0.5192297)])
def test_rank_n_contrast(features: tuple[int, ...], expected: float) -> None:
    given = batch([[x] for x in features], [10, 20, 30])
    assert RncConfig(t=2).build([])(given).item() == pytest.approx(expected, abs=5e-8)


def test_rank_n_contrast_is_its_double_sum_where_labels_tie() -> None:
    given, t = random_batch(8), 2.0
    h, y = given.embeddings, given.labels
    total = 0.0
    for i in range(10):
        for j in (j for j in range(10) if j != i):
            far = [k for k in range(10) if k != i and abs(y[i] - y[k]) >= abs(y[i] - y[j])]
            total += float(-(h[i] - h[j]).norm()) / t - math.log(sum(math.exp(-(h[i] - h[k]).norm() / t) for k in far))
    loss = RncConfig(t=t).build([])
    assert loss(given).item() == pytest.approx(-total / 90)
    assert torch.autograd.gradcheck(lambda x: loss(Contrasted(x, y)), h.requires_grad_())


CONR = {"t": 0.5, "push": 0.01}


@pytest.mark.parametrize(("compat", "expected"), [(False, 0.368072), (True, 0.457737)])
def test_conr(compat: bool, expected: float) -> None:
    given = Contrasted(
        torch.tensor([[1, 0], [1, 0.1], [0.9, 0.3], [0, 1]], dtype=torch.float64),
        torch.tensor([30.0, 30, 45, 60]),
        torch.tensor([31.0, 30, 31, 58]),
    )
    loss = ConrConfig(compat=compat, **CONR).build([])
    assert loss(given).item() == pytest.approx(expected, abs=5e-7)
    one = Contrasted(given.embeddings, given.labels, given.predictions, torch.ones(4))
    twice = Contrasted(given.embeddings, given.labels, given.predictions, torch.full((4,), 2.0))
    assert loss(one).item() == pytest.approx(expected, abs=5e-7)
    assert loss(twice).item() > expected + 0.05


def test_conr_with_compensated_negatives_uses_the_cosine_itself() -> None:
    vectors = torch.tensor([[1, 0], [1, 0.1], [0.9, 0.3], [0, 1]], dtype=torch.float64)
    given = Contrasted(vectors, torch.tensor([30.0, 30, 45, 60]), torch.tensor([31.0, 30, 31, 58]))
    z = F.normalize(vectors, dim=1)
    expected = 0.0
    for i, p in ((0, 1), (1, 0)):  # the third is taken for both of them
        s = -math.cos(math.acos(float(z[i] @ z[2])) - math.pi * 15 / SPAN)
        positive = float(z[i] @ z[p])
        expected += (math.log(math.exp(positive / 0.5) + math.exp(s / 0.5)) - positive / 0.5) / 4
    loss = ConrConfig(compensated=SPAN, **CONR).build([])
    assert loss(given).item() == pytest.approx(expected, abs=1e-5)


def test_conr_needs_predictions_and_is_0_where_nothing_is_confused() -> None:
    loss = ConrConfig().build([])
    vectors = torch.randn(4, 3, requires_grad=True)
    with pytest.raises(DataError, match="no predictions"):
        loss(Contrasted(vectors, torch.tensor([1.0, 1, 9, 9])))
    found = loss(Contrasted(vectors, torch.tensor([1.0, 1, 9, 9]), torch.tensor([1.0, 1, 9, 9])))
    found.backward()
    assert found.item() == 0


def test_ranks_of_labels() -> None:
    y = torch.tensor([10.0, 12, 20, 40])
    ranks = descending_ranks(-(y[:, None] - y[None]).abs())
    expected = [[0.25, 0.5, 0.75, 1], [0.5, 0.25, 0.75, 1], [0.75, 0.5, 0.25, 1], [1, 0.75, 0.5, 0.25]]
    assert ranks.tolist() == expected


def test_ranksim_is_0_in_the_right_order_and_its_gradient_is_that_of_moved_ranks() -> None:
    angles = torch.tensor([0.0, 0.1, 0.5, 1.5], dtype=torch.float64)
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = torch.tensor([10.0, 12, 20, 40])
    loss = RankSimConfig().build([])
    assert loss(Contrasted(vectors, labels)).item() == 0
    wrong = vectors[[0, 3, 1, 2]].requires_grad_()
    cosines = (F.normalize(wrong, dim=1) @ F.normalize(wrong, dim=1).T).detach()
    ranks, wanted = descending_ranks(cosines), descending_ranks(-(labels[:, None] - labels[None]).abs())
    found = loss(Contrasted(wrong, labels))
    assert found.item() == pytest.approx((ranks - wanted).square().mean(1).sum().item())
    above = 100 * 2 * (ranks - wanted) / 4
    expected = -(ranks - descending_ranks(cosines + 2 * above)) / 2
    (100 * found).backward()
    unit = wrong.detach().clone().requires_grad_()
    z = F.normalize(unit, dim=1)
    (z @ z.T).backward(expected)
    assert wrong.grad is not None
    assert unit.grad is not None
    assert float(wrong.grad.abs().max()) > 0.1
    torch.testing.assert_close(wrong.grad, unit.grad, atol=1e-7, rtol=1e-6)


def test_ranksim_keeps_one_item_of_each_label() -> None:
    torch.manual_seed(0)
    bins = torch.tensor([3, 1, 3, 3, 1, 7])
    drawn = [one_a_label(bins) for _ in range(50)]
    assert all(bins[rows].tolist() == [1, 3, 7] for rows in drawn)
    assert {int(rows[1]) for rows in drawn} == {0, 2, 3}


@pytest.mark.parametrize("member", KINDS, ids=lambda member: member.model_fields["kind"].default)
def test_every_contrast_is_a_finite_scalar_with_a_gradient(member: type[AcconConfig]) -> None:
    config = parse_config(RegressionContrastConfig, {"kind": member.model_fields["kind"].default})
    assert parse_config(RegressionContrastConfig, config.model_dump(mode="json")) == config
    torch.manual_seed(1)
    vectors = torch.randn(16, 8, requires_grad=True)
    labels = torch.arange(8.0).repeat(2) * 5
    loss = config.build(labels)
    found = loss(Contrasted(vectors, labels, torch.zeros(16), torch.ones(16)))
    found.backward()
    assert found.shape == ()
    assert vectors.grad is not None
    assert bool(vectors.grad.isfinite().all())
    assert float(vectors.grad.abs().max()) > 0
    half = loss(Contrasted(vectors.detach().bfloat16(), labels, torch.zeros(16)))
    assert half.dtype == torch.float32
    for wrong in (Contrasted(vectors, labels[:3]), Contrasted(vectors, torch.full((16,), math.nan))):
        with pytest.raises(DataError, match="labels are not finite, or not one an embedding"):
            loss(wrong)


def test_an_unknown_contrast_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"unknown kind 'acon'.*Did you mean 'accon'"):
        parse_config(RegressionContrastConfig, {"kind": "acon"})
