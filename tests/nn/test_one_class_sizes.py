"""Back-ends with centroids in the place of their last layer have the published sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from earwitness.deepfake.one_class import OneClassLoss
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.nn.centroids import CentroidsConfig
from earwitness.nn.encoders import Nes2NetConfig
from earwitness.nn.pooling import MeanConfig
from earwitness.nn.pooling.conformer_tcm import ConformerTcmConfig
from earwitness.training.recipe import read_recipe

PUBLISHED = Path(__file__).resolve().parents[2] / "recipes" / "published"
RECIPES = ("qamo-conformer-tcm", "qamo-nes2net-x", "oc-softmax-lfcc-resnet18", "samo-aasist")


def size(*parts: nn.Module) -> int:
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


@pytest.mark.shows("qamo:6.9")
def test_the_sizes_of_the_published_heads() -> None:
    encoder = Nes2NetConfig(kind="nes2net_x", dilation=2).build(1024)
    pooling = MeanConfig().build(encoder.dim)
    assert size(encoder, pooling) == 509_989
    assert size(encoder, pooling, CentroidsConfig(count=2).build(pooling.dim)) == 512_037
    conformer = ConformerTcmConfig().build(1024)
    assert conformer.dim == 144
    assert size(conformer, CentroidsConfig(count=2).build(144)) == 3_822_626
    assert conformer.position.numel() == 1_440_000


@pytest.mark.parametrize("name", RECIPES)
def test_the_published_recipes_are_one_class(name: str) -> None:
    recipe = read_recipe(PUBLISHED / f"{name}.yaml", DetectionRecipe)
    assert recipe.name == name
    assert isinstance(recipe.loss, OneClassLoss)
    assert recipe.network.centroids is not None


@pytest.mark.parametrize(("name", "dim"), [("oc-softmax-lfcc-resnet18", 256), ("samo-aasist", 160)])
def test_the_published_networks_embed_as_wide_as_stated(name: str, dim: int) -> None:
    network = read_recipe(PUBLISHED / f"{name}.yaml", DetectionRecipe).network.build()
    assert network.dim == dim
    assert network.centroids().weight.shape[1] == dim
