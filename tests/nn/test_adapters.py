"""AdaLAM (reconstruction of arXiv 2504.10819): adapters in a frozen encoder that other heads share."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from earwitness.core.config import parse_config
from earwitness.core.errors import RecipeError
from earwitness.nn.frontends import FrontendConfig, PretrainedConfig, WhisperConfig, run_together
from earwitness.nn.frontends.adapters import AdaptersConfig
from earwitness.nn.frontends.aggregation import build_aggregation
from earwitness.nn.frontends.encoder import EncoderConfig, EncoderFrontend, SpeechEncoder
from earwitness.nn.frontends.pretrained import SelfSupervisedStates
from earwitness.nn.layers.frozen import frozen_keys
from earwitness.nn.network import Network, NetworkConfig
from earwitness.nn.pretrained.whisper import encoder_available
from earwitness.training.tensors import load_trained_state, trained_state

needs_whisper = pytest.mark.skipif(not encoder_available(), reason="the package of Whisper tiny.en is not installed")
KINDS = [
    "wav2vec2",
    "hubert",
    "wavlm",
    "wavlm-stable",
    pytest.param("whisper", marks=needs_whisper),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny encoders of random weights in transformers' form; `wavlm-stable` as the large ones are laid out."""
    import transformers

    size = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "conv_dim": (8,) * 7,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
    }
    stable = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
    torch.manual_seed(0)
    models = {
        "wav2vec2": transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**size, **stable)),
        "hubert": transformers.HubertModel(transformers.HubertConfig(**size)),
        "wavlm": transformers.WavLMModel(transformers.WavLMConfig(**size)),
        "wavlm-stable": transformers.WavLMModel(transformers.WavLMConfig(**size, **stable)),
    }
    home = tmp_path_factory.mktemp("encoders")
    for name, model in models.items():
        model.save_pretrained(home / name)
    return {name: home / name for name in models}


@pytest.fixture(params=KINDS)
def config(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Callable[..., EncoderConfig]:
    """config(**options) of every kind of encoder that is loaded, the real Whisper tiny.en among them."""
    kind = request.param
    if kind == "whisper":
        return WhisperConfig
    return lambda **options: PretrainedConfig(source=str(folders[kind]), **options)


@pytest.fixture(scope="module")
def waveforms(speechlike: Any) -> Tensor:
    return torch.stack([torch.from_numpy(speechlike(0.5, seed=seed)) for seed in range(2)])


def random_adapters(frontend: EncoderFrontend, seed: int = 0) -> EncoderFrontend:
    """As if they had been trained."""
    torch.manual_seed(seed)
    for adapter in frontend.adapters:
        nn.init.normal_(adapter.up.weight, std=0.5)  # type: ignore[union-attr, arg-type]
    return frontend


def checksum(encoder: nn.Module) -> str:
    """Of every weight's and buffer's bits."""
    found = hashlib.sha256()
    for tensor in (*encoder.parameters(), *encoder.buffers()):
        found.update(tensor.detach().numpy().tobytes())
    return found.hexdigest()


@pytest.mark.shows("f-infoed:6.1")
def test_new_adapters_change_nothing(config: Callable[..., EncoderConfig], waveforms: Tensor) -> None:
    frozen, adapted = config().build(), config(adapters={"hidden": 8}).build()
    before, after = frozen(waveforms).values, adapted(waveforms).values
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)  # WavLM rounds otherwise where gradients are kept
    assert not after.isnan().any()
    changed = random_adapters(adapted)(waveforms).values
    assert (changed - before).abs().max() > 1e-3  # and they do stand in the encoder


@pytest.mark.shows("f-infoed:6.1")
def test_adalam_on_wavlm_large_trains_what_the_sheet_counts() -> None:
    """24 layers of 1024: 134 208 parameters an adapter, 3 220 992 in all, and a weight for each of 25 hidden states."""
    import transformers

    size = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    with torch.device("meta"):
        model = transformers.WavLMModel(transformers.WavLMConfig(**size, do_stable_layer_norm=True))
        encoder = SelfSupervisedStates(model, "wavlm-large")
        aggregation = build_aggregation("weighted_sum", None, encoder.count, encoder.dim)
        frontend = EncoderFrontend(encoder, aggregation, adapters=AdaptersConfig(), layer_norm=True)
    sizes = {name: parameter.numel() for name, parameter in frontend.named_parameters() if parameter.requires_grad}
    assert sizes.pop("aggregation.weights") == 25
    assert sum(sizes.values()) == 3_220_992
    assert sum(size for name, size in sizes.items() if name.startswith("adapters.7.")) == 134_208
    assert all(name.startswith("adapters.") for name in sizes)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.shows("f-infoed:6.5")
def test_training_moves_adapters_and_no_bit_of_the_encoder(
    config: Callable[..., EncoderConfig], waveforms: Tensor
) -> None:
    frontend = config(adapters={"hidden": 4}).build().train()
    encoder = shared(frontend)
    before, first = checksum(encoder), [p.detach().clone() for p in frontend.parameters()]
    optimiser = torch.optim.AdamW(frontend.parameters(), lr=1e-2)
    target = torch.randn(frontend.dim)
    for _ in range(3):
        optimiser.zero_grad()
        (frontend(waveforms).values * target).mean().backward()
        optimiser.step()
    assert checksum(encoder) == before
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(first, frontend.parameters(), strict=True))


def test_no_other_head_meets_the_adapters(config: Callable[..., EncoderConfig], waveforms: Tensor) -> None:
    """Nor is the encoder stored again: all of its weights are the shared ones, in one place."""
    frozen = config().build()
    before = frozen(waveforms).values
    one = random_adapters(config(adapters={"hidden": 4}).build(), 1)
    two = random_adapters(config(adapters={"hidden": 4}).build(), 2)
    alone = [head(waveforms).values for head in (one, two)]
    together = [frames.values for frames in run_together([one, frozen, two], waveforms)]
    assert torch.equal(together[1], before)
    assert torch.equal(together[0], alone[0])
    assert torch.equal(together[2], alone[1])
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)
    assert (one.encoder_key, one.frozen, frozen.frozen) == (None, False, True)
    own, common = one._adapted.encoder, shared(frozen)  # type: ignore[union-attr]
    pairs = list(zip(own.parameters(), common.parameters(), strict=True))
    assert pairs
    assert all(ours is theirs for ours, theirs in pairs)


def test_a_copy_has_adapters_of_its_own(config: Callable[..., EncoderConfig], waveforms: Tensor) -> None:
    frontend = random_adapters(config(adapters={"hidden": 4}).build())
    before = frontend(waveforms).values
    again = copy.deepcopy(frontend)
    assert torch.equal(again(waveforms).values, before)
    for adapter in again.adapters:
        nn.init.zeros_(adapter.up.weight)  # type: ignore[union-attr, arg-type]
    bare = config().build()(waveforms).values
    torch.testing.assert_close(again(waveforms).values, bare, rtol=0, atol=1e-6)
    assert torch.equal(frontend(waveforms).values, before)


def test_only_adapters_and_layer_weights_are_kept(config: Callable[..., EncoderConfig], waveforms: Tensor) -> None:
    """In the state-dict, the trainable state, and what a checkpoint or a model folder holds; put back, they answer."""
    network, other = (tiny_network(config(adapters={"hidden": 4})) for _ in range(2))
    random_adapters(network.branches[0].frontend)  # type: ignore[arg-type]
    state = trained_state(network)
    assert set(state) == set(network.trainable_state()) == set(network.state_dict())
    kept = {name.split(".")[3] for name in state if ".frontend." in name}
    assert kept == {"adapters", "aggregation"}
    assert not frozen_keys(network)
    with torch.no_grad():
        assert not torch.equal(network(waveforms), other(waveforms))
        load_trained_state(other, state)
        assert torch.equal(network.eval()(waveforms), other.eval()(waveforms))


def test_layer_norm_without_weights(config: Callable[..., EncoderConfig], waveforms: Tensor) -> None:
    frontend = config(layer_norm=True).build()
    values = frontend(waveforms).values
    torch.testing.assert_close(values.mean(-1), torch.zeros(values.shape[:2]), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.var(-1, unbiased=False), torch.ones(values.shape[:2]), atol=1e-2, rtol=0)
    assert set(frontend.state_dict()) == {"aggregation.weights"}


def test_options_that_are_off_leave_no_trace() -> None:
    """Vectors and frames that were kept under the hash of a front-end's options stay valid."""
    assert {"adapters", "layer_norm"}.isdisjoint(WhisperConfig().model_dump(mode="json"))
    told = WhisperConfig(adapters=AdaptersConfig(hidden=3), layer_norm=True)
    assert parse_config(FrontendConfig, told.model_dump(mode="json")) == told
    assert told.model_dump(mode="json")["adapters"] == {"hidden": 3}


def test_adapters_in_an_encoder_that_is_trained_are_refused() -> None:
    with pytest.raises(RecipeError, match="adapters stand in a frozen encoder"):
        parse_config(FrontendConfig, {"kind": "whisper", "frozen": False, "adapters": {}})
    with pytest.raises(RecipeError, match="no such field"):
        parse_config(FrontendConfig, {"kind": "whisper", "adapters": {"hiden": 8}})


def shared(frontend: EncoderFrontend) -> SpeechEncoder:
    """The encoder that all heads of the process share."""
    return frontend._shared.encoder if frontend._adapted is None else frontend._adapted.bare


def tiny_network(frontend: EncoderConfig) -> Network:
    branch = {"frontend": frontend.model_dump(), "pooling": {"kind": "statistics"}}
    return NetworkConfig.model_validate({"branches": [branch], "outputs": 2}).build()
