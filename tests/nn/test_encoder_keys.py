"""Speech encoders under fairseq's and WavLM's own names: the same function once they are under ours, or refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from earwitness.core.errors import ModelError, UsageError
from earwitness.nn.frontends import CarriedConfig, PretrainedConfig
from earwitness.nn.pretrained.encoder_keys import encoder_keys, read_encoder
from earwitness.nn.pretrained.encoder_settings import EncoderSettings
from earwitness.nn.pretrained.importing import import_encoder
from earwitness.nn.pretrained.plain_weights import read_plain_weights
from official_encoders import HEADS, WIDTH, State, encoder

pytestmark = pytest.mark.shows("nes2net:6.3")
FORMS = [("fairseq_wav2vec2", True), ("fairseq_wav2vec2", False), ("wavlm", True), ("wavlm", False)]
forms = pytest.mark.parametrize(("naming", "layered"), FORMS)


def by_hand(s: State, x: Tensor, naming: str, layered: bool) -> Tensor:
    """The encoder's output [T, WIDTH] for samples [N], from the official names: no module of ours or of transformers.

    wav2vec 2.0: arXiv 2006.11477; WavLM's gated relative positions: arXiv 2110.13900, section 4.
    """

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ s[f"{name}.weight"].T + s[f"{name}.bias"]

    def norm(name: str, value: Tensor) -> Tensor:
        return F.layer_norm(value, value.shape[-1:], s[f"{name}.weight"], s[f"{name}.bias"])

    y = x[None, None]
    for place, stride in enumerate((5, 2, 2, 2, 2, 2, 2)):
        name = f"feature_extractor.conv_layers.{place}"
        y = F.conv1d(y, s[f"{name}.0.weight"], s.get(f"{name}.0.bias"), stride)
        if layered:
            y = norm(f"{name}.2.1", y.transpose(1, 2)).transpose(1, 2)
        elif place == 0:
            y = F.group_norm(y, y.shape[1], s[f"{name}.2.weight"], s[f"{name}.2.bias"])
        y = F.gelu(y)
    frames = linear("post_extract_proj", norm("layer_norm", y[0].T))
    v, g = s["encoder.pos_conv.0.weight_v"], s["encoder.pos_conv.0.weight_g"]
    kernel = v / v.square().sum((0, 1), keepdim=True).sqrt() * g
    positions = F.conv1d(frames.T[None], kernel, s["encoder.pos_conv.0.bias"], padding=8, groups=2)[0, :, :-1]
    frames = frames + F.gelu(positions).T
    if not layered:
        frames = norm("encoder.layer_norm", frames)
    bias = relative(s, len(frames)) if naming == "wavlm" else torch.zeros(HEADS, len(frames), len(frames))
    for layer in range(2):
        name = f"encoder.layers.{layer}"
        entered = norm(f"{name}.self_attn_layer_norm", frames) if layered else frames
        q, k, v = (linear(f"{name}.self_attn.{p}_proj", entered).view(len(frames), HEADS, -1) for p in "qkv")
        scores = torch.einsum("ihd,jhd->hij", q, k) / (WIDTH // HEADS) ** 0.5
        if naming == "wavlm":
            split = entered.view(len(frames), HEADS, -1)
            gates = torch.sigmoid(linear(f"{name}.self_attn.grep_linear", split).view(len(frames), HEADS, 2, 4).sum(-1))
            const = s[f"{name}.self_attn.grep_a"].view(HEADS)
            gate = gates[..., 0] * (gates[..., 1] * const - 1) + 2
            scores = scores + gate.T[:, :, None] * bias
        out = torch.einsum("hij,jhd->ihd", scores.softmax(-1), v).flatten(1)
        frames = frames + linear(f"{name}.self_attn.out_proj", out)
        if layered:
            inner = norm(f"{name}.final_layer_norm", frames)
            frames = frames + linear(f"{name}.fc2", F.gelu(linear(f"{name}.fc1", inner)))
        else:
            frames = norm(f"{name}.self_attn_layer_norm", frames)
            frames = frames + linear(f"{name}.fc2", F.gelu(linear(f"{name}.fc1", frames)))
            frames = norm(f"{name}.final_layer_norm", frames)
    return norm("encoder.layer_norm", frames) if layered else frames


def relative(s: State, frames: int) -> Tensor:
    """WavLM's biases of relative places [HEADS, T, T]: of 20 buckets half a side, the nearest 5 distances exact."""
    table = s["encoder.layers.0.self_attn.relative_attention_bias.weight"]
    assert frames <= 5
    place = torch.arange(frames)
    distance = place[None, :] - place[:, None]
    bucket = distance.abs() + 10 * (distance > 0)
    return table[bucket].permute(2, 0, 1)


@forms
def test_equals_the_encoder_written_out(naming: str, layered: bool) -> None:
    torch.manual_seed(0)
    state = encoder(naming, layered=layered)
    heads = HEADS if naming != "wavlm" else None
    settings, ours = read_encoder(state, naming, heads)  # type: ignore[arg-type]
    model = settings.build()
    model.load_state_dict(ours)
    x = 0.1 * torch.randn(1700)
    with torch.no_grad():
        found = model(x[None]).last_hidden_state[0]
    assert found.shape[0] == 5
    torch.testing.assert_close(found, by_hand(state, x, naming, layered), atol=2e-5, rtol=1e-4)


@forms
def test_names_survive_a_round_trip(naming: str, layered: bool) -> None:
    state = encoder(naming, layered=layered)
    settings, ours = read_encoder(state, naming, HEADS)  # type: ignore[arg-type]
    back = encoder_keys(settings.feat_extract_norm).to_official(ours)
    training = {n for n in state if n.split(".")[0] in ("quantizer", "project_q", "final_proj", "mask_emb")}
    assert back.keys() == state.keys() - training
    assert all(torch.equal(back[name], state[name]) for name in back)


@pytest.mark.parametrize("naming", ["fairseq_wav2vec2", "wavlm"])
def test_anything_else_is_refused_by_name(naming: str) -> None:
    for change, named in [
        ({"encoder.layers.1.fc3.weight": torch.zeros(1)}, r"encoder\.layers\.1\.fc3\.weight"),
        ({"label_embs_concat": torch.zeros(1)}, "label_embs_concat"),
        ({"encoder.layers.1.fc2.bias": torch.zeros(7)}, r"fc2\.bias has shape"),
    ]:
        with pytest.raises(ModelError, match=named):
            read_encoder({**encoder(naming), **change}, naming, HEADS)  # type: ignore[arg-type]
    state = encoder(naming)
    del state["encoder.layers.1.self_attn.k_proj.bias"]
    with pytest.raises(ModelError, match=r"missing \(encoder\.layers\.1\.self_attn\.k_proj\.bias\)"):
        read_encoder(state, naming, HEADS)  # type: ignore[arg-type]
    del state["post_extract_proj.weight"]
    with pytest.raises(ModelError, match=r"post_extract_proj\.weight"):
        read_encoder(state, naming, HEADS)  # type: ignore[arg-type]


def test_unknown_widths_need_their_heads() -> None:
    with pytest.raises(ModelError, match="heads"):
        read_encoder(encoder("fairseq_wav2vec2"), "fairseq_wav2vec2")
    settings, _ = read_encoder(encoder("wavlm"), "wavlm")
    assert (settings.num_attention_heads, settings.num_buckets) == (HEADS, 20)


def test_an_encoder_becomes_a_folder_for_recipes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = encoder("wavlm")
    torch.save({"cfg": {"normalize": True}, "model": state}, tmp_path / "wavlm.pt")
    assert import_encoder(tmp_path / "wavlm.pt", "wavlm", tmp_path / "folder") > 10_000
    frontend = PretrainedConfig(source=str(tmp_path / "folder"), aggregation="last").build()
    x = 0.1 * torch.randn(1, 1700)
    torch.testing.assert_close(frontend(x).values[0], by_hand(state, x[0], "wavlm", True), atol=2e-5, rtol=1e-4)
    with pytest.raises(UsageError, match="there already"):
        import_encoder(tmp_path / "wavlm.pt", "wavlm", tmp_path / "folder")


def test_a_carried_encoder_trains_and_stands_in_the_state() -> None:
    settings, ours = read_encoder(encoder("wavlm"), "wavlm")
    frontend = CarriedConfig(settings=settings, aggregation="sea").build()
    names = {f"encoder.model.{name}" for name in ours} | {"aggregation.squeeze.weight", "aggregation.excite.weight"}
    assert frontend.state_dict().keys() == names
    assert all(parameter.requires_grad for parameter in frontend.parameters())


def test_settings_that_do_not_fit_are_refused() -> None:
    settings, _ = read_encoder(encoder("wavlm"), "wavlm")
    data = settings.model_dump()
    for change in ({"conv_dim": (8,)}, {"num_attention_heads": 5}):
        with pytest.raises(ValueError, match=r"one entry a layer|no multiple"):
            EncoderSettings.model_validate({**data, **change})


# plain weights: nothing else is ever made of a pickle


class Canary:
    """Would write a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.path), "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_with_code_is_refused_and_never_run(tmp_path: Path) -> None:
    sang = tmp_path / "sang"
    for name, save in (
        ("torch.pth", torch.save),
        ("plain.pth", lambda value, path: path.write_bytes(pickle.dumps(value))),
    ):
        save({"weight": Canary(sang)}, tmp_path / name)
        with pytest.raises(ModelError, match="not a file of plain weights") as refused:
            read_plain_weights(tmp_path / name)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 400
    assert not sang.exists()


@pytest.mark.parametrize(
    "value", [{}, [torch.zeros(1)], {"epoch": 3}, {"a": {"b": {"c": torch.zeros(1)}}}, {1: torch.zeros(1)}]
)
def test_what_is_no_state_dict_is_refused(value: object, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "x.pth")
    with pytest.raises(ModelError, match="more than named tensors"):
        read_plain_weights(tmp_path / "x.pth")


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "x.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "x.pth").read_bytes()[:900])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("not weights")
    for name in ("cut", "empty", "text", "missing"):
        with pytest.raises(ModelError):
            read_plain_weights(tmp_path / f"{name}.pth")
    with pytest.raises(ModelError):
        read_plain_weights(tmp_path)
    assert read_plain_weights(tmp_path / "x.pth")["weight"].shape == (1000,)
