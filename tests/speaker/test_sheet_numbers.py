"""Published sizes that take more than an encoder, and what a model's description says of whom it knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from earwitness.corpora.manifest import Manifest
from earwitness.nn.encoders import EcapaConfig
from earwitness.nn.losses import AamConfig
from earwitness.nn.network import EmbeddingConfig
from earwitness.nn.pooling import AttentiveStatisticsConfig
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.identities import COHORT_SPEAKERS, TRAINING_SPEAKERS, known_among, speaker_key, speaker_keys


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def ecapa(form: str, channels: int, outputs: int, bottleneck: int = 128, pooling_form: str = "") -> int:
    """Parameters of the embedding network for 80 mels and 192 values."""
    encoder = EcapaConfig(form=form, channels=channels, outputs=outputs).build(80)  # type: ignore[arg-type]
    pooling = AttentiveStatisticsConfig(form=pooling_form or form, bottleneck=bottleneck).build(encoder.dim)  # type: ignore[arg-type]
    return count(encoder, pooling, EmbeddingConfig(dim=192).build(pooling.dim))


@pytest.mark.shows("speaker-metrics:9.1")
def test_sb_recipe_with_its_classifier() -> None:
    assert ecapa("sb", 1024, 3072) + count(AamConfig().build(192, 7_205)) == 22_150_912


@pytest.mark.shows("speaker-metrics:9.1")
def test_tao_size_from_its_parts() -> None:
    """Attention of 256 with batch-norm, and a batch-norm over the 192 values: the parts are ours, but that network adds
    up block inputs and has that last norm, which no configuration of ours builds."""
    size = ecapa("ws", 1024, 1536, bottleneck=256, pooling_form="sb") + count(nn.BatchNorm1d(192))
    assert size == 15_444_544
    assert f"{size / 2**20:.2f}" == "14.73"  # how its own code prints it


@pytest.mark.shows("speaker-metrics:9.1")
def test_speed_perturbation_of_voxceleb2_has_17982_classes() -> None:
    assert count(AamConfig().build(1, 3 * 5_994)) == 17_982


def test_a_model_names_whom_it_knows_without_names(run: Path) -> None:
    embedder, train = Embedder.load(run / "model"), Manifest.read(run / "train.csv")
    names = sorted(set(train.table["speaker"]))
    assert embedder.info.extra[TRAINING_SPEAKERS] == embedder.info.extra[COHORT_SPEAKERS] == speaker_keys(names)
    assert embedder.comparator.cohort is not None
    assert known_among(embedder.comparator.cohort.speakers or (), [*names, "s0", "stranger"]) == names
    assert not any(name in (run / "model" / "model.json").read_text().split('"') for name in names)
    assert len(speaker_key("anna")) == 12
