"""Centroids as a classifier: what each scoring makes of similarities, and what it can and cannot tell apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from earwitness.core.errors import ModelError, RecipeError
from earwitness.metrics.detection import eer
from earwitness.nn.centroids import Centroids, CentroidsConfig, as_logits, centroid_score
from earwitness.nn.network import NetworkConfig

BRANCH = {"frontend": {"kind": "log_mel", "n_mels": 20}, "pooling": {"kind": "statistics"}}


def scores(similarities: list[list[float]], scoring: str) -> list[float]:
    return centroid_score(torch.tensor(similarities, dtype=torch.float64), scoring).tolist()  # type: ignore[arg-type]


@pytest.mark.shows("qamo:6.2")
def test_golden_scores() -> None:
    pairs = [[0.9, -0.2], [0.2, 0.1]]
    assert scores(pairs, "max") == pytest.approx([0.9, 0.2], abs=1e-12)
    assert scores(pairs, "mean") == pytest.approx([0.35, 0.15], abs=1e-12)
    assert scores(pairs, "softmax") == pytest.approx([0.625286, 0.152498], abs=5e-7)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_softmax_lies_between_mean_and_max_by_its_closed_form(first: float, second: float) -> None:
    mean, softmax, most = (scores([[first, second]], name)[0] for name in ("mean", "softmax", "max"))
    half = (second - first) / 2
    assert softmax == pytest.approx(mean + half * math.tanh(half), abs=1e-12)
    assert mean - 1e-12 <= softmax <= most + 1e-12
    assert softmax - mean <= math.tanh(1) * (most - mean) + 1e-12


@pytest.mark.shows("qamo:6.4")
def test_the_mean_ranks_as_one_centroid_does() -> None:
    rng = torch.Generator().manual_seed(0)
    centroids = CentroidsConfig(count=2, scoring="mean").build(16).double()
    x = torch.randn(400, 16, generator=rng, dtype=torch.float64)
    real = torch.arange(400) % 3 == 0
    x[real] += 0.5 * centroids.weight.detach()[0]
    unit = torch.nn.functional.normalize(centroids.weight, dim=1)
    single = torch.nn.functional.normalize(x, dim=1) @ torch.nn.functional.normalize(unit.sum(0), dim=0)
    of_mean = centroids.score(centroids.similarities(x)).detach().numpy()
    of_one = single.detach().numpy()
    assert not np.allclose(of_mean, of_one)
    assert np.array_equal(np.argsort(of_mean), np.argsort(of_one))
    found, wanted = (eer(values[real], values[~real]).value for values in (of_mean, of_one))
    assert found == wanted
    assert 0 < found < 0.5


@pytest.mark.shows("qamo:6.5")
def test_what_each_scoring_can_and_cannot_do() -> None:
    """Centroids at 0 and 90 degrees, bona fide on both axes, spoof half-way: only max tells them well apart."""
    centroids = CentroidsConfig(count=2).build(2).double()
    centroids.weight = torch.nn.Parameter(torch.eye(2, dtype=torch.float64))
    real = centroids.similarities(torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64)).tolist()
    spoof = centroids.similarities(torch.tensor([[2.0, 2.0]], dtype=torch.float64)).tolist()
    wanted = {"max": (1.0, 0.7071, 0.0), "softmax": (0.7311, 0.7071, 0.0), "mean": (0.5, 0.7071, 1.0)}
    for scoring, (of_real, of_spoof, error) in wanted.items():
        assert scores(real, scoring) == pytest.approx([of_real] * 2, abs=5e-5)
        assert scores(spoof, scoring) == pytest.approx([of_spoof], abs=5e-5)
        assert eer(np.array(scores(real, scoring)), np.array(scores(spoof, scoring))).value == error


@pytest.mark.shows("qamo:6.3")
def test_one_centroid_scores_by_its_cosine_in_every_way() -> None:
    centroids = CentroidsConfig(count=1).build(8)
    x = torch.randn(50, 8)
    cosine = centroids.similarities(x)
    for scoring in ("softmax", "mean", "max"):
        assert torch.equal(centroid_score(cosine, scoring), cosine[:, 0])
    logits = centroids(x)
    assert torch.equal(logits[:, 1] - logits[:, 0], cosine[:, 0])


def test_logits_differ_by_the_score_to_the_last_bit() -> None:
    score = torch.randn(1000)
    logits = as_logits(score)
    assert torch.equal(logits[:, 1] - logits[:, 0], score)


def test_the_own_centroid_must_be_told() -> None:
    similarities = torch.tensor([[0.1, 0.7], [0.3, 0.2]])
    assert centroid_score(similarities, "own", torch.tensor([0, 1])).tolist() == pytest.approx([0.1, 0.2])
    with pytest.raises(ModelError, match="no quality estimator was handed in"):
        centroid_score(similarities, "own")


def test_fixed_centroids_are_unit_vectors_and_no_parameters() -> None:
    centroids = CentroidsConfig(count=3, learned=False).build(5)
    assert torch.equal(centroids.weight, torch.eye(3, 5))
    assert not list(centroids.parameters())
    assert set(centroids.state_dict()) == {"weight", "epochs"}
    with pytest.raises(RecipeError, match="6 centroids cannot start apart in 5 dimensions"):
        CentroidsConfig(count=6, learned=False).build(5)


def test_the_cosine_between_centroids() -> None:
    centroids = CentroidsConfig(count=2).build(2)
    centroids.weight = torch.nn.Parameter(torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
    assert centroids.cosine() == pytest.approx(math.sqrt(0.5))
    assert CentroidsConfig(count=1).build(2).cosine() == 1.0


def test_a_network_gives_logits_similarities_and_its_embedding() -> None:
    network = NetworkConfig.model_validate({"branches": [BRANCH], "outputs": 2, "centroids": {}}).build().eval()
    waveforms = torch.randn(3, 8_000)
    assert isinstance(network.classifier, Centroids)
    similarities = network(waveforms, give="similarities")
    assert torch.equal(similarities, network.centroids().similarities(network(waveforms, give="embedding")))
    logits = network(waveforms)
    assert torch.equal(logits[:, 1] - logits[:, 0], network.centroids().score(similarities))
    assert torch.equal(network(waveforms[1:2], give="similarities")[0], similarities[1])
    linear = NetworkConfig.model_validate({"branches": [BRANCH], "outputs": 2}).build()
    with pytest.raises(ModelError, match="has no centroids"):
        linear(waveforms, give="similarities")


@pytest.mark.parametrize("wrong", [{"outputs": None}, {"outputs": 3}, {"outputs": 2, "votes": {}}])
def test_centroids_take_the_classifiers_place(wrong: dict) -> None:
    with pytest.raises(ValueError, match="centroids need `outputs: 2`"):
        NetworkConfig.model_validate({"branches": [BRANCH], "centroids": {}, **wrong})
