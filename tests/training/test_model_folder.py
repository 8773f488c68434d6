"""A model folder is whole, unaltered and inert, or it is refused."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from earwitness.audio.windows import Sliding
from earwitness.core.errors import ModelError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.nn.network import Network, NetworkConfig
from earwitness.training.calibration import Calibration, ConditionCalibration
from earwitness.training.card import ResultRow, render_card
from earwitness.training.model_folder import (
    CohortInfo,
    DataSource,
    ModelInfo,
    load_arrays,
    load_network,
    load_weights,
    read_model_info,
    revise_model,
    save_model,
    verify_model,
)
from earwitness.training.tensors import tensor_bytes

SMALL: dict[str, Any] = {"branches": [{"frontend": {"kind": "lfcc"}, "pooling": {"kind": "mean"}}], "outputs": 2}


def describe(**changes: Any) -> ModelInfo:
    config = NetworkConfig.model_validate(SMALL)
    known: dict[str, Any] = {
        "name": "small",
        "task": "deepfake",
        "network": config.model_dump(mode="json"),
        "windows": Sliding(length_s=4.0, hop_s=4.0),
        "polarity": "higher = bona fide",
        "licence": "Apache-2.0",
    }
    return ModelInfo(**{**known, **changes})


def small_network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return NetworkConfig.model_validate(SMALL).build()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "model", describe(), small_network().trainable_state(), card="# small\n")
    return tmp_path / "model"


def calibration() -> Calibration:
    fitted = ConditionCalibration(condition="clean", scale=2, offset=-1, low=-3, high=4, positives=30, negatives=40)
    return Calibration(fitted_on="dev", conditions=(fitted,))


def test_a_saved_model_gives_the_same_answers(folder: Path) -> None:
    info = read_model_info(folder)
    waveforms = 0.1 * torch.randn(3, 16_000)
    with torch.no_grad():
        expected = small_network().eval()(waveforms)
        assert torch.equal(load_network(folder, info)(waveforms), expected)
    assert {path.name for path in folder.iterdir()} == {"weights.safetensors", "model.json", "CARD.md"}
    assert verify_model(folder) == info
    assert info.sha256 == sha256_file(folder / "weights.safetensors")
    assert info.sha256[:12] in info.reference
    assert info.package_version


def test_info_survives_the_file(tmp_path: Path) -> None:
    full = describe(
        calibration=calibration(), cohort=CohortInfo(speakers=50, top=10), thresholds={"eer": 0.25},
        data=(DataSource(name="corpus", licence="CC-BY-4.0"),), limits=("no court",), extra={"names": ["a", "b"]},
    )  # fmt: skip
    cohort = {"cohort.safetensors": tensor_bytes({"cohort": torch.eye(4)}), "NOTICE": b"thanks"}
    saved = save_model(tmp_path / "m", full, small_network().trainable_state(), files=cohort)
    assert read_model_info(tmp_path / "m") == saved
    assert np.array_equal(load_arrays(tmp_path / "m/cohort.safetensors")["cohort"], np.eye(4))
    assert (tmp_path / "m/NOTICE").read_bytes() == b"thanks"
    assert [saved.llr(score) for score in (1.0, -9.0, 9.0)] == [1.0, -3.0, 4.0]
    assert describe().llr(1.0) is None


def test_half_the_size_with_the_types_of_before(tmp_path: Path) -> None:
    weights = {
        "w": torch.randn(50, 50),
        "double": torch.randn(3, dtype=torch.float64),
        "brain": torch.randn(3).bfloat16(),
        "count": torch.tensor(7),
        "large": torch.tensor([1e6, 1.0]),
        "inf": torch.tensor([float("inf"), 1.0]),
    }
    save_model(tmp_path / "full", describe(), weights)
    info = save_model(tmp_path / "half", describe(), weights, half=True)
    assert info.stored == "float16"
    loaded = load_weights(tmp_path / "half")
    assert {name: value.dtype for name, value in loaded.items()} == {
        name: value.dtype for name, value in weights.items()
    }
    assert torch.equal(loaded["w"], weights["w"].half().float())
    for name in ("count", "large", "inf"):
        assert torch.equal(loaded[name], weights[name]), name
    full, half = ((tmp_path / name / "weights.safetensors").stat().st_size for name in ("full", "half"))
    assert half < 0.6 * full
    assert all(torch.equal(value, weights[name]) for name, value in load_weights(tmp_path / "full").items())


def test_revising_keeps_the_weights_and_renews_the_hashes(folder: Path) -> None:
    before = read_model_info(folder)
    after = revise_model(folder, before.model_copy(update={"calibration": calibration()}), card="# tested\n")
    assert verify_model(folder) == after
    assert after.sha256 == before.sha256
    assert after.files["CARD.md"] != before.files["CARD.md"]
    assert (folder / "CARD.md").read_text() == "# tested\n"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)


def edit(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "model.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (flip_a_byte, "weights.safetensors: was altered"),
        (lambda folder: (folder / "CARD.md").write_text("99 % right"), "CARD.md: was altered"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "weights.safetensors: is missing"),
        (lambda folder: (folder / "model.json").unlink(), "is no model folder"),
        (lambda folder: (folder / "model.json").write_text("{"), "cannot be read as JSON"),
        (lambda folder: (folder / "extra.pt").write_bytes(b"x"), "extra.pt: is not part of the model"),
        (edit(colour="red"), "colour: there is no such field"),
        (edit(format=2), "newer version"),
        (edit(polarity="lower = bona fide"), "polarity"),
        (edit(files={}), "names no weights.safetensors"),
        (edit(files={"../../secret": "0" * 64}), "outside of the model folder"),
    ],
)
def test_an_altered_folder_is_refused(folder: Path, harm: Callable[[Path], None], said: str) -> None:
    harm(folder)
    for use in (verify_model, load_weights):
        with pytest.raises(ModelError) as caught:
            use(folder)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


class Canary:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("torch_format", [False, True])
def test_a_pickle_is_refused_unopened(folder: Path, tmp_path: Path, torch_format: bool) -> None:
    canary, weights = tmp_path / "canary", folder / "weights.safetensors"
    if torch_format:
        torch.save({"w": Canary(canary)}, weights)
    else:
        weights.write_bytes(pickle.dumps(Canary(canary)))
    files = {**read_model_info(folder).files, "weights.safetensors": sha256_file(weights)}
    edit(files=files)(folder)  # the hash is right: only the format gives it away
    verify_model(folder)
    with pytest.raises(ModelError, match="is not a safetensors file"):
        load_weights(folder)
    with pytest.raises(ModelError, match="is not a safetensors file"):
        load_network(folder, read_model_info(folder))
    assert not canary.exists()


def test_weights_that_do_not_fit_are_refused_in_both_directions(tmp_path: Path) -> None:
    weights = small_network().trainable_state()
    name = sorted(weights)[0]
    wrong = {
        "less": {key: value for key, value in weights.items() if key != name},
        "more": {**weights, "stranger": torch.zeros(1)},
        "shape": {**weights, name: torch.zeros(3, 3, 3)},
    }
    said = {"less": "1 missing", "more": r"1 unexpected \(first: stranger\)", "shape": "has shape"}
    for kind, state in wrong.items():
        info = save_model(tmp_path / kind, describe(), state)
        with pytest.raises(ModelError, match=said[kind]):
            load_network(tmp_path / kind, info)


def test_a_network_of_another_version_is_refused(tmp_path: Path) -> None:
    network = {**describe().network, "branches": [{"frontend": {"kind": "from the future"}}]}
    info = save_model(tmp_path / "m", describe(network=network), small_network().trainable_state())
    with pytest.raises(ModelError, match="cannot be built"):
        load_network(tmp_path / "m", info)


def test_what_is_no_model_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter1.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is no model folder"):
        save_model(tmp_path / "thesis", describe(), {"w": torch.zeros(1)})
    assert (tmp_path / "thesis/chapter1.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    save_model(tmp_path / "empty", describe(), {"w": torch.zeros(1)})


def test_a_failed_write_leaves_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("earwitness.training.model_folder._write_file", full)
    with pytest.raises(UsageError, match="No space left on device"):
        save_model(folder, describe(version="2"), {"w": torch.zeros(1)})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_the_card_states_every_figure_with_its_source() -> None:
    info = describe(
        summary="A small detector.",
        calibration=calibration(),
        data=(DataSource(name="corpus | <script>", licence="CC-BY-4.0"),),
        limits=("Not for 8 kHz telephony",),
        known_failures=("Calls LJ fake",),
    )
    eer = "EER (interpolated), %"
    rows = [
        ResultRow("unseen family", eer, 12.345, 8.1, 17.9, 400, "results/family.json", unit="speaker"),
        ResultRow("twins", eer, 40.0, None, None, 12, "results/twins.json"),
    ]
    card = render_card(info, rows)
    assert (
        "| unseen family | EER (interpolated), % | 12.35 | 8.1 to 17.9 over speakers | 400 | results/family.json |"
        in card
    )
    assert "| twins | EER (interpolated), % | 40 | none | 12 | results/twins.json |" in card
    for fact in (
        "CC-BY-4.0",
        "Apache-2.0",
        "higher = bona fide",
        "- Not for 8 kHz telephony",
        "- Calls LJ fake",
        "[-3.00, 4.00]",
    ):
        assert fact in card, fact
    assert "corpus \\| &lt;script>" in card
    assert "has not been tested" in render_card(info, [])
