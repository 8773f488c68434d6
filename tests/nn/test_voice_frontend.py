"""The voice print as a front-end equals the embedder's, and only the right weights will do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from earwitness.core.errors import ModelError
from earwitness.evaluation.loading import load_embedder
from earwitness.nn.frontends import VoiceConfig
from earwitness.nn.frontends.voice import _Voice
from earwitness.nn.network import BranchConfig, NetworkConfig
from earwitness.training.model_folder import WEIGHTS, read_model_info
from earwitness.training.shipped import find_model


def test_it_is_the_embedders_print() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    frames = VoiceConfig().build()(torch.from_numpy(sound)[None]).values
    assert frames.shape == (1, 1, 192)
    expected = load_embedder("speaker").embed(sound, 16_000).vector
    np.testing.assert_allclose(frames[0, 0].numpy(), expected, atol=1e-4)


def test_the_middle_alone_is_heard() -> None:
    sound = torch.randn(2, 40_001, generator=torch.Generator().manual_seed(6)) / 10
    whole = VoiceConfig(model="speaker-small").build()
    middle = VoiceConfig(model="speaker-small", middle_s=1.0).build()
    assert torch.equal(middle(sound).values, whole(sound[:, 12_000:28_000]).values)
    assert not torch.allclose(middle(sound).values, whole(sound).values, atol=1e-3)
    assert torch.equal(middle(sound[:, :16_000]).values, whole(sound[:, :16_000]).values)
    assert torch.equal(middle(sound[:, :9_000]).values, whole(sound[:, :9_000]).values)
    with pytest.raises(ValueError, match=r"0\.5"):
        VoiceConfig(middle_s=0.1)


def test_its_weights_are_nobodys_to_keep_or_train() -> None:
    network = NetworkConfig(branches=[BranchConfig(frontend=VoiceConfig())], outputs=3).build()
    assert set(network.trainable_state()) == {"classifier.weight", "classifier.bias"}
    network(torch.randn(2, 16_000) / 10).sum().backward()
    frontend = network.branches[0].frontend
    assert not list(frontend.parameters())


def test_other_weights_than_those_that_are_meant() -> None:
    right = read_model_info(find_model("speaker")).files[WEIGHTS]
    VoiceConfig(sha256=right).build()
    with pytest.raises(ModelError, match="other weights"):
        VoiceConfig(sha256="0" * 64).build()
    with pytest.raises(ModelError, match="no such speaker model"):
        VoiceConfig(model="nobody").build()
    with pytest.raises(ModelError, match="answers 'deepfake'"):
        VoiceConfig(model="deepfake-small").build()


def test_an_altered_model_is_refused(tmp_path: Path) -> None:
    source = find_model("speaker-small")
    for name in ("model.json", WEIGHTS):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    VoiceConfig(model=str(tmp_path)).build()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.json").write_text("[]")
    with pytest.raises(ModelError, match="no speaker model"):
        VoiceConfig(model=str(tmp_path / "broken")).build()
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.json").write_bytes((source / "model.json").read_bytes())
    (other / WEIGHTS).write_bytes((source / WEIGHTS).read_bytes()[:-4] + b"0000")
    with pytest.raises(ModelError, match="altered"):
        VoiceConfig(model=str(other)).build()


def test_a_window_is_heard_once_for_all_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(4)) / 10
    first, second = VoiceConfig(model="speaker-small").build(), VoiceConfig(model="speaker-small").build()
    heard: list[int] = []
    network = first._voice.network
    embed = network.embed
    monkeypatch.setattr(network, "embed", lambda waveforms: heard.append(len(waveforms)) or embed(waveforms))
    with torch.inference_mode():
        whole = first(sound).values
    assert torch.equal(second(sound[[2, 0]]).values, whole[[2, 0]])
    assert heard == [3]
    mixed = second(torch.cat([sound[1:2], -sound[:1]])).values
    assert heard == [3, 1]
    assert torch.equal(mixed[0], whole[1])
    torch.nn.Linear(mixed.shape[-1], 1)(mixed).sum().backward()  # prints of inference mode serve a training too


def test_no_more_prints_are_kept_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.nn.frontends.voice.MOST_KEPT", 2)
    voice = _Voice(VoiceConfig(model="speaker-small").build()._voice.network)
    sound = torch.randn(4, 16_000, generator=torch.Generator().manual_seed(5)) / 10
    together = voice.prints(sound)
    assert len(voice._places) == 2
    monkeypatch.setattr(voice, "_heard", lambda waveforms: np.zeros((len(waveforms), together.shape[1]), np.float32))
    assert torch.equal(voice.prints(sound[2:]), together[2:])  # the latest two
    assert not voice.prints(sound[:1]).any()
    assert torch.equal(voice.prints(sound[3:]), together[3:])
    assert not voice.prints(sound[2:3]).any()  # the oldest had gone
