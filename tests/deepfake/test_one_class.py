"""One-class losses by their own numbers, what their gradients reach, and which recipes they fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from earwitness.core.config import parse_config
from earwitness.core.errors import RecipeError
from earwitness.deepfake.one_class import (
    OcSoftmaxConfig,
    QamoConfig,
    SamoConfig,
    one_class_loss,
    one_class_terms,
    quality_loss,
)
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.nn.centroids import CentroidsConfig

REAL, SPOOF = torch.tensor([True]), torch.tensor([False])


def double(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.shows("qamo:6.1")
@pytest.mark.parametrize(("s", "wanted"), [(1.0, 0.126928), (0.9, 0.693147), (0.0, 18.0)])
def test_golden_losses_of_bona_fide(s: float, wanted: float) -> None:
    own = torch.tensor([1])
    assert float(one_class_loss(QamoConfig(), double([-1.0, s]), REAL, own)) == pytest.approx(wanted, abs=5e-7)
    assert float(one_class_loss(OcSoftmaxConfig(), double([s]), REAL)) == pytest.approx(wanted, abs=5e-7)


@pytest.mark.shows("qamo:6.1")
@pytest.mark.parametrize(("s", "wanted"), [(-1.0, 3.775e-11), (0.2, 0.693147), (1.0, 16.0)])
def test_golden_losses_of_spoofs(s: float, wanted: float) -> None:
    found = float(one_class_loss(QamoConfig(), double([s, -1.0]), SPOOF, torch.tensor([1])))
    assert found == pytest.approx(wanted, abs=5e-7, rel=1e-3)
    assert found > 0


@pytest.mark.shows("qamo:6.1")
@pytest.mark.parametrize(
    ("scale", "own", "other", "wanted"),
    [
        (20, 0.9, 0.1, 3.354e-4),
        (32, 0.9, 0.1, 2.761e-6),
        (20, 0.5, 0.5, 8.000335),
        (32, 0.5, 0.5, 12.800003),
        (20, 0.1, 0.9, 24.0),
        (32, 0.1, 0.9, 38.4),
    ],
)
def test_golden_quality_losses(scale: float, own: float, other: float, wanted: float) -> None:
    found = quality_loss(QamoConfig(am_scale=scale), double([other, own]), REAL, torch.tensor([1]))
    assert float(found) == pytest.approx(wanted, rel=2e-4 if wanted < 1 else 1e-7)


def test_samo_has_margins_of_its_own() -> None:
    assert float(one_class_loss(SamoConfig(), double([0.7, 0.9]), REAL, torch.tensor([0]))) == pytest.approx(0.693147)
    assert float(one_class_loss(SamoConfig(), double([-0.7, 0.0]), SPOOF)) == pytest.approx(0.693147)


@pytest.mark.shows("qamo:6.3")
def test_one_level_is_oc_softmax_bit_for_bit() -> None:
    torch.manual_seed(0)
    centroids = CentroidsConfig(count=1).build(16)
    similarities, real = centroids.similarities(torch.randn(64, 16)), torch.arange(64) % 3 == 0
    levels = torch.zeros(64, dtype=torch.int64)
    one, plain = QamoConfig.model_validate({"quality": {"source": "mos", "thresholds": []}}), OcSoftmaxConfig()
    assert one.quality.count == 1
    qamo = one_class_loss(one, similarities, real, levels)
    by_hand = F.softplus(torch.where(real, 20 * (0.9 - similarities[:, 0]), 20 * (similarities[:, 0] - 0.2))).mean()
    assert torch.equal(qamo, one_class_loss(plain, similarities, real))
    assert torch.equal(qamo, by_hand)
    assert float(quality_loss(one, similarities, real, levels).detach()) == 0


def gradients(centroids: torch.nn.Module, x: torch.Tensor, real: torch.Tensor, own: torch.Tensor) -> list[float]:
    """How long the gradient at each centroid is."""
    centroids.zero_grad()
    one_class_loss(QamoConfig(), centroids.similarities(x), real, own).backward()  # type: ignore[operator]
    return [float(row.norm()) for row in centroids.weight.grad]  # type: ignore[union-attr]


@pytest.mark.shows("qamo:6.6")
def test_whom_a_gradient_reaches() -> None:
    torch.manual_seed(1)
    centroids = CentroidsConfig(count=3).build(6)
    x = torch.randn(1, 6)
    nearest = int(centroids.similarities(x).argmax())
    for own in range(3):
        of_spoof = gradients(centroids, x, SPOOF, torch.tensor([own]))
        assert [place for place, length in enumerate(of_spoof) if length > 0] == [nearest]
        of_real = gradients(centroids, x, REAL, torch.tensor([own]))
        assert [place for place, length in enumerate(of_real) if length > 0] == [own]


def test_of_equally_near_centroids_one_is_reached() -> None:
    centroids = CentroidsConfig(count=2).build(3)
    centroids.weight = torch.nn.Parameter(torch.ones(2, 3))
    found = gradients(centroids, torch.tensor([[1.0, 0.0, 0.0]]), SPOOF, torch.tensor([0]))
    assert sorted(length > 0 for length in found) == [False, True]


def test_without_a_level_bona_fide_goes_to_the_nearest() -> None:
    similarities = double([0.1, 0.8], [0.1, 0.8])
    terms = one_class_terms(QamoConfig(), similarities, torch.tensor([True, True]), torch.tensor([-1, 0]))
    assert terms.tolist() == pytest.approx(F.softplus(torch.tensor([2.0, 16.0], dtype=torch.float64)).tolist())


def test_a_batch_without_bona_fide_has_no_quality_loss() -> None:
    similarities = double([0.1, 0.8]).requires_grad_()
    loss = quality_loss(QamoConfig(), similarities, SPOOF, torch.tensor([-1]))
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(similarities.grad.abs().sum()) == 0  # type: ignore[union-attr]


def test_far_from_its_centroid_a_loss_is_large_and_finite() -> None:
    config = OcSoftmaxConfig(alpha=1e4)
    assert float(one_class_loss(config, torch.tensor([[-1.0]]), REAL)) == pytest.approx(19_000)


BRANCH = {"frontend": {"kind": "log_mel", "n_mels": 20}, "pooling": {"kind": "statistics"}}


def recipe(loss: dict[str, Any], **network: Any) -> DetectionRecipe:
    plan = {
        "name": "tiny",
        "task": "deepfake",
        "data": {"manifests": ["none.csv"]},
        "network": {"branches": [BRANCH], "outputs": 2, **network},
        "loss": loss,
        "loop": {"epochs": 1, "batch_size": 4},
    }
    return parse_config(DetectionRecipe, plan)


@pytest.mark.parametrize(
    ("loss", "network", "words"),
    [
        (
            {"kind": "cross_entropy"},
            {"centroids": {}},
            "centroids are trained by a one-class loss .* not by",
        ),
        ({"kind": "oc_softmax"}, {}, "loss oc_softmax needs `network.centroids`"),
        ({"kind": "oc_softmax"}, {"centroids": {"count": 2}}, "oc_softmax has one centroid, not 2"),
        ({"kind": "qamo"}, {"centroids": {"count": 3}}, r"loss.quality gives 2 level\(s\) for 3 centroid"),
        ({"kind": "qamo"}, {"centroids": {"learned": False}}, "qamo needs centroids with `learned: true`"),
        ({"kind": "samo"}, {"centroids": {"count": 4}}, "samo needs centroids with `learned: false`"),
        ({"kind": "binary_focal"}, {}, "binary_focal needs `network.outputs: 1`, not 2"),
        ({"kind": "cross_entropy"}, {"outputs": 3}, "cross_entropy needs `network.outputs: 2`, not 3"),
        ({"kind": "qamo", "m0": 0.1}, {"centroids": {}}, "m0, for bona fide, lies above m1"),
        ({"kind": "qamo", "quality": {"source": "moss"}}, {"centroids": {}}, "unknown source 'moss'.* mean 'mos'"),
        ({"kind": "quamo"}, {"centroids": {}}, "unknown kind 'quamo'.* mean 'qamo'"),
        ({"kind": "oc_softmax"}, {"centroids": {"scoring": "own", "count": 1}}, "scoring by `own` needs `own`"),
    ],
)
def test_a_recipe_whose_parts_disagree_is_refused(loss: dict[str, Any], network: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words) as refused:
        recipe(loss, **network)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("loss", "network"),
    [
        ({"kind": "oc_softmax"}, {"centroids": {"count": 1}}),
        ({"kind": "samo"}, {"centroids": {"count": 4, "learned": False, "scoring": "max"}}),
        ({"kind": "qamo"}, {"centroids": {}}),
        ({"kind": "qamo", "quality": {"source": "quantile", "quantiles": [0.3, 0.6]}}, {"centroids": {"count": 3}}),
        ({"kind": "qamo", "quality": {"source": "random", "shares": [0.5, 0.5]}}, {"centroids": {}}),
        ({"kind": "binary_focal"}, {"outputs": 1}),
        ({"kind": "focal"}, {}),
    ],
)
def test_a_recipe_whose_parts_agree(loss: dict[str, Any], network: dict[str, Any]) -> None:
    assert recipe(loss, **network).loss.kind == loss["kind"]
