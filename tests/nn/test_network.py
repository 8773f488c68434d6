"""Whole networks: branches join, lengths don't mix, frozen parts stay, weights load strictly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from earwitness.core.errors import AudioError, DataError, ModelError, RecipeError
from earwitness.nn.encoders import EcapaConfig, IdentityConfig, LstmConfig, Nes2NetConfig
from earwitness.nn.frontends import FbankConfig, LogMelConfig, WaveformConfig
from earwitness.nn.frontends.base import Frontend
from earwitness.nn.layers.frozen import freeze, frozen_keys
from earwitness.nn.layers.grouping import run_by_length
from earwitness.nn.network import Branch, BranchConfig, EmbeddingConfig, Network, NetworkConfig
from earwitness.nn.pooling import AttentiveStatisticsConfig, LastConfig, MeanConfig, StatisticsConfig
from earwitness.nn.types import Embedding
from earwitness.training.tensors import load_trained_state

SPECTRAL = BranchConfig(
    frontend=FbankConfig(),
    encoder=EcapaConfig(channels=16, outputs=24),
    pooling=AttentiveStatisticsConfig(bottleneck=8),
)
RAW = BranchConfig(frontend=WaveformConfig(), encoder=Nes2NetConfig(), pooling=MeanConfig())


class Pretrained(Frontend):
    """A stand-in for a pretrained front-end: frozen filters with batch-norm and dropout, and a gain that trains."""

    dim, frames_per_second, shortest = 8, 100.0, 160

    def __init__(self) -> None:
        super().__init__()
        self.encoder = freeze(nn.Sequential(nn.Linear(160, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)))
        self.gain = nn.Parameter(torch.ones(8))

    def features(self, waveforms: Tensor) -> Tensor:
        frames = waveforms.unfold(1, 160, 160)
        hidden = self.encoder(frames.reshape(-1, 160)).reshape(*frames.shape[:2], 8)
        return hidden * self.gain


def with_pretrained() -> Network:
    encoder = LstmConfig(hidden=4, layers=1).build(8)
    return Network([Branch(Pretrained(), encoder, LastConfig().build(4))], None, nn.Linear(4, 2))


def padded(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Utterances whose padding is loud, so that any use of it shows."""
    torch.manual_seed(0)
    waveforms = torch.full((len(lengths), max(lengths)), 100.0)
    for row, n in zip(waveforms, lengths, strict=True):
        row[:n] = 0.1 * torch.randn(n)
    return waveforms, torch.tensor(lengths)


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(branches=[SPECTRAL], embedding=EmbeddingConfig(dim=6)),
        NetworkConfig(branches=[SPECTRAL, RAW], outputs=2, dropout=0.3),
        NetworkConfig(branches=[RAW], embedding=EmbeddingConfig(dim=6, activation="relu", unit_length=True), outputs=3),
    ],
)
def test_padding_never_enters(config: NetworkConfig) -> None:
    torch.manual_seed(1)
    network = config.build().eval()
    waveforms, lengths = padded([4000, 2500, 4000, 3200, 2500])
    with torch.no_grad():
        batch = network.embed(waveforms, lengths).mean
        singles = [network.embed(row[None, :n]).mean for row, n in zip(waveforms, lengths.tolist(), strict=True)]
        assert batch.shape == (5, network.dim)
        torch.testing.assert_close(batch, torch.cat(singles), atol=1e-5, rtol=1e-5)
        if config.outputs:
            logits = network(waveforms, lengths)
            assert logits.shape == (5, config.outputs)
            torch.testing.assert_close(logits, network.classify(Embedding(torch.cat(singles))), atol=1e-5, rtol=1e-5)


@pytest.mark.shows("nes2net:6.7")
def test_tiling_a_waveform_changes_the_score() -> None:
    torch.manual_seed(2)
    network = NetworkConfig(branches=[RAW], outputs=2).build().eval()
    waveform = 0.1 * torch.randn(1, 4000)
    with torch.no_grad():
        whole = network(waveform)
        tiled = network(waveform.repeat(1, 2)[:, :6400])
    assert (whole - tiled).abs().max() > 1e-4


def test_equal_lengths_are_one_pass() -> None:
    seen: list[tuple[int, ...]] = []

    def run(waveforms: Tensor) -> Embedding:
        seen.append(tuple(waveforms.shape))
        return Embedding(waveforms.sum(1, keepdim=True), waveforms.mean(1, keepdim=True))

    waveforms = torch.arange(12.0).reshape(3, 4)
    run_by_length(run, waveforms, None)
    run_by_length(run, waveforms, torch.tensor([3, 3, 3]))
    assert seen == [(3, 4), (3, 3)]
    mixed = run_by_length(run, waveforms, torch.tensor([4, 2, 4]))
    assert sorted(seen[2:]) == [(1, 2), (2, 4)]
    assert mixed.mean.flatten().tolist() == [6.0, 9.0, 38.0]
    assert mixed.variance is not None
    assert mixed.variance.flatten().tolist() == [1.5, 4.5, 9.5]


@pytest.mark.parametrize("lengths", [[0, 4], [4, 5], [4]])
def test_lengths_that_do_not_fit_are_refused(lengths: list[int]) -> None:
    with pytest.raises(DataError):
        run_by_length(lambda x: Embedding(x), torch.zeros(2, 4), torch.tensor(lengths))


def test_too_short_a_recording_is_refused() -> None:
    with pytest.raises(AudioError, match="too short"):
        NetworkConfig(branches=[SPECTRAL]).build().embed(torch.zeros(1, 100))


def test_features_computed_before_give_the_same() -> None:
    network = NetworkConfig(branches=[SPECTRAL, RAW], embedding=EmbeddingConfig(dim=6)).build().eval()
    waveforms = 0.1 * torch.randn(2, 3200)
    features = [branch.frontend(waveforms) for branch in network.branches]
    torch.testing.assert_close(network.embed_features(features).mean, network.embed(waveforms).mean)
    with pytest.raises(ModelError, match="1 feature set"):
        network.embed_features(features[:1])


def test_a_network_without_classifier_says_so() -> None:
    network = NetworkConfig(branches=[RAW]).build()
    assert network.dim == 320
    with pytest.raises(ModelError, match="outputs"):
        network(torch.randn(1, 640))


def test_the_back_end_shares_the_networks_weights() -> None:
    network = NetworkConfig(branches=[RAW], outputs=2).build().eval()
    waveforms = 0.1 * torch.randn(2, 3200)
    features = network.branches[0].frontend(waveforms).values
    torch.testing.assert_close(network.back_end()(features.transpose(1, 2)), network(waveforms))
    with pytest.raises(RecipeError):
        NetworkConfig(branches=[RAW, RAW], outputs=2).build().back_end()


def test_a_published_speaker_network_through_its_configuration() -> None:
    branch = BranchConfig(frontend=FbankConfig(), encoder=EcapaConfig(), pooling=AttentiveStatisticsConfig())
    network = NetworkConfig(branches=[branch], embedding=EmbeddingConfig(dim=192)).build()
    assert sum(p.numel() for p in network.parameters()) == 6_190_720
    mels = LogMelConfig(n_mels=40)
    d_vector = BranchConfig(frontend=mels, encoder=LstmConfig(), pooling=LastConfig())
    embedding = EmbeddingConfig(dim=256, batch_norm=False, activation="relu", unit_length=True)
    network = NetworkConfig(branches=[d_vector], embedding=embedding).build().eval()
    with torch.no_grad():
        vector = network.embed(0.1 * torch.randn(2, 8000)).mean
    torch.testing.assert_close(vector.norm(dim=1), torch.ones(2))
    assert float(vector.min()) >= 0


def test_frozen_parts_stay_in_eval_mode_and_do_not_move() -> None:
    network = with_pretrained().train()
    frozen = network.branches[0].frontend.encoder
    assert network.training
    assert network.branches[0].encoder.training
    assert not any(module.training for module in frozen.modules())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1.0)
    network(torch.randn(4, 1600)).square().sum().backward()
    optimiser.step()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == set(network.trainable_state())


def test_trainable_state_leaves_pretrained_weights_out() -> None:
    torch.manual_seed(0)
    network, other = with_pretrained().eval(), with_pretrained().eval()
    prefix = "branches.0.frontend.encoder."
    state = network.trainable_state()
    assert "branches.0.frontend.gain" in state
    assert not any(key.startswith(prefix) for key in state)
    assert frozen_keys(network) == {key for key in network.state_dict() if key.startswith(prefix)}
    other.branches[0].frontend.encoder.load_state_dict(network.branches[0].frontend.encoder.state_dict())
    load_trained_state(other, state)
    x = torch.randn(2, 1600)
    assert torch.equal(network(x), other(x))


def test_adapters_in_a_frozen_part_are_trainable_state() -> None:
    network = with_pretrained()
    network.branches[0].frontend.encoder.append(nn.Linear(8, 8))
    kept = [key for key in network.trainable_state() if ".frontend.encoder." in key]
    assert kept == ["branches.0.frontend.encoder.3.weight", "branches.0.frontend.encoder.3.bias"]


def test_a_network_without_frozen_parts_keeps_all_of_its_state() -> None:
    network = NetworkConfig(branches=[SPECTRAL], outputs=2).build()
    assert network.trainable_state().keys() == network.state_dict().keys()


@pytest.mark.parametrize("fault", ["missing", "unexpected", "shape"])
def test_other_weights_are_refused(fault: str) -> None:
    network = with_pretrained()
    state = network.trainable_state()
    if fault == "missing":
        del state["classifier.bias"]
    elif fault == "unexpected":
        state["branches.0.frontend.encoder.0.bias"] = torch.zeros(8)  # a frozen one has no place there either
    else:
        state["classifier.bias"] = torch.zeros(3)
    with pytest.raises(ModelError, match=r"classifier\.bias|frontend\.encoder"):
        load_trained_state(network, state)


def test_branches_of_one_configuration_differ_only_in_weights() -> None:
    config = NetworkConfig(branches=[RAW, BranchConfig(frontend=WaveformConfig(), pooling=StatisticsConfig())])
    assert config.branches[1].encoder == IdentityConfig()
    assert config.build().dim == 320 + 640
    assert NetworkConfig.model_validate(config.model_dump()) == config
