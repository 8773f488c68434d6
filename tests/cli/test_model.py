"""`earwitness model` lists, describes, verifies and exports; a card from elsewhere cannot drive the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from earwitness.audio.windows import Sliding
from earwitness.cli.main import run
from earwitness.nn.network import NetworkConfig
from earwitness.training.model_folder import ModelInfo, save_model
from earwitness.training.shipped import summarise

NETWORK: dict[str, Any] = {
    "branches": [{"frontend": {"kind": "log_mel", "n_mels": 20}, "pooling": {"kind": "statistics"}}],
    "embedding": {"dim": 4},
    "outputs": 2,
}
EER_ROW = {"data": "twins", "metric": "EER (interpolated), %", "value": 12.34}


def earwitness(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        run(["model", *map(str, words)])
    return int(stop.value.code or 0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only model that ships."""
    torch.manual_seed(0)
    config = NetworkConfig.model_validate(NETWORK)
    info = ModelInfo(
        name="tiny",
        task="deepfake",
        summary="[bold]Small[/bold] \x1b[2J",
        network=config.model_dump(mode="json"),
        windows=Sliding(length_s=0.5, hop_s=0.5),
        polarity="higher = bona fide",
        licence="Apache-2.0",
        extra={"results": [{"data": "twins", "metric": "Cllr", "value": 0.5}, EER_ROW]},
    )
    card = "# tiny\n\n\x1b[2J[red]not markup[/red]\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"
    save_model(tmp_path / "tiny", info, config.build().trainable_state(), card=card)
    monkeypatch.setattr("earwitness.models.__path__", [str(tmp_path)])
    return tmp_path / "tiny"


def test_list(folder: Path, capfd) -> None:
    assert earwitness("list") == 0
    printed = capfd.readouterr().out
    assert "tiny" in printed
    assert "12.3 %" in printed
    assert "\x1b[2J" not in printed
    assert earwitness("list", "--json") == 0
    (found,) = json.loads(capfd.readouterr().out)
    assert found["figure"] == "EER 12.3 %"
    assert found["figure_data"] == "twins"
    # batch-norm's weight and bias of 40, a linear layer 40 -> 4, a classifier 4 -> 2; no running statistics
    assert found["parameters"] == 2 * 40 + 40 * 4 + 4 + 4 * 2 + 2


def test_a_model_without_results_has_no_figure(folder: Path) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"extra": {}}))
    assert summarise(folder).figure == ""


def test_nothing_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setattr("earwitness.models.__path__", [str(tmp_path)])
    assert earwitness("list") == 0
    assert "no model ships" in capfd.readouterr().err
    assert earwitness("list", "--json") == 0
    assert json.loads(capfd.readouterr().out) == []


@pytest.mark.parametrize("terminal", [False, True])
def test_info_shows_the_card_and_no_more(folder: Path, capfd, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    assert earwitness("info", "tiny") == 0
    printed = capfd.readouterr().out
    assert "[red]not markup[/red]" in printed
    assert "\x1b[2J" not in printed
    assert ("\x1b[" in printed) is terminal


def test_info_as_data(folder: Path, capfd) -> None:
    assert earwitness("info", folder, "--json") == 0
    assert json.loads(capfd.readouterr().out) == json.loads((folder / "model.json").read_text())


def test_verify(folder: Path, capfd) -> None:
    assert earwitness("verify", "tiny") == 0
    assert "2 files match" in capfd.readouterr().out
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)
    for command in (
        ("verify", folder),
        ("info", "tiny"),
        ("list",),
        ("export", "tiny", "-o", folder.parent / "m.onnx"),
    ):
        assert earwitness(*command) == 2
        error = capfd.readouterr().err
        assert "was altered" in error
        assert error.count("\n") == 1


def test_an_unknown_name_is_answered_with_the_nearest(folder: Path, capfd) -> None:
    assert earwitness("verify", "tinny") == 2
    assert "Did you mean 'tiny'? Shipped: tiny" in capfd.readouterr().err
    assert earwitness("verify", folder.parent) == 2
    assert "is no model folder" in capfd.readouterr().err


def test_export(folder: Path, tmp_path: Path, speechlike, capfd) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    soundfile.write(tmp_path / "call.wav", speechlike(1.2), 16_000)
    out = tmp_path / "out" / "m.onnx"
    assert earwitness("export", "tiny", "-o", out, "--recording", tmp_path / "call.wav") == 0
    captured = capfd.readouterr()
    lines = captured.out.splitlines()
    assert [line.rsplit(": ", 1)[0] for line in lines] == [
        "largest difference to torch on noise",
        "largest difference to torch on the recording",
    ]
    assert all(float(line.rsplit(": ", 1)[1]) <= 1e-4 for line in lines)
    assert "windows of 0.5 s" in captured.err
    assert out.stat().st_size > 1000


def test_card_needs_a_run(tmp_path: Path, capfd) -> None:
    assert earwitness("card", tmp_path) == 2
    assert "is no model folder" in capfd.readouterr().err
