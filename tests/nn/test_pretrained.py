"""Encoders of transformers from a folder: tiny random ones of the very classes that hold the published ones."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from earwitness.core.errors import ModelError, RecipeError
from earwitness.nn.frontends import PretrainedConfig, WhisperConfig, run_together
from earwitness.nn.frontends.encoder import normalise
from earwitness.nn.pretrained.transformers_models import convert_weights, load_encoder

SSL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
}
WHISPER = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "vocab_size": 60,
    "max_source_positions": 100,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
KINDS = {"Wav2Vec2": SSL, "Hubert": SSL, "WavLM": SSL, "Whisper": WHISPER}
self_supervised = pytest.mark.parametrize("name", ["Wav2Vec2", "Hubert", "WavLM"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """One saved model of each kind; importing transformers takes seconds, so it is done once."""
    import transformers

    made = {}
    for name, settings in KINDS.items():
        torch.manual_seed(0)
        model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**settings))
        made[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(made[name])
    return made


@pytest.fixture(scope="module")
def waveforms(speechlike) -> Tensor:
    return torch.stack([torch.from_numpy(speechlike(1.0, seed=seed)) for seed in range(3)])


def original(name: str, folder: Path) -> Any:
    import transformers

    return getattr(transformers, f"{name}Model").from_pretrained(folder, local_files_only=True).eval()


@self_supervised
@pytest.mark.shows("nes2net:2.4")
def test_hidden_states_are_the_inputs_of_the_layers_and_the_output(name, folders, waveforms) -> None:
    # transformers' own tuple ends before the final layer norm in some releases and behind it in others
    states = PretrainedConfig(source=str(folders[name])).build().hidden_states(waveforms)
    model, inputs = original(name, folders[name]), []
    for layer in model.encoder.layers:
        layer.register_forward_pre_hook(
            lambda _, args, kwargs: inputs.append((*args, *kwargs.values())[0]), with_kwargs=True
        )
    with torch.no_grad():
        output = model(waveforms).last_hidden_state
    assert len(states) == 4
    for ours, theirs in zip(states, [*inputs, output], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@self_supervised
@pytest.mark.shows("nes2net:2.1")
def test_frame_count(name, folders) -> None:
    frontend = PretrainedConfig(source=str(folders[name]), aggregation="last").build()
    assert (frontend.dim, frontend.frames_per_second, frontend.shortest) == (32, 50.0, 400)
    for samples, frames in [(400, 1), (719, 1), (720, 2), (64_000, 199), (64_600, 201)]:
        assert frontend(torch.randn(1, samples)).values.shape == (1, frames, 32)
        assert frames == (samples - 400) // 320 + 1


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("aggregation", ["last", "weighted_sum", "sea", "attm", "concat"])
def test_every_aggregation(name, aggregation, folders, waveforms) -> None:
    frontend = PretrainedConfig(source=str(folders[name]), aggregation=aggregation).build()
    values = frontend(waveforms).values
    assert values.shape == (3, 50 if name == "Whisper" else 49, frontend.dim)
    assert values.isfinite().all()
    alone = torch.cat([frontend(waveform[None]).values for waveform in waveforms])
    assert torch.allclose(values, alone, atol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_frozen_encoder_is_shared_and_left_alone(name, folders, waveforms) -> None:
    first = PretrainedConfig(source=str(folders[name])).build()
    second = PretrainedConfig(source=str(folders[name]), aggregation="sea").build()
    encoder = first._shared.encoder
    assert second._shared.encoder is encoder
    assert copy.deepcopy(first)._shared.encoder is encoder
    assert first.frozen
    assert list(first.state_dict()) == ["aggregation.weights"]
    first.train()
    first(waveforms).values.square().mean().backward()
    assert not encoder.training
    assert all(p.grad is None and not p.requires_grad for p in encoder.parameters())
    assert first.aggregation.weights.grad is not None


@pytest.mark.parametrize("name", KINDS)
def test_trained_encoder_is_a_copy_of_its_own(name, folders, waveforms) -> None:
    shared = PretrainedConfig(source=str(folders[name])).build()
    before = shared(waveforms).values
    trained = PretrainedConfig(source=str(folders[name]), frozen=False).build()
    assert trained.encoder_key is None
    assert torch.allclose(trained.eval()(waveforms).values, before, atol=1e-5)
    optimiser = torch.optim.SGD(trained.parameters(), lr=1.0)
    trained(waveforms).values.square().mean().backward()
    assert all(p.grad is not None for n, p in trained.named_parameters() if "masked_spec_embed" not in n)
    optimiser.step()
    assert not torch.equal(trained(waveforms).values, before)
    assert torch.equal(shared(waveforms).values, before)
    again = PretrainedConfig(source=str(folders[name]), frozen=False).build()
    again.load_state_dict(trained.state_dict(), strict=True)
    assert torch.allclose(again.eval()(waveforms).values, trained(waveforms).values, atol=1e-6)


@self_supervised
def test_masking_and_layer_drop_stay_off_in_training(name, folders, waveforms) -> None:
    frontend = PretrainedConfig(source=str(folders[name]), frozen=False).build().train()
    for module in frontend.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for field in ("activation_dropout", "attention_dropout", "dropout"):
            if isinstance(getattr(module, field, None), float):
                setattr(module, field, 0.0)
    assert torch.equal(frontend(waveforms).values, frontend(waveforms).values)
    assert torch.allclose(frontend(waveforms).values, frontend.eval()(waveforms).values, atol=1e-6)


@pytest.mark.shows("nes2net:2.6")
def test_normalisation_of_the_recipe(folders, waveforms) -> None:
    source = str(folders["WavLM"])
    raw = PretrainedConfig(source=source, aggregation="last").build()
    normal = PretrainedConfig(source=source, aggregation="last", normalisation="utterance").build()
    assert torch.allclose(normal(waveforms).values, raw(normalise(waveforms)).values)
    assert torch.allclose(normal(waveforms).values, normal(waveforms * 0.5).values, atol=1e-2)
    assert normal.encoder_key != raw.encoder_key


def test_several_heads_cost_one_pass(folders, waveforms) -> None:
    source = str(folders["Hubert"])
    heads = [PretrainedConfig(source=source, aggregation=kind).build() for kind in ("last", "sea", "concat")]
    passes = []
    handle = heads[0]._shared.encoder.register_forward_hook(lambda *_: passes.append(1))
    together = run_together(heads, waveforms)
    handle.remove()
    assert len(passes) == 1
    for head, frames in zip(heads, together, strict=True):
        assert torch.equal(frames.values, head(waveforms).values)


def test_whisper_in_both_kinds_equals_transformers(folders, speechlike) -> None:
    source = str(folders["Whisper"])
    model = original("Whisper", folders["Whisper"]).encoder
    waveform = torch.from_numpy(speechlike(2.0, seed=4))[None]  # its 100 positions are 2 s
    frontend = PretrainedConfig(source=source).build()
    with torch.no_grad():
        expected = model(frontend._shared.encoder.log_mel(waveform), output_hidden_states=True).hidden_states
    for ours, theirs in zip(frontend.hidden_states(waveform), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    same = WhisperConfig(source=source).build()
    assert torch.equal(same(waveform).values, frontend(waveform).values)


def test_a_missing_weight_is_never_made_up(folders, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders["WavLM"], tmp_path / "wavlm")
    weights = load_file(folder / "model.safetensors")
    name = next(key for key in weights if key.endswith("layers.1.final_layer_norm.weight"))
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are missing.*layers\.1\.final_layer_norm"):
        load_encoder(str(folder))


def test_weights_that_are_cut_off_or_of_another_shape(folders, tmp_path) -> None:
    folder = shutil.copytree(folders["WavLM"], tmp_path / "wavlm")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"intermediate_size": 64}))
    with pytest.raises(ModelError, match=r"shape|cannot be read"):
        load_encoder(str(folder))
    (folder / "config.json").write_text(json.dumps(settings))
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(ModelError, match="cannot be read"):
        load_encoder(str(folder))


def test_pickled_weights_are_not_read_but_can_be_converted(folders, tmp_path, waveforms) -> None:
    from safetensors.torch import load_file

    folder = shutil.copytree(folders["WavLM"], tmp_path / "wavlm")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="convert_weights"):
        load_encoder(str(folder))
    convert_weights(folder)
    before = PretrainedConfig(source=str(folders["WavLM"])).build()
    assert torch.equal(PretrainedConfig(source=str(folder)).build()(waveforms).values, before(waveforms).values)


def test_conversion_refuses_objects(tmp_path) -> None:
    with pytest.raises(ModelError, match="no pytorch_model"):
        convert_weights(tmp_path)
    torch.save({"weights": [1, 2]}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="more than named tensors"):
        convert_weights(tmp_path)
    torch.save({"model": Path("/tmp")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="not a file of plain weights"):
        convert_weights(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_refusals_say_what_to_do(folders, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"https://huggingface.co/nobody/nothing .*licence.*allow_download"):
        load_encoder("nobody/nothing")
    with pytest.raises(RecipeError, match="there is no folder"):
        load_encoder(str(tmp_path / "absent"))
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(ModelError, match="JSON"):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError, match=r"type 'bert'.*wavlm"):
        load_encoder(str(tmp_path))
    with pytest.raises(RecipeError, match="hidden states 0 to 3"):
        PretrainedConfig(source=str(folders["WavLM"]), aggregation="layer", layers=(24,)).build()
    with pytest.raises(ModelError, match="kind: pretrained"):
        WhisperConfig(source=str(folders["WavLM"])).build()


def test_permission_to_download_is_not_remembered() -> None:
    assert "allow_download" not in PretrainedConfig(source="a/b", allow_download=True).model_dump()


def test_whisper_stops_behind_the_last_state_that_is_read(folders, waveforms) -> None:
    source = str(folders["Whisper"])
    heads = [WhisperConfig(source=source, layers=layers).build() for layers in ((0,), (1, 0))]
    encoder = heads[0]._shared.encoder
    assert encoder.count == 3
    passes = []
    handles = [
        layer.register_forward_hook(lambda *_, place=place: passes.append(place))
        for place, layer in enumerate(encoder.model.layers)
    ]
    together = run_together(heads, waveforms)
    alone = [head(waveforms).values for head in heads]
    for handle in handles:
        handle.remove()
    assert passes == [0, 0]  # once for both, not at all for the first alone, once for the second
    states = heads[0].hidden_states(waveforms)
    assert len(states) == 3
    assert torch.equal(together[0].values, states[0])
    for head, frames, own in zip(heads, together, alone, strict=True):
        assert torch.equal(frames.values, own)
        assert torch.equal(frames.values, head.combine(states).values)


def test_the_output_of_whisper_has_passed_its_last_norm_only_as_the_last_state(folders, waveforms) -> None:
    encoder = WhisperConfig(source=str(folders["Whisper"])).build()._shared.encoder
    with torch.no_grad():
        states, up_to_last = encoder(waveforms), encoder(waveforms, encoder.count - 1)
        early = encoder(waveforms, encoder.count - 2)
    assert [len(up_to_last), len(early)] == [len(states), len(states) - 1]
    assert all(torch.equal(one, two) for one, two in zip(states, up_to_last, strict=True))
    assert all(torch.equal(one, two) for one, two in zip(states, early, strict=False))
