"""Published weights: complete in both directions or refused, and equal to the published network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
import torch

from earwitness.audio.reading import load
from earwitness.core.errors import MissingPartError, ModelError, RecipeError
from earwitness.core.hashing import sha256_file
from earwitness.nn.encoders.camplus_keys import camplus_to_official
from earwitness.speaker.published import CAMPLUS, DVECTOR, ORIGINS, Published, Start, read_published


class Reference(torch.nn.Module):
    """The published forward pass from torch's own parts."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = torch.nn.Linear(256, 256)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        raw = torch.relu(self.linear(self.lstm(mels)[1][0][-1]))
        return raw / raw.norm(dim=1, keepdim=True)


@pytest.fixture
def checkpoint() -> dict[str, Any]:
    """A file's content under the published names, with random weights."""
    torch.manual_seed(0)
    loss = {"similarity_weight": torch.ones(1), "similarity_bias": torch.zeros(1)}
    return {"step": 7, "model_state": {**loss, **Reference().state_dict()}, "optimizer_state": {}}


def saved(content: object, folder: Path) -> Path:
    torch.save(content, folder / "weights.pt")
    return folder / "weights.pt"


def test_every_tensor_finds_its_place(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    file = saved(checkpoint, tmp_path)
    found = read_published("resemblyzer", file)
    network = DVECTOR.build()
    found.start(DVECTOR, network)
    assert found.state.keys() == network.trainable_state().keys()
    assert sum(p.numel() for p in network.parameters()) == 1_423_616
    assert found.plain()["sha256"] == sha256_file(file)
    assert found.plain()["licence"] == "Apache-2.0"
    assert "were changed" in found.origin.notice
    reference = Reference()
    reference.load_state_dict({k: v for k, v in checkpoint["model_state"].items() if not k.startswith("similarity")})
    sound = 0.1 * torch.randn(3, 25_600)
    mels = network.branches[0].frontend(sound).values
    with torch.no_grad():
        assert torch.allclose(network.embed(sound).mean, reference(mels), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model_state"].pop("linear.bias"), "1 missing"),
        (lambda c: c["model_state"].update({"lstm.weight_ih_l3": torch.zeros(1)}), "1 unexpected"),
        (lambda c: c["model_state"].update({"extra": torch.zeros(1)}), "'extra', which has no place"),
        (lambda c: c["model_state"].update({"linear.bias": 3}), "'linear.bias', which has no place"),
        (lambda c: c["model_state"].update({"linear.bias": torch.zeros(3)}), "has shape"),
        (lambda c: c.pop("model_state"), "without|not a checkpoint"),
        (lambda c: c.update({"config": {}}), "'config', which is not known"),
    ],
)
def test_anything_else_is_refused(change: Any, message: str, checkpoint: dict[str, Any], tmp_path: Path) -> None:
    change(checkpoint)
    with pytest.raises(ModelError, match=message):
        read_published("resemblyzer", saved(checkpoint, tmp_path)).start(DVECTOR, DVECTOR.build())


def test_pickled_objects_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="more than tensors"):
        read_published("resemblyzer", saved({"model_state": {"linear.bias": tmp_path}}, tmp_path))
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(ModelError, match="no checkpoint"):
        read_published("resemblyzer", tmp_path / "text.pt")
    with pytest.raises(ModelError, match="no such file"):
        read_published("resemblyzer", tmp_path / "absent.pt")


def test_another_network_is_refused_even_where_the_shapes_fit(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    branch = DVECTOR.branches[0]
    frontend = branch.frontend.model_copy(update={"log": True})
    other = DVECTOR.model_copy(update={"branches": [branch.model_copy(update={"frontend": frontend})]})
    with pytest.raises(RecipeError, match="published network only"):
        read_published("resemblyzer", saved(checkpoint, tmp_path)).start(other, other.build())


def test_the_default_recipe_is_a_published_network() -> None:
    from earwitness.speaker.recipe import SpeakerRecipe
    from earwitness.training.recipe import read_recipe

    recipes = Path(__file__).resolve().parents[2] / "recipes" / "default"
    recipe = read_recipe(recipes / "speaker.yaml", SpeakerRecipe)
    assert recipe.start_from == "camplus"
    assert recipe.network == CAMPLUS
    assert read_recipe(recipes / "speaker-small.yaml", SpeakerRecipe).network.build().dim == 192


@pytest.mark.parametrize("start", get_args(Start))
def test_a_missing_package_says_how_to_get_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ORIGINS, start, replace(ORIGINS[start], package="a_package_that_is_not_there"))
    with pytest.raises(MissingPartError, match="make peers"):
        read_published(start)


def test_camplus_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = camplus_to_official(CAMPLUS.build().state_dict())
    network = CAMPLUS.build()
    file = saved(theirs, tmp_path)
    read_published("camplus", file).start(CAMPLUS, network)
    assert all(torch.equal(value, theirs[name]) for name, value in camplus_to_official(network.state_dict()).items())
    with pytest.raises(RecipeError, match="published network only"):
        read_published("camplus", file).start(DVECTOR, DVECTOR.build())
    theirs.pop("head.bn1.bias")
    with pytest.raises(ModelError, match=r"weights\.pt: 1 tensor.* missing"):
        read_published("camplus", saved(theirs, tmp_path))
    with pytest.raises(ModelError, match="no such file"):
        read_published("camplus", tmp_path / "absent.pt")


@pytest.mark.peer
def test_the_published_network_on_a_real_recording(shared_data: Path) -> None:
    """Our embeddings of 1.6 s, from the waveform on, against librosa's mels and torch's own LSTM."""
    librosa = pytest.importorskip("librosa")
    try:
        ours: Published = read_published("resemblyzer")
    except MissingPartError:
        pytest.skip("resemblyzer is not installed (make peers)")
    network, reference = DVECTOR.build().eval(), Reference()
    ours.start(DVECTOR, network)
    content = torch.load(ORIGINS["resemblyzer"].find(), map_location="cpu", weights_only=True)["model_state"]
    reference.load_state_dict({k: v for k, v in content.items() if not k.startswith("similarity")})
    folder = shared_data / "librispeech_excerpt"
    path = pl.read_csv(folder / "manifest.csv", infer_schema_length=0)["path"][0]
    sound = load(folder / path, 16_000).samples
    partials = np.stack([sound[start : start + 25_600] for start in range(0, len(sound) - 25_600, 20_000)])
    level = 20 * np.log10(np.sqrt((partials**2).mean(axis=1, keepdims=True)))
    quiet = partials * 10 ** (-10 / 20)  # raised again where it lies below -30 dBFS
    for sounds, dbfs in ((partials, level), (quiet, level - 10)):
        raised = sounds * 10 ** (np.maximum(0, -30 - dbfs) / 20)
        mels = np.stack(
            [librosa.feature.melspectrogram(y=y, sr=16_000, n_fft=400, hop_length=160, n_mels=40).T for y in raised]
        )
        with torch.no_grad():
            theirs = reference(torch.from_numpy(mels.astype(np.float32))).numpy()
            mine = network.embed(torch.from_numpy(sounds.astype(np.float32))).mean.numpy()
        assert np.abs(mine - theirs).max() < 1e-5
