"""An exported graph answers as its network does, for any batch, or there is no file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from earwitness.audio.windows import Sliding, Whole
from earwitness.core.errors import MissingPartError, ModelError, UsageError
from earwitness.nn.frontends import whisper
from earwitness.nn.frontends.whisper import WhisperStates
from earwitness.nn.network import Network, NetworkConfig
from earwitness.nn.pretrained.whisper_encoder import WhisperEncoder
from earwitness.training import export
from earwitness.training.calibration import Calibration, ConditionCalibration
from earwitness.training.export import difference, export_model, export_onnx, window_seconds
from earwitness.training.model_folder import ModelInfo, save_model

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

SPECTRAL = {
    "frontend": {"kind": "log_mel", "n_mels": 20, "mean_norm": True},
    "encoder": {"kind": "resnet", "widths": [4, 6], "blocks": [1, 1], "strides": [2, 2]},
    "pooling": {"kind": "statistics"},
}
DETECTOR = {"branches": [SPECTRAL], "embedding": {"dim": 8}, "outputs": 2}
ECAPA = {
    "branches": [
        {
            "frontend": {"kind": "fbank", "n_mels": 20},
            "encoder": {"kind": "ecapa", "channels": 16, "outputs": 24},
            "pooling": {"kind": "attentive_statistics", "bottleneck": 8},
        }
    ],
    "embedding": {"dim": 6},
}
DVECTOR = {
    "branches": [
        {
            "frontend": {"kind": "log_mel", "n_fft": 400, "n_mels": 40, "log": False, "center": True},
            "encoder": {"kind": "lstm", "hidden": 8, "layers": 2},
            "pooling": {"kind": "last"},
        }
    ],
    "embedding": {"dim": 6, "batch_norm": False, "activation": "relu", "unit_length": True},
}
POSTERIOR = {
    "branches": [
        {
            **ECAPA["branches"][0],  # type: ignore[dict-item]
            "pooling": {"kind": "posterior", "hidden": 16, "attention": "multi_view", "heads": 4, "feed_forward": 8},
        }
    ],
    "embedding": {"dim": 6},
}
COMMITTEE = {
    "branches": [
        {"frontend": {"kind": "fine_structure", "view": view}, "pooling": {"kind": "statistics"}}
        for view in ("level", "detail", "phase")
    ],
    "outputs": 2,
    "votes": {"hidden": 4, "copies": 2, "weights": [2, 1, 1]},
}
ENCODER = {
    "branches": [
        {
            "frontend": {"kind": "whisper", "source": "a tiny one", "layers": [1, 2], "aggregation": "concat"},
            "encoder": {"kind": "nes2net_x", "nes_ratio": [2, 2], "se_ratio": 1},
            "pooling": {"kind": "statistics"},
        },
        SPECTRAL,
    ],
    "embedding": {"dim": 8},
    "outputs": 2,
}


GRAPHS = {
    "branches": [
        {
            "frontend": {"kind": "sinc", "taps": 33},
            "pooling": {"kind": "aasist_raw", "widths": [4, 4, 4, 4, 4, 4], "dims": [4, 6]},
        }
    ],
    "outputs": 2,
}
TOKENS = {
    "branches": [
        {
            "frontend": {"kind": "log_mel", "n_mels": 20},
            "pooling": {"kind": "conformer_tcm", "dim": 8, "heads": 2, "blocks": 1},
        }
    ],
    "outputs": 2,
}


def build(config: dict[str, Any]) -> Network:
    """Random weights, and batch-norm statistics that are not those of a new network."""
    torch.manual_seed(3)
    network = NetworkConfig.model_validate(config).build()
    network.train()
    with torch.no_grad():
        network.embed(0.1 * torch.randn(4, 16_000))
    return network.eval()


@pytest.fixture
def tiny_whisper(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random encoder of two small layers in the place of a pretrained one."""
    torch.manual_seed(1)
    model = WhisperEncoder(mels=20, width=8, heads=2, hidden=12, layers=2, positions=200).eval()
    states = WhisperStates(model, "a tiny one")
    monkeypatch.setattr(whisper, "_shared_encoder", lambda source, allow_download: states)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(ECAPA, id="fbank-ecapa"),
        pytest.param(DVECTOR, id="d-vector"),
        pytest.param(POSTERIOR, id="posterior", marks=pytest.mark.soak),
    ],
)
def test_the_graph_answers_as_the_network_does(config: dict[str, Any], tmp_path: Path) -> None:
    network, path = build(config), tmp_path / "deep" / "m.onnx"
    assert export_onnx(network, 0.5, 16_000, path) <= 1e-4
    assert [file.name for file in path.parent.iterdir()] == ["m.onnx"]  # the weights are inside
    waveforms = 0.3 * torch.randn(5, 8_000)
    assert difference(network, path, waveforms.numpy()) <= 1e-4
    assert np.allclose(np.linalg.norm(answer(path, waveforms.numpy()), axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("config", [pytest.param(GRAPHS, id="aasist"), pytest.param(TOKENS, id="conformer-tcm")])
def test_tokens_of_a_whole_batch_go_into_the_graph(config: dict[str, Any], tmp_path: Path) -> None:
    """One learnt vector stands before the frames of each recording, of however many."""
    network, path = build(config), tmp_path / "m.onnx"
    assert export_onnx(network, 0.5, 16_000, path) <= 1e-4
    assert difference(network, path, 0.3 * torch.randn(5, 8_000).numpy()) <= 1e-4


def test_a_graph_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    network, path = build(DETECTOR), tmp_path / "m.onnx"
    export_onnx(network, 0.5, 16_000, path)
    with pytest.raises(ModelError, match="cannot be run") as caught:
        difference(network, path, np.zeros((2, 4_000), np.float32))
    assert "\n" not in str(caught.value)


def test_a_committee_on_masked_frames_goes_into_the_graph(tmp_path: Path) -> None:
    network = build(COMMITTEE)
    assert export_onnx(network, 0.5, 16_000, tmp_path / "m.onnx") <= 1e-4
    waveforms = 0.3 * torch.randn(5, 8_000)
    waveforms[:, :3_000] *= 0.01  # frames that don't count
    assert difference(network, tmp_path / "m.onnx", waveforms.numpy()) <= 1e-4


def test_centroids_go_into_the_graph(tmp_path: Path) -> None:
    branch = {"frontend": {"kind": "log_mel", "n_mels": 20}, "pooling": {"kind": "mean"}}
    network = build({"branches": [branch], "outputs": 2, "centroids": {}})
    assert export_onnx(network, 0.1, 16_000, tmp_path / "m.onnx") <= 1e-4
    waveforms = 0.3 * torch.randn(5, 1_600)
    assert difference(network, tmp_path / "m.onnx", waveforms.numpy()) <= 1e-4


def test_a_shared_encoder_goes_into_the_graph(tiny_whisper: None, tmp_path: Path) -> None:
    network, path = build(ENCODER), tmp_path / "m.onnx"
    assert not any("model.conv1" in name for name in network.state_dict())  # the encoder is no part of the weights
    assert export_onnx(network, 0.5, 16_000, path) <= 1e-4
    noise = np.random.default_rng(0).standard_normal((2, 8_000)).astype(np.float32)
    first, second = answer(path, noise)
    assert not np.allclose(first, second)


def test_a_graph_that_differs_is_refused_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(DETECTOR)
    program = export._traced(network, 8_000)

    def changed(*_: object) -> object:
        network.classifier.bias = torch.nn.Parameter(network.classifier.bias + 0.01)  # type: ignore[union-attr]
        return program

    monkeypatch.setattr(export, "_traced", changed)
    with pytest.raises(ModelError, match=r"differs from the network by 0\.01"):
        export_onnx(network, 0.5, 16_000, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_onnx_cannot_express_is_refused_in_a_sentence(tmp_path: Path) -> None:
    network = build(DETECTOR)

    class Stubborn(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if bool(x.sum() > 0) else -x  # depends on the values

    network.classifier = torch.nn.Sequential(Stubborn(), torch.nn.Linear(8, 2))  # type: ignore[assignment]
    with pytest.raises(ModelError, match="cannot be exported to ONNX") as caught:
        export_onnx(network, 0.5, 16_000, tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(MissingPartError, match=r"earwitness\[export\]"):
        export_onnx(build(DETECTOR), 0.5, 16_000, tmp_path / "m.onnx")


def test_a_model_folder_with_its_facts(tmp_path: Path, speechlike: Any) -> None:
    network = build(DETECTOR)
    fitted = ConditionCalibration(condition="clean", scale=2, offset=-1, low=-3, high=4, positives=30, negatives=40)
    info = ModelInfo(
        name="small",
        task="deepfake",
        network=NetworkConfig.model_validate(DETECTOR).model_dump(mode="json"),
        windows=Sliding(length_s=0.5, hop_s=0.5),
        polarity="higher = bona fide",
        licence="Apache-2.0",
        calibration=Calibration(fitted_on="dev", conditions=(fitted,)),
    )
    save_model(tmp_path / "model", info, network.trainable_state())
    sf.write(tmp_path / "call.wav", speechlike(1.3), 16_000)
    found = export_model(tmp_path / "model", tmp_path / "m.onnx", recording=tmp_path / "call.wav")
    assert found.seconds == 0.5
    assert found.on_recording is not None
    assert max(found.on_noise, found.on_recording) <= 1e-4
    assert answer(found.path, np.full((5, 8_000), 0.1, np.float32)).shape == (5, 2)
    import onnx

    facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert facts["rate_hz"] == "16000"
    assert "higher = bona fide" in facts["score"]
    assert facts["llr"] == "2 * score + -1, within [-3, 4]"
    assert window_seconds(info.model_copy(update={"windows": Whole()})) == 4.0
    with pytest.raises(UsageError, match="is no window"):
        export_model(tmp_path / "model", tmp_path / "n.onnx", seconds=0.0)


def answer(path: Path, waveforms: Any) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path)).run(None, {"waveforms": waveforms})[0]
