"""Nes2Net against every number of its sheet: sizes, costs, the equivalence recipe, and what it must be invariant to."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from nes2net_recipe import back_end, fill, recipe_input
from torch import Tensor, nn

from earwitness.core.errors import RecipeError
from earwitness.nn.back_end import BackEnd
from earwitness.nn.encoders import Nes2NetConfig
from earwitness.nn.encoders.nes2net import WeightedRes2
from earwitness.nn.macs import count_macs
from earwitness.nn.types import Frames

VARIANTS = ("nes2net", "nes2net_x", "nes2net_x_selu")


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.shows("nes2net:6.1")
@pytest.mark.parametrize(
    ("kind", "logits", "pool", "parameters", "entries"),
    [
        ("nes2net", 1, "mean", 510_769, 511),
        ("nes2net_x", 1, "mean", 511_014, 560),
        ("nes2net_x_selu", 1, "mean", 511_014, 560),
        ("nes2net_x", 2, "mean", 512_039, 560),
        ("nes2net", 1, "ASTP", 775_089, 515),
        ("nes2net_x", 1, "ASTP", 775_334, 564),
        ("nes2net_x", 2, "ASTP", 777_383, 564),
    ],
)
def test_sizes_of_the_published_variants(kind: str, logits: int, pool: str, parameters: int, entries: int) -> None:
    network = back_end(kind, logits=logits, pool=pool)
    assert count(network) == parameters
    assert len(network.state_dict()) == entries


SIZES = {  # nes_ratio: (Nes2Net, Nes2Net-X) for SE ratio 1, 2, 4, 8
    (8, 8): [(510_769, 511_014), (395_633, 395_878), (338_065, 338_310), (309_281, 309_526)],
    (4, 8): [(863_713, 863_818), (666_721, 666_826), (568_225, 568_330), (518_977, 519_082)],
    (8, 4): [(537_313, 537_376), (422_177, 422_240), (364_609, 364_672), (335_825, 335_888)],
    (4, 4): [(909_505, 909_532), (712_513, 712_540), (614_017, 614_044), (564_769, 564_796)],
    (16, 8): [(281_113, 281_638), (219_193, 219_718), (188_233, 188_758), (172_753, 173_278)],
    (2, 8): [(1_144_129, 1_144_164), (881_729, 881_764), (750_529, 750_564), (684_929, 684_964)],
}


def closed_form(outer: int, inner: int, r: int, logits: int, *, weighted: bool) -> int:
    C = 1024 // outer
    w = C // inner
    squeeze = 2 * C * (C // r) + C // r + C
    block = 2 * (C * C + C) + 4 * C + (inner - 1) * (3 * w * w + w) + 2 * w * (inner - 1) + squeeze
    sums = sum(i + 2 for i in range(inner - 1)) if weighted else 0
    return (outer - 1) * (block + sums) + (outer - 1) * 2 * C + 2048 + logits * 1025


@pytest.mark.shows("nes2net:6.1")
@pytest.mark.parametrize("ratio", SIZES)
def test_other_sizes_and_the_closed_form(ratio: tuple[int, int]) -> None:
    for se_ratio, expected in zip((1, 2, 4, 8), SIZES[ratio], strict=True):
        for kind, parameters in zip(("nes2net", "nes2net_x"), expected, strict=True):
            network = back_end(kind, nes_ratio=ratio, se_ratio=se_ratio)
            assert count(network) == parameters
            assert closed_form(*ratio, se_ratio, 1, weighted=kind == "nes2net_x") == parameters


ROWS = [  # variant, dilation, SE ratio, pooling, filled keys, item 1, item 2
    ("nes2net", 1, 1, "mean", 440, [-1.093034976], [-1.106246700]),
    ("nes2net", 1, 8, "mean", 440, [-1.082136580], [-1.099162995]),
    ("nes2net", 2, 1, "mean", 440, [-1.051274384], [-1.047070870]),
    ("nes2net", 1, 1, "ASTP", 444, [-1.417506247], [-1.454380271]),
    ("nes2net", 2, 1, "ASTP", 444, [-1.363587604], [-1.383842872]),
    ("nes2net_x", 1, 1, "mean", 489, [-0.026370550], [-0.052530238]),
    ("nes2net_x", 1, 8, "mean", 489, [-0.032998522], [-0.060243777]),
    ("nes2net_x", 2, 1, "mean", 489, [-0.023792939], [-0.052702243]),
    ("nes2net_x", 1, 1, "ASTP", 493, [-0.510211863], [-0.537082490]),
    ("nes2net_x", 2, 1, "ASTP", 493, [-0.511720619], [-0.538755362]),
    ("nes2net_x_selu", 1, 1, "mean", 489, [1.299534750], [1.233550367]),
    ("nes2net_x_selu", 2, 1, "mean", 489, [1.259497385], [1.185178772]),
    ("nes2net_x_selu", 1, 1, "ASTP", 493, [0.068468333], [-0.011033011]),
    ("nes2net_x", 2, 1, "mean", 489, [-0.023792939, -0.913109064], [-0.052702243, -0.850957372]),
    ("nes2net_x", 1, 1, "mean", 489, [-0.026370550, -0.909898230], [-0.052530238, -0.850023750]),
]


@pytest.mark.shows("nes2net:6.2")
@pytest.mark.parametrize(("kind", "dilation", "se_ratio", "pool", "filled", "first", "second"), ROWS)
def test_equals_the_official_back_end(
    kind: str, dilation: int, se_ratio: int, pool: str, filled: int, first: list[float], second: list[float]
) -> None:
    network = back_end(kind, logits=len(first), pool=pool, dilation=dilation, se_ratio=se_ratio)
    assert fill(network) == filled
    expected = torch.tensor([first, second], dtype=torch.float64)
    with torch.no_grad():
        exact = network(recipe_input())
        single = network.float()(recipe_input().float())
    assert (exact - expected).abs().max() <= 1e-8
    assert (single - expected).abs().max() <= 1e-4


@pytest.mark.shows("nes2net:6.2")
def test_the_recipe_input_is_the_published_one() -> None:
    x = recipe_input()
    torch.testing.assert_close(
        x[0, 0, :3].tolist(), [0.439996337052, 0.443354039163, 0.448604264282], atol=1e-12, rtol=0
    )
    assert x[1, 1023, 49].item() == pytest.approx(-0.051815448482, abs=1e-12)
    assert x.mean().item() == pytest.approx(-0.000336560750, abs=1e-12)


@pytest.mark.shows("nes2net:6.2")
@pytest.mark.parametrize(
    ("kind", "mean", "deviation"),
    [
        ("nes2net", 0.068931663, 0.585431870),
        ("nes2net_x", 0.035626885, 0.580451906),
        ("nes2net_x_selu", -0.021212057, 0.621413932),
    ],
)
def test_the_first_inner_block_equals_the_official_one(kind: str, mean: float, deviation: float) -> None:
    network = back_end(kind)
    fill(network)
    with torch.no_grad():
        block = network.encoder.blocks[0](recipe_input()[:, :128])
    assert block.mean().item() == pytest.approx(mean, abs=1e-8)
    assert block.std(correction=0).item() == pytest.approx(deviation, abs=1e-8)


@pytest.mark.shows("nes2net:6.2")
@pytest.mark.parametrize(
    ("kind", "expected"), [("nes2net", [-0.1581612, -0.0074068]), ("nes2net_x", [-0.0749292, 0.0970648])]
)
def test_batch_statistics_equal_the_official_ones(kind: str, expected: list[float]) -> None:
    network = back_end(kind)
    fill(network)
    with torch.no_grad():
        assert network.train()(recipe_input()).flatten().tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.shows("nes2net:6.4")
def test_the_initial_weighted_sum_of_equal_columns_is_the_column() -> None:
    mixing = WeightedRes2(128, 8, 1)
    column = torch.randn(3, 16, 20)
    for i, weight in enumerate(mixing.weights):
        assert weight.tolist() == pytest.approx([1 / (i + 2)] * (i + 2))
    for step in mixing.steps:  # make every step pass its columns on unchanged
        step.convolution = step.activation = step.norm = nn.Identity()
    mixed = mixing(column.repeat(1, 8, 1))
    torch.testing.assert_close(mixed, column.repeat(1, 8, 1))


def as_published(mixing: WeightedRes2, x: Tensor, dilation: int) -> Tensor:
    """The inner network of Nes2Net-X as section 2.3 writes it: columns on a last axis, 2-D convolutions."""
    *groups, last = x.split(16, dim=1)
    stack, outputs = last.unsqueeze(-1), []
    for step, weight, group in zip(mixing.steps, mixing.weights, groups, strict=True):
        stack = torch.cat([stack, group.unsqueeze(-1)], dim=-1)
        kernel, bias = step.convolution.weight.unsqueeze(-1), step.convolution.bias
        y = torch.relu(nn.functional.conv2d(stack, kernel, bias, padding=(dilation, 0), dilation=(dilation, 1)))
        stack = nn.functional.batch_norm(y, None, None, step.norm.weight, step.norm.bias, training=True)
        outputs.append((stack * weight).sum(-1))
    return torch.cat([*outputs, last], dim=1)


@pytest.mark.parametrize("dilation", [1, 2])
def test_columns_along_the_batch_give_the_published_values_and_gradients(dilation: int) -> None:
    torch.manual_seed(0)
    mixing = WeightedRes2(128, 8, dilation).double().train()
    x, goal = torch.randn(2, 3, 128, 20, dtype=torch.float64)
    ours, published = mixing(x), as_published(mixing, x, dilation)
    torch.testing.assert_close(ours, published)
    parameters = list(mixing.parameters())
    gradients = [torch.autograd.grad((out * goal).sum(), parameters) for out in (ours, published)]
    torch.testing.assert_close(*gradients)


def macs(network: BackEnd, frames: int) -> int:
    """Of one item of `frames` frames."""
    return count_macs(network, torch.zeros(1, 1024, frames))


@pytest.mark.shows("nes2net:6.5")
@pytest.mark.parametrize(
    ("kind", "logits", "pool", "expected"),
    [
        ("nes2net", 1, "mean", 53_632_000),
        ("nes2net_x", 1, "mean", 83_737_600),
        ("nes2net_x_selu", 1, "mean", 83_737_600),
        ("nes2net_x", 2, "mean", 83_738_624),
        ("nes2net", 1, "ASTP", 106_061_824),
        ("nes2net_x", 1, "ASTP", 136_167_424),
        ("nes2net_x", 2, "ASTP", 136_169_472),
    ],
)
def test_cost_of_200_frames(kind: str, logits: int, pool: str, expected: int) -> None:
    assert macs(back_end(kind, logits=logits, pool=pool), 200) == expected


@pytest.mark.shows("nes2net:6.5")
@pytest.mark.parametrize("kind", VARIANTS)
def test_cost_is_linear_in_time(kind: str) -> None:
    costs = [macs(back_end(kind), frames) for frames in (100, 200, 300, 600)]
    assert costs[1] - costs[0] == costs[2] - costs[1] == (costs[3] - costs[2]) / 3 > 0


@pytest.mark.shows("nes2net:6.6")
@pytest.mark.parametrize("kind", VARIANTS)
def test_the_last_group_passes_untouched(kind: str) -> None:
    encoder = back_end(kind).encoder
    x = torch.randn(2, 1024, 12)
    changed = x.clone()
    changed[:, 896:] += torch.randn(2, 128, 12)
    with torch.no_grad():
        before, after = encoder.nested(x), encoder.nested(changed)
    assert torch.equal(after[:, :896], before[:, :896])
    assert torch.equal(after[:, 896:], changed[:, 896:])


@pytest.mark.shows("nes2net:6.7")
@pytest.mark.parametrize("kind", VARIANTS)
def test_a_batch_equals_its_items_and_tiling_changes_the_score(kind: str) -> None:
    network = back_end(kind)
    fill(network)
    x = recipe_input(items=5, frames=37)
    with torch.no_grad():
        batch = network(x)
        singles = torch.cat([network(item) for item in x.split(1)])
        tiled = network(torch.cat([x, x], dim=2)[:, :, :50])
    torch.testing.assert_close(batch, singles, atol=1e-10, rtol=0)
    assert (tiled - batch).abs().min() > 1e-4  # so a score without its window policy says too little


def equal_error_rate(bonafide: Tensor, spoof: Tensor) -> float:
    """Smallest possible max of both error rates over all thresholds."""
    thresholds = torch.cat([bonafide, spoof, torch.tensor([math.inf])])
    misses = (bonafide < thresholds[:, None]).double().mean(1)
    alarms = (spoof >= thresholds[:, None]).double().mean(1)
    return torch.maximum(misses, alarms).min().item()


def planted(items: int, channels: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Noise [items, 1024, 50]; the first half ("spoof", class 0) gets +2 on `channels` in 10 frames of its own."""
    x = rng.standard_normal((items, 1024, 50), dtype=np.float32)
    for item in x[: items // 2]:
        item[np.ix_(channels, rng.choice(50, 10, replace=False))] += 2.0
    return torch.from_numpy(x), (torch.arange(items) >= items // 2).long()


@pytest.mark.shows("nes2net:6.8")
@pytest.mark.parametrize("kind", ["nes2net", "nes2net_x"])
def test_learns_a_planted_artefact_in_60_steps(kind: str) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    channels = rng.choice(1024, 16, replace=False)
    network = back_end(kind, logits=2).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    started = time.process_time()
    for _ in range(60):
        x, labels = planted(16, channels, rng)
        loss = nn.functional.cross_entropy(network(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x, labels = planted(192, channels, rng)
    with torch.no_grad():
        scores = torch.cat([network.eval()(part)[:, 1] for part in x.split(32)])
    assert equal_error_rate(scores[labels == 1], scores[labels == 0]) < 0.05
    assert time.process_time() - started < 120  # seconds; about 6 on one idle core


@pytest.mark.parametrize(
    ("options", "dim"),
    [({}, 1000), ({"nes_ratio": (1, 8)}, 1024), ({"nes_ratio": (8, 7)}, 1024), ({"se_ratio": 500}, 1024)],
)
@pytest.mark.parametrize("kind", ["nes2net", "nes2net_x"])
def test_sizes_that_do_not_fit_are_refused(kind: str, options: dict[str, object], dim: int) -> None:
    with pytest.raises(RecipeError):
        Nes2NetConfig.model_validate({"kind": kind, **options}).build(dim)


@pytest.mark.parametrize("kind", VARIANTS)
def test_other_feature_widths(kind: str) -> None:
    encoder = Nes2NetConfig(kind=kind).build(384)  # type: ignore[arg-type]
    assert encoder(Frames(torch.randn(2, 9, 384))).values.shape == (2, 9, 384)


def test_selu_keeps_two_hidden_units_where_the_others_have_none() -> None:
    hidden = Nes2NetConfig(kind="nes2net_x_selu", se_ratio=500).build(1024).blocks[0].excitation.squeeze
    assert hidden.out_channels == 2
