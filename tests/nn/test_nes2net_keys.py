"""Official checkpoints: every tensor finds its partner, or the checkpoint is refused by name."""

from __future__ import annotations

import pytest
import torch
from nes2net_recipe import back_end, official_state, recipe_input
from torch import Tensor

from earwitness.core.errors import ModelError
from earwitness.nn.encoders.nes2net_keys import back_end_to_official, back_end_to_ours, split_official

pytestmark = pytest.mark.shows("nes2net:6.3")

NORM = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def published_shapes(*, wide: bool, astp: bool, logits: int = 1) -> dict[str, tuple[int, ...]]:
    """Names and shapes of section 6.2, written out from the sheet and not from our modules."""
    shapes: dict[str, tuple[int, ...]] = {}

    def weight_and_bias(name: str, shape: tuple[int, ...]) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    def batch_norm(name: str, width: int) -> None:
        shapes.update({f"{name}.{part}": (() if part == "num_batches_tracked" else (width,)) for part in NORM})

    for k in range(7):
        block = f"Build_in_Res2Nets.{k}"
        for i in range(7):
            weight_and_bias(f"{block}.convs.{i}", (16, 16, 3, 1) if wide else (16, 16, 3))
            batch_norm(f"{block}.bns.{i}", 16)
            if wide:
                shapes[f"{block}.weighted_sum.{i}"] = (1, 1, 1, i + 2)
        for name in ("conv1", "conv3", "se.se.1", "se.se.3"):
            weight_and_bias(f"{block}.{name}", (128, 128, 1))
        for name in ("bn1", "bn3"):
            batch_norm(f"{block}.{name}", 128)
        batch_norm(f"bns.{k}", 128)
    batch_norm("bn", 1024)
    if astp:
        weight_and_bias("pooling.linear1", (128, 1024, 1))
        weight_and_bias("pooling.linear2", (1024, 128, 1))
    weight_and_bias("fc", (logits, 2048 if astp else 1024))
    return shapes


def with_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"Nested_Res2Net_TDNN.{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    ("kind", "pool", "entries"),
    [
        ("nes2net", "mean", 511),
        ("nes2net_x", "mean", 560),
        ("nes2net_x_selu", "mean", 560),
        ("nes2net", "ASTP", 515),
        ("nes2net_x", "ASTP", 564),
    ],
)
def test_every_published_name_and_shape_has_a_partner(kind: str, pool: str, entries: int) -> None:
    network = back_end(kind, pool=pool)
    expected = published_shapes(wide=kind != "nes2net", astp=pool == "ASTP")
    ours = back_end_to_official(network.state_dict())
    assert {name: tuple(value.shape) for name, value in ours.items()} == expected
    assert len(expected) == entries
    official = {name: torch.rand(shape) for name, shape in expected.items()}
    converted = back_end_to_ours(official, network.state_dict())
    assert converted.keys() == network.state_dict().keys()
    back = back_end_to_official(converted)
    assert all(torch.equal(back[name], official[name]) for name in official)


def test_a_whole_checkpoint_loads_and_scores_as_published() -> None:
    network = back_end("nes2net_x")
    checkpoint = {
        **with_prefix(official_state(network)),
        "ssl_model.fc_att_merge.0.weight": torch.zeros(8, 25),
        "ssl_model.fc_att_merge.2.weight": torch.zeros(25, 8),
        "ssl_model.model.model.encoder.layers.0.fc1.weight": torch.zeros(4, 4),
    }
    parts = split_official(checkpoint)
    assert (len(parts.back_end), parts.source, parts.aggregation) == (560, "s3prl_wavlm", "sea")
    assert set(parts.encoder) == {"encoder.layers.0.fc1.weight"}
    assert set(parts.aggregation_state) == {"fc_att_merge.0.weight", "fc_att_merge.2.weight"}
    network.load_state_dict(back_end_to_ours(parts.back_end, network.state_dict()))
    with torch.no_grad():
        assert network(recipe_input()).flatten().tolist() == pytest.approx([-0.026370550, -0.052530238], abs=1e-8)


def broken(kind: str) -> dict[str, Tensor]:
    state = official_state(back_end("nes2net_x"))
    if kind == "missing":
        del state["Build_in_Res2Nets.3.weighted_sum.2"]
    if kind == "unexpected":
        state["Build_in_Res2Nets.7.conv1.bias"] = torch.zeros(128)
    if kind == "shape":
        state["Build_in_Res2Nets.0.convs.0.weight"] = torch.zeros(16, 16, 3)  # that of plain Nes2Net
    return state


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("missing", "Build_in_Res2Nets.3.weighted_sum.2"),
        ("unexpected", "Build_in_Res2Nets.7.conv1.bias"),
        ("shape", "Build_in_Res2Nets.0.convs.0.weight"),
    ],
)
def test_anything_else_is_refused_by_name(kind: str, named: str) -> None:
    with pytest.raises(ModelError, match=named.replace(".", r"\.")):
        back_end_to_ours(broken(kind), back_end("nes2net_x").state_dict())


@pytest.mark.parametrize(("held", "wanted"), [("nes2net_x", "nes2net"), ("nes2net", "nes2net_x")])
def test_another_variant_is_refused(held: str, wanted: str) -> None:
    state = back_end_to_official(back_end(held).state_dict())
    with pytest.raises(ModelError, match="weighted_sum"):
        back_end_to_ours(state, back_end(wanted).state_dict())


@pytest.mark.parametrize(
    ("names", "source", "aggregation"),
    [
        ([], None, "last"),
        (["ssl_model.model.quantizer.vars", "ssl_model.model.encoder.layers.0.fc1.weight"], "fairseq_wav2vec2", "last"),
        (["ssl_model.model.encoder.layers.0.self_attn.grep_linear.weight"], "wavlm", "last"),
        (["ssl_model.model.model.mask_emb", "ssl_model.weight_hidd"], "s3prl_wavlm", "weighted_sum"),
        (
            [
                "ssl_model.W",
                "ssl_model.W1",
                "ssl_model.W2",
                "ssl_model.linear_proj.weight",
                "ssl_model.linear_proj.bias",
            ],
            None,
            "attm",
        ),
    ],
)
def test_front_ends_are_told_apart(names: list[str], source: str | None, aggregation: str) -> None:
    checkpoint = {"Nested_Res2Net_TDNN.fc.bias": torch.zeros(1), **{name: torch.zeros(1) for name in names}}
    parts = split_official(checkpoint)
    assert (parts.source, parts.aggregation) == (source, aggregation)
    assert len(parts.encoder) + len(parts.aggregation_state) == len(names)


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["fc.bias"], "Nested_Res2Net_TDNN"),
        (["Nested_Res2Net_TDNN.fc.bias", "module.fc.bias"], "module.fc.bias"),
        (["Nested_Res2Net_TDNN.fc.bias", "ssl_model.LL.weight"], "ssl_model.LL.weight"),
        (["Nested_Res2Net_TDNN.fc.bias", "ssl_model.fc_att_merge.0.weight"], "incomplete"),
    ],
)
def test_unknown_parts_are_refused_by_name(names: list[str], named: str) -> None:
    with pytest.raises(ModelError, match=named.replace(".", r"\.")):
        split_official({name: torch.zeros(1) for name in names})
