"""Losses of number-valued labels: the numbers of SVLDL's sheet, sums written out, and what they have in common."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from scipy.stats import norm
from torch import Tensor

from earwitness.core.config import parse_config
from earwitness.core.errors import DataError, RecipeError
from earwitness.nn.encoders import EncoderConfig
from earwitness.nn.losses import FocalConfig
from earwitness.nn.losses.label_distribution import (
    BalancedMseConfig,
    CandidateTargets,
    CoralConfig,
    CrossEntropyOfValuesConfig,
    DldlConfig,
    DldlV2Config,
    Grid,
    GridConfig,
    MeanVarianceConfig,
    OrCnnConfig,
    RegressionConfig,
    SordConfig,
    Svldl,
    SvldlConfig,
    UnimodalConfig,
    ValueLossConfig,
    concordance,
    concordance_loss,
    difference_loss,
    divergence,
    end_bias,
)
from earwitness.nn.losses.label_distribution.svldl import CANDIDATES
from earwitness.nn.losses.label_distribution.terms import cross_entropy_to, differences
from earwitness.nn.network import EmbeddingConfig
from earwitness.nn.pooling import PoolingConfig

KINDS: list[Any] = list(get_args(get_args(ValueLossConfig)[0]))
YEARS: Grid = GridConfig().build().double()


def gaussian(value: float, width: float) -> Tensor:
    """ln D_s(y) over 0..100, double precision [101]."""
    return YEARS.log_distribution(torch.tensor(value).double(), torch.tensor(width).double())


def svldl(**settings: Any) -> Svldl:
    """Past its warm-up."""
    loss = SvldlConfig(**settings).build()
    loss.set_progress(1000)
    return loss


@pytest.mark.shows("svldl:6.1")
def test_selection_is_exact() -> None:
    log_p = gaussian(33, 3)
    found = [float(divergence(gaussian(30, s), log_p)) for s in (1, 2, 3, 4, 6)]
    assert found == pytest.approx([1.154168, 0.627687, 0.500000, 0.601207, 1.306844], abs=1e-6)
    candidates = CandidateTargets(GridConfig(), CANDIDATES)
    logs = torch.stack([gaussian(33, 3), gaussian(31, 4.7)]).float()
    selected = candidates.select(logs, torch.tensor([30.0, 30.0]))
    assert selected.width.tolist() == [3.0, 4.5]
    assert selected.divergence.tolist()[0] == pytest.approx(0.5, abs=1e-5)
    assert float(selected.divergence[1]) == pytest.approx(
        float(divergence(gaussian(30, 4.5), gaussian(31, 4.7))), abs=1e-5
    )
    torch.testing.assert_close(selected.target[0], gaussian(30, 3).exp().float())


@pytest.mark.shows("svldl:6.2")
def test_selection_is_not_by_cross_entropy() -> None:
    log_p = gaussian(31, 4.7)
    by_ce = [float(cross_entropy_to(gaussian(30, s).exp(), log_p)) for s in CANDIDATES]
    assert CANDIDATES[int(np.argmin(by_ce))] == 1.0
    shipped = svldl().candidates.select(log_p[None].float(), torch.tensor([30.0]))
    assert shipped.width.item() == 4.5


def test_labels_between_the_values_of_the_grid_are_worked_out() -> None:
    candidates = CandidateTargets(GridConfig(), CANDIDATES)
    labels = torch.tensor([20.0, 20.5])
    targets, negentropy = candidates.of(labels)
    known, known_entropy = candidates.of(labels[:1])
    torch.testing.assert_close(targets[0], known[0])
    torch.testing.assert_close(negentropy[0], known_entropy[0])
    torch.testing.assert_close(targets[1, 2], gaussian(20.5, 2.0).exp().float())


@pytest.mark.shows("svldl:6.5")
def test_concordance() -> None:
    x, y = torch.tensor([20.0, 30, 40, 50]), torch.tensor([22.0, 29, 43, 48])
    assert float(concordance(x, y)) == pytest.approx(0.980810, abs=1e-6)
    assert float(concordance(x, x + 5)) == pytest.approx(0.909091, abs=1e-6)
    assert float(concordance(x, 35 + (x - 35) / 2)) == pytest.approx(0.8, abs=1e-6)
    assert float(concordance(torch.full_like(x, 33), y)) == 0
    assert float(concordance_loss(x, y)) == pytest.approx(1 - 0.980810, abs=1e-6)


def test_labels_that_are_all_equal_have_no_concordance() -> None:
    predicted = torch.tensor([20.0, 30.0], requires_grad=True)
    lost = concordance_loss(predicted, torch.tensor([25.0, 25.0]))
    assert lost.item() == 0
    assert not lost.requires_grad


@pytest.mark.shows("svldl:6.6")
def test_first_differences_see_what_the_mean_does_not() -> None:
    mixture = (gaussian(40, 2).exp() + gaussian(60, 2).exp()) / 2
    assert float(YEARS.mean(mixture)) == pytest.approx(50)
    changes = float(differences(mixture).abs().sum())
    assert changes == pytest.approx(0.398941, abs=1e-6)
    assert 2 * float(mixture.max()) == pytest.approx(0.199471, abs=1e-6)
    assert changes == pytest.approx(2 * 2 * float(mixture.max()), abs=1e-5)
    single = gaussian(50, 3).exp()
    assert float(differences(single).abs().sum()) == pytest.approx(0.265962, abs=1e-6)
    assert 2 * float(single.max()) == pytest.approx(0.265962, abs=1e-6)
    assert int((torch.sign(differences(single)).diff() != 0).sum()) == 1
    for norm_ in ("l1", "l2"):
        assert float(difference_loss(mixture, single, norm_)) > 0  # type: ignore[arg-type]
        assert float(difference_loss(single, single, norm_)) == 0  # type: ignore[arg-type]
    # the shipped loss: mean and concordance are perfect for both, the term of the differences is not
    outputs = mixture.log().float()[None].repeat(2, 1)
    terms = svldl(variance_weight=0.0)(outputs, torch.tensor([50.0, 50.0]))
    assert float(terms["difference"]) > 0.1


@pytest.mark.shows("svldl:6.7")
def test_focal_loss() -> None:
    logits, target = torch.tensor([[math.log(0.8), math.log(0.2)]]), torch.tensor([0])
    assert float(FocalConfig(gamma=2).build(2, 2)(logits, target)) == pytest.approx(0.0089257, abs=1e-7)
    assert float(FocalConfig(gamma=0).build(2, 2)(logits, target)) == pytest.approx(0.2231436, abs=1e-6)


@pytest.mark.shows("svldl:6.8")
@pytest.mark.parametrize(
    ("features", "narrow", "wide"),
    [(80, 6_194_048, 14_660_416), (768, 7_955_328, 18_182_976), (1024, 8_610_688, 19_493_696)],
)
def test_sizes_of_the_network(features: int, narrow: int, wide: int) -> None:
    for channels, expected in ((512, narrow), (1024, wide)):
        with torch.device("meta"):
            encoder = parse_config(EncoderConfig, {"kind": "ecapa", "form": "sb", "channels": channels}).build(features)
            pooling = parse_config(PoolingConfig, {"kind": "attentive_statistics", "form": "sb"}).build(encoder.dim)
            layer = EmbeddingConfig(dim=192).build(pooling.dim)
        counts = [sum(p.numel() for p in part.parameters()) for part in (encoder, pooling, layer)]
        assert sum(counts) == expected
    heads = torch.nn.Linear(192, SvldlConfig().outputs), torch.nn.Linear(192, 2)
    assert [sum(p.numel() for p in head.parameters()) for head in heads] == [19_493, 386]


@pytest.mark.shows("svldl:6.9")
def test_baselines_coincide_where_they_should() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([3.0, 30.0, 55.0, 99.0])
    logits = (12 * F.one_hot(labels.long(), 101) + torch.randn(4, 101)).double()

    def gradient(loss: Any, of: str | None = None) -> tuple[float, Tensor]:
        outputs = logits.clone().requires_grad_()
        terms = loss.double()(outputs, labels.double())
        total = terms[of] if of else sum(terms.values())
        total.backward()
        assert outputs.grad is not None
        return total.item(), outputs.grad

    ce = F.cross_entropy(logits, labels.long())
    assert gradient(MeanVarianceConfig(mean_weight=0, variance_weight=0).build())[0] == pytest.approx(
        float(ce), abs=1e-6
    )
    assert gradient(CrossEntropyOfValuesConfig().build())[0] == pytest.approx(float(ce), abs=1e-6)

    _, dldl = gradient(DldlConfig(width=2).build())
    outputs = logits.clone().requires_grad_()
    log_target = YEARS.log_distribution(labels.double(), torch.full((4,), 2.0).double())
    divergence(log_target, torch.log_softmax(outputs, 1)).mean().backward()
    assert float((dldl - outputs.grad).abs().max()) < 1e-6
    _, fixed = gradient(DldlV2Config(width=2, mean_weight=0).build())
    assert torch.equal(dldl, fixed)

    bare = {"difference_weight": 0, "ccc_weight": 0, "variance_weight": 0}
    value, one_width = gradient(svldl(widths=(2.0,), **bare))
    assert float((dldl - one_width).abs().max()) < 1e-6
    entropy = -(log_target.exp() * log_target).sum(1).mean()
    assert value + float(entropy) == pytest.approx(gradient(DldlConfig(width=2).build())[0], abs=1e-6)
    warming = SvldlConfig(warmup_width=2.0, **bare).build()
    assert warming.warming_up
    assert float((dldl - gradient(warming)[1]).abs().max()) < 1e-6


def best_width(loss: Any, noise: float) -> tuple[float, float]:
    """A free distribution of Gaussian shape about 50 heard with labels 50 + noise: its best width, in steps of 1/2 or
    1/4, and the mean width that the loss selects for it."""
    labels = torch.tensor(50 + noise * norm.ppf((np.arange(100) + 0.5) / 100), dtype=torch.float32)
    found = []
    for width in np.arange(1.0, 12.01, 0.5 if isinstance(loss, Svldl) else 0.25):
        outputs = gaussian(50, float(width)).float().expand(len(labels), -1)
        terms = loss(outputs, labels)
        found.append((float(sum(terms.values())), float(width), loss.notes().get("width_mean", math.nan)))
    _, width, selected = min(found)
    return width, selected


@pytest.mark.shows("svldl:6.3")
@pytest.mark.parametrize("noise", [2.0, 4.0, 8.0])
def test_widths_drift_to_the_widest_without_a_variance_loss(noise: float) -> None:
    width, selected = best_width(svldl(difference_weight=0, ccc_weight=0, variance_weight=0), noise)
    assert selected == 10.0
    assert width >= 10.0


@pytest.mark.shows("svldl:6.4")
@pytest.mark.parametrize(
    ("weight", "expected"),
    [(0.005, (4.5, 6.5, 8.5)), (0.02, (3.0, 4.5, 6.0)), (0.1, (2.0, 3.0, 4.0))],
)
def test_the_width_follows_the_noise(weight: float, expected: tuple[float, ...]) -> None:
    loss = svldl(difference_weight=0, ccc_weight=0, variance_weight=weight)
    for noise, width in zip((2.0, 4.0, 8.0), expected, strict=True):
        found, _ = best_width(loss, noise)
        assert found == pytest.approx(width, abs=0.5)
        assert found == pytest.approx((noise**2 / (2 * weight)) ** 0.25, abs=0.5)


@pytest.mark.shows("svldl:6.4")
def test_a_fixed_width_is_best_at_the_sum_of_the_variances() -> None:
    loss = DldlConfig(width=2).build()
    assert best_width(loss, 2.0)[0] == pytest.approx(2.75, abs=0.5)
    assert best_width(loss, 4.0)[0] == pytest.approx(4.75, abs=0.5)


def test_every_selection_is_counted_once() -> None:
    loss = svldl()
    outputs, labels = gaussian(33, 3).float()[None].repeat(3, 1), torch.tensor([33.0, 33, 30])
    loss(outputs, labels)
    notes = loss.notes()
    assert notes["width_3"] == 1.0
    assert notes["width_mean"] == 3.0
    assert loss.notes() == {}
    loss.eval()(outputs, labels)
    assert loss.notes() == {}


def test_a_predicted_width_is_learnt_and_stays_in_its_range() -> None:
    config = SvldlConfig(variance="predicted", variance_weight=0.02, warmup_epochs=1)
    assert config.outputs == 102
    loss = config.build()
    outputs = torch.cat([gaussian(33, 4).float()[None], torch.tensor([[0.0]])], 1).requires_grad_()
    sum(loss(outputs, torch.tensor([33.0])).values()).backward()  # type: ignore[union-attr]
    assert outputs.grad is not None
    assert outputs.grad[0, -1] == 0  # one width for all in the warm-up
    outputs.grad = None
    loss.set_progress(1)
    sum(loss(outputs, torch.tensor([33.0])).values()).backward()  # type: ignore[union-attr]
    assert outputs.grad[0, -1] > 0  # 5.5 years at 0; narrower fits better
    wide = loss(torch.cat([outputs[:, :-1], torch.tensor([[50.0]])], 1), torch.tensor([33.0]))["ldl"]
    assert wide.item() == pytest.approx(float(divergence(gaussian(33, 10), gaussian(33, 4))), abs=1e-4)


def test_a_label_near_the_end_of_the_grid_has_a_biased_mean() -> None:
    assert 2 + end_bias(GridConfig(), 2, 3) == pytest.approx(3.060, abs=5e-4)
    assert end_bias(GridConfig(), 0, 3) == pytest.approx(2.093, abs=5e-4)
    assert end_bias(GridConfig(), 50, 3) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def test_every_loss_learns_ages_and_says_a_distribution(kind: Any) -> None:
    """From a clean one-dimensional cue, with a linear layer; on a grid that is not of ages, too."""
    grid = {"low": -1.0, "high": 1.0, "step": 0.1}
    settings = {"widths": (0.05, 0.1, 0.2), "warmup_width": 0.1, "variance_weight": 0.1} if kind is SvldlConfig else {}
    settings |= {"width": 0.1} if kind in (DldlConfig, DldlV2Config) else {}
    settings |= {"scale": 0.1} if kind is SordConfig else {}
    settings |= {"spread": 0.1} if kind is RegressionConfig else {}
    settings |= {"unimodal_weight": 1.0} if kind is UnimodalConfig else {}
    settings |= {"spread": 0.1, "sigma": 0.1} if kind is BalancedMseConfig else {}
    config = parse_config(ValueLossConfig, {**kind(grid=grid, **settings).model_dump(mode="json")})
    assert config == kind(grid=grid, **settings)
    torch.manual_seed(0)
    labels = torch.empty(256).uniform_(-0.8, 0.8)
    cues = torch.stack([labels, labels.square(), torch.ones(256)], 1)
    loss = config.build()
    loss.set_progress(10)
    layer = torch.nn.Linear(3, config.outputs)
    layer.bias.data = loss.start(labels)
    said = loss.log_distribution(layer.bias[None]).exp()
    assert float(loss.grid.mean(said)) == pytest.approx(0.0, abs=0.1)  # before anything was learnt
    learning = torch.optim.Adam([*layer.parameters(), *loss.parameters()], lr=0.1)
    for _ in range(100):
        learning.zero_grad()
        terms = loss(layer(cues), labels)
        assert all(term.ndim == 0 for term in terms.values())
        sum(terms.values()).backward()
        learning.step()
    p = loss.log_distribution(layer(cues)).exp()
    assert p.shape == (256, 21)
    torch.testing.assert_close(p.sum(1), torch.ones(256))
    mean = loss.grid.mean(p)
    assert float((mean - labels).abs().mean()) < 0.15
    assert float(torch.corrcoef(torch.stack([mean, labels]))[0, 1]) > 0.95


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def test_weights_count_items_and_bad_labels_are_refused(kind: Any) -> None:
    torch.manual_seed(0)
    loss = kind(**({"ccc_weight": 0.0} if kind is SvldlConfig else {})).build()
    loss.set_progress(10)
    outputs, labels = torch.randn(3, loss.grid.config.count + 1), torch.tensor([20.0, 30.0, 40.5])
    whole = loss(outputs, labels, torch.tensor([3.0, 0.0, 0.0]))
    alone = loss(outputs[:1], labels[:1])
    assert whole.keys() == alone.keys()
    if kind is not BalancedMseConfig:  # which compares an item with the others of its batch
        for name, term in whole.items():
            torch.testing.assert_close(term, alone[name])
    for wrong in (-1.0, 140.0, math.nan):
        with pytest.raises(DataError, match="does not lie on the grid from 0 to 100"):
            loss(outputs, torch.tensor([20.0, wrong, 30.0]))


def test_baselines_by_hand() -> None:
    torch.manual_seed(0)
    outputs, labels = torch.randn(2, 101), torch.tensor([20.0, 60.0])
    p, a = torch.softmax(outputs, 1), torch.arange(101.0)
    mean = p @ a
    variance = (p * (a - mean[:, None]) ** 2).sum(1)
    terms = MeanVarianceConfig().build()(outputs, labels)
    assert float(terms["mean"]) == pytest.approx(float(0.2 * ((mean - labels) ** 2).mean() / 2), rel=1e-4)
    assert float(terms["variance"]) == pytest.approx(float(0.05 * variance.mean()), rel=1e-4)
    assert float(DldlV2Config().build()(outputs, labels)["mean"]) == pytest.approx(float((mean - labels).abs().mean()))
    soft = torch.softmax(-(a - labels[:, None]).abs(), 1)
    assert float(SordConfig().build()(outputs, labels)["soft"]) == pytest.approx(
        float(-(soft * p.log()).sum(1).mean()), rel=1e-5
    )
    above = torch.tensor([[float(age > k) for k in range(100)] for age in (20, 60)])
    expected = F.binary_cross_entropy_with_logits(outputs[:, :100], above, reduction="none").sum(1).mean()
    assert float(OrCnnConfig().build()(outputs, labels)["ordinal"]) == pytest.approx(float(expected), rel=1e-5)
    unimodal = UnimodalConfig().build()(outputs, labels)
    likelihood = (variance.log() / 2 + (mean - labels) ** 2 / (2 * variance)).mean()
    assert float(unimodal["concentrated"]) == pytest.approx(float(likelihood), rel=1e-4)
    steps = sum(
        max(0.0, float(np.sign(k - age) * (row[k + 1] - row[k])))
        for row, age in zip(p.tolist(), (20, 60), strict=True)
        for k in range(100)
    )
    assert float(unimodal["unimodal"]) == pytest.approx(1000 * steps / 2, rel=1e-3)
    one = UnimodalConfig().build()(torch.stack([gaussian(20, 3), gaussian(60, 3)]).float(), labels)
    assert float(one["unimodal"]) == pytest.approx(0, abs=1e-3)
    l2 = RegressionConfig(norm="l2", centre=0, scale=1).build()(torch.tensor([[22.0], [57.0]]), labels)
    assert float(l2["l2"]) == pytest.approx((4 + 9) / 2)
    assert RegressionConfig().build().mean(torch.zeros(1, 1)).item() == 50


def test_coral_begins_at_a_uniform_distribution_and_stays_in_order() -> None:
    loss = CoralConfig(grid=GridConfig(low=0, high=9)).build()
    torch.testing.assert_close(loss.log_distribution(torch.zeros(1, 1)).exp(), torch.full((1, 10), 0.1))
    assert sum(p.numel() for p in loss.parameters()) == 9
    disordered = OrCnnConfig(grid=GridConfig(low=0, high=2)).build()
    p = disordered.log_distribution(torch.tensor([[0.0, 3.0]])).exp()
    assert p[0].tolist() == pytest.approx([0.5, 0.0, 0.5], abs=1e-6)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValidationError, match="widths rise"):
        SvldlConfig(widths=(2.0, 1.0))
    with pytest.raises(ValidationError, match="whole number of steps"):
        GridConfig(low=0, high=1, step=0.3)
    with pytest.raises(RecipeError, match="Did you mean 'dldl'"):
        parse_config(ValueLossConfig, {"kind": "ddl"})
