"""Whole official detectors become model folders that score, or are refused; nothing is guessed or unpickled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from earwitness.audio.reading import load
from earwitness.audio.windows import First, Tile, Whole
from earwitness.core.errors import ModelError, UsageError
from earwitness.deepfake.importing.kinds import DETECTORS, read_detector
from earwitness.deepfake.importing.nes2net import RECIPES, read_nes2net
from earwitness.deepfake.importing.official import score_head
from earwitness.nn.encoders.nes2net_keys import back_end_to_ours
from earwitness.nn.frontends.encoder import EncoderFrontend, normalise
from earwitness.nn.network import Network
from earwitness.nn.pretrained.encoder_keys import read_encoder
from earwitness.nn.pretrained.plain_weights import read_plain_weights
from official_detectors import BACK_END, PREFIX, checkpoint, naming, tiny_back_end
from official_encoders import HEADS, WIDTH

State = dict[str, Tensor]


def expected(recipe: str, state: State, x: Tensor, kind: str = "nes2net_x") -> Tensor:
    """The official logits [B, 1 or 2], put together from a transformers model and the back-end that the sheet's numbers
    are shown on."""
    of = RECIPES[recipe]
    inner = {k.removeprefix(PREFIX[of.source]): v for k, v in state.items() if k.startswith(PREFIX[of.source])}
    settings, ours = read_encoder(inner, naming(recipe), HEADS)  # type: ignore[arg-type]
    model = settings.build()
    model.load_state_dict(ours)
    if of.normalisation == "utterance":
        x = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    output = model(x, output_hidden_states=True)
    frames = output.last_hidden_state
    if "ssl_model.fc_att_merge.0.weight" in state:
        layers = torch.stack([*output.hidden_states[:-1], frames], dim=1)
        squeezed = layers.mean((2, 3)) @ state["ssl_model.fc_att_merge.0.weight"].T
        gates = torch.sigmoid(squeezed.relu() @ state["ssl_model.fc_att_merge.2.weight"].T)
        frames = (layers * gates[:, :, None, None]).sum(1)
    network = tiny_back_end(recipe, kind)
    own = {k.removeprefix(BACK_END): v for k, v in state.items() if k.startswith(BACK_END)}
    network.load_state_dict(back_end_to_ours(own, network.state_dict()))
    return network(frames.transpose(1, 2))  # type: ignore[no-any-return]


CASES = [
    ("nes2net-ctrsvdd", "nes2net_x"),
    ("nes2net-ctrsvdd", "nes2net"),
    ("nes2net-ctrsvdd-selu", "nes2net_x_selu"),
    ("nes2net-asvspoof2019", "nes2net_x"),
    ("nes2net-in-the-wild", "nes2net_x"),
    ("nes2net-asvspoof5", "nes2net_x"),
]


@pytest.mark.shows("nes2net:6.3")
@pytest.mark.parametrize(("recipe", "kind"), CASES)
def test_a_whole_checkpoint_gives_the_published_score(recipe: str, kind: str) -> None:
    state = checkpoint(recipe, kind)
    found = read_nes2net(state, RECIPES[recipe], "published", HEADS)
    x = 0.1 * torch.randn(2, 9_000) + 0.02
    with torch.no_grad():
        logits = found.network(x)
        official = expected(recipe, state, x, kind)
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], official[:, -1], atol=1e-5, rtol=1e-5)
    odds = read_nes2net(state, RECIPES[recipe], "odds", HEADS).network
    with torch.no_grad():
        difference = odds(x).diff(dim=1).squeeze(1)
    wanted = official[:, 0] if official.shape[1] == 1 else official[:, 1] - official[:, 0]
    torch.testing.assert_close(difference, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.shows("nes2net:2.6")
def test_recipes_hear_as_published() -> None:
    hears = {name: (recipe.normalisation, recipe.dilation, recipe.windows) for name, recipe in RECIPES.items()}
    tile = Tile(length_s=4.0375)
    assert hears == {
        "nes2net-ctrsvdd": ("utterance", 1, Whole()),
        "nes2net-ctrsvdd-selu": ("utterance", 1, Whole()),
        "nes2net-asvspoof2019": ("none", 2, tile),
        "nes2net-in-the-wild": ("none", 2, Whole()),
        "nes2net-asvspoof5": ("none", 1, tile),
    }
    assert tile.spans(70_000, 16_000) == [(0, 64_600)]
    frontend = read_nes2net(checkpoint("nes2net-ctrsvdd"), RECIPES["nes2net-ctrsvdd"], "published").network
    inner = frontend.branches[0].frontend
    assert isinstance(inner, EncoderFrontend)
    x = 0.3 + torch.randn(1, 4000)
    torch.testing.assert_close(inner.features(x), inner.features(normalise(x)), atol=1e-4, rtol=1e-4)


def broken(change: str) -> State:
    state = checkpoint("nes2net-asvspoof5")
    if change == "missing in the encoder":
        del state["ssl_model.model.encoder.layers.0.fc1.bias"]
    if change == "missing in the back-end":
        del state["Nested_Res2Net_TDNN.bns.1.running_var"]
    if change == "no classifier":
        del state["Nested_Res2Net_TDNN.fc.weight"]
    if change == "unexpected":
        state["ssl_model.model.encoder.layers.0.more"] = torch.zeros(1)
    if change == "another part":
        state["module.x"] = torch.zeros(1)
    if change == "shape":
        state["ssl_model.model.encoder.layer_norm.weight"] = torch.zeros(3)
    if change == "three logits":
        state["Nested_Res2Net_TDNN.fc.weight"] = torch.zeros(3, WIDTH)
        state["Nested_Res2Net_TDNN.fc.bias"] = torch.zeros(3)
    return state


@pytest.mark.shows("nes2net:6.3")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("missing in the encoder", r"fc1\.bias"),
        ("missing in the back-end", r"bns\.1\.running_var"),
        ("no classifier", r"fc\.weight"),
        ("unexpected", r"layers\.0\.more"),
        ("another part", r"module\.x"),
        ("shape", r"encoder\.layer_norm\.weight has shape"),
        ("three logits", "3 logits"),
    ],
)
def test_anything_else_is_refused_by_name(change: str, named: str, tmp_path: Path) -> None:
    torch.save(broken(change), tmp_path / "x.pth")
    with pytest.raises(ModelError, match=named) as refused:
        read_detector(tmp_path / "x.pth", "nes2net-asvspoof5")
    assert str(refused.value).startswith(str(tmp_path / "x.pth"))


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ("nes2net-ctrsvdd", "nes2net-asvspoof5"),
        ("nes2net-asvspoof2019", "nes2net-asvspoof5"),
        ("nes2net-asvspoof5", "nes2net-asvspoof2019"),
        ("nes2net-asvspoof5", "aasist"),
    ],
)
def test_another_recipes_checkpoint_is_refused(held: str, wanted: str, tmp_path: Path) -> None:
    torch.save(checkpoint(held), tmp_path / "x.pth")
    with pytest.raises(ModelError):
        read_detector(tmp_path / "x.pth", wanted)


def test_the_selu_form_is_not_made_of_plain_nes2net() -> None:
    with pytest.raises(ModelError, match="no SELU form"):
        read_nes2net(checkpoint("nes2net-ctrsvdd", "nes2net"), RECIPES["nes2net-ctrsvdd-selu"], "published")


def test_unknown_kinds_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'aasist-l'"):
        read_detector("x.pth", "aasist-1")
    assert len(DETECTORS) == 4 + len(RECIPES)


def rawnet_logit(s: State, x: Tensor) -> Tensor:
    """RawNetLite from its official names, [B, N] -> [B]: higher means fake."""

    def layer(conv: str, norm: str, value: Tensor) -> Tensor:
        y = F.conv1d(value, s[f"{conv}.weight"], s[f"{conv}.bias"], padding=1)
        mean, var = s[f"{norm}.running_mean"][:, None], s[f"{norm}.running_var"][:, None]
        return (y - mean) / (var + 1e-5).sqrt() * s[f"{norm}.weight"][:, None] + s[f"{norm}.bias"][:, None]

    x = F.pad(x, (0, 48_000 - x.shape[1])) / x.abs().amax(1, keepdim=True)
    y = layer("conv_pre", "bn_pre", x[:, None]).relu()
    for block in ("resblock1", "resblock2", "resblock3"):
        inner = layer(f"{block}.conv1", f"{block}.bn1", y).relu()
        y = (layer(f"{block}.conv2", f"{block}.bn2", inner) + y).relu()
    steps = y.view(len(y), 64, 64, 750).mean(3)  # [B, C, 64]

    def over_time(order: range, end: str) -> Tensor:
        """The hidden state behind the last of these steps."""
        h = torch.zeros(len(x), 128)
        for t in order:
            i = steps[:, :, t] @ s[f"gru.weight_ih_l0{end}"].T + s[f"gru.bias_ih_l0{end}"]
            m = h @ s[f"gru.weight_hh_l0{end}"].T + s[f"gru.bias_hh_l0{end}"]
            r, z = (torch.sigmoid(i[:, k : k + 128] + m[:, k : k + 128]) for k in (0, 128))
            n = torch.tanh(i[:, 256:] + r * m[:, 256:])
            h = (1 - z) * n + z * h
        return h

    last = torch.cat([over_time(range(64), ""), over_time(range(63, 62, -1), "_reverse")], dim=1)
    hidden = last @ s["fc1.weight"].T + s["fc1.bias"]
    return (hidden @ s["fc2.weight"].T + s["fc2.bias"])[:, 0]


def test_rawnet_lite_by_hand_and_its_polarity_turned(shared_models: Path) -> None:
    path = shared_models / "rawnetlite" / "rawnet_lite.pt"
    state, found = read_plain_weights(path), read_detector(path, "rawnet-lite")
    torch.manual_seed(0)
    x = 0.1 * torch.randn(2, 20_000)
    with torch.no_grad():
        logits = found.network(x)
        torch.testing.assert_close(logits[:, 1] - logits[:, 0], -rawnet_logit(state, x), atol=1e-4, rtol=1e-4)
    assert found.windows == First(length_s=3.0)
    assert "rises with fake" in found.score


def test_score_heads() -> None:
    weight, bias = torch.randn(2, 3), torch.randn(2)
    embedded = torch.randn(4, 3)
    logits = embedded @ weight.T + bias

    def score(head: State) -> Tensor:
        return (embedded @ head["classifier.weight"].T + head["classifier.bias"]).diff(dim=1).squeeze(1)

    two = {"classifier.weight": weight, "classifier.bias": bias}
    one = {"classifier.weight": weight[1:], "classifier.bias": bias[1:]}
    torch.testing.assert_close(score(score_head(two, "published")), logits[:, 1])
    torch.testing.assert_close(score(score_head(two, "odds")), logits[:, 1] - logits[:, 0])
    for kind in ("published", "odds"):
        torch.testing.assert_close(score(score_head(one, kind)), logits[:, 1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "file"), [("aasist", "AASIST"), ("aasist-l", "AASIST-L"), ("aasist-asvspoof5", "AASIST-ASVspoof5")]
)
def test_official_files(kind: str, file: str, shared_models: Path, speechlike: Callable[..., np.ndarray]) -> None:
    path = shared_models / "aasist" / f"{file}.pth"
    network = read_detector(path, kind, "odds").network
    published = read_detector(path, kind).network
    assert isinstance(network, Network)
    assert sum(p.numel() for p in network.parameters()) == (85_306 if kind == "aasist-l" else 297_866)
    x = torch.from_numpy(speechlike(0.3))[None]
    with torch.no_grad():
        both, one = network(x), published(x)
    torch.testing.assert_close(one[:, 1], both[:, 1])
    assert one[0, 0] == 0


def test_official_aasist_ranks_real_speech_above_neural_synthesis(shared_models: Path, shared_data: Path) -> None:
    """Its polarity, on two seconds of a few real recordings: human readers, and public demos of neural synthesis."""
    network = read_detector(shared_models / "aasist" / "AASIST.pth", "aasist").network
    human = sorted((shared_data / "librispeech_excerpt").rglob("*.flac"))[:30:10]
    synthetic = sorted((shared_data / "neural_tts_demos").rglob("*.flac"))[:30:10]
    assert len(human) == len(synthetic) == 3

    def score(path: Path) -> float:
        samples = torch.from_numpy(load(path, 16_000).samples[:32_000])
        with torch.no_grad():
            return float(network(samples[None])[0, 1])

    assert min(map(score, human)) > max(map(score, synthetic))
