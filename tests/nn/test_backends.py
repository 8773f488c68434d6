"""The comparison back-ends: published sizes, and their layers against sums written out pair by pair."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from earwitness.core.errors import AudioError, DataError, RecipeError
from earwitness.nn.frontends.sinc import SincConfig
from earwitness.nn.layers.conformer import sinusoids
from earwitness.nn.layers.graph_attention import GraphAttention, GraphPool, HeterogeneousAttention
from earwitness.nn.layers.head_tokens import HeadTokenAttention, HeadTokenConformerBlock
from earwitness.nn.layers.spectro_temporal import ResidualBlock
from earwitness.nn.macs import count_macs
from earwitness.nn.pooling import AasistConfig, AasistRawConfig, ConformerTcmConfig, LcnnConfig, OcResNet18Config
from earwitness.nn.pooling.base import Pooling, PoolingConfigBase
from earwitness.nn.types import Frames

SMALL_AASIST = AasistConfig(projection=12, widths=(4, 6), dims=(6, 4))


def count(*modules: nn.Module, learning: bool = False) -> int:
    return sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad or not learning)


@pytest.mark.shows("dpda:6.8")
def test_published_parameter_counts() -> None:
    aasist, conformer = AasistConfig().build(1024), ConformerTcmConfig().build(1024)
    assert (aasist.dim, conformer.dim) == (160, 144)
    assert count(aasist, nn.Linear(160, 2)) == 447_242
    assert count(conformer, nn.Linear(144, 2)) == 3_822_628
    assert count(conformer, nn.Linear(144, 2), learning=True) == 2_382_628
    assert conformer.position.numel() == 1_440_000
    assert count(conformer.blocks[0]) == 558_648
    assert count(conformer.projection) == 147_600


def test_macs_are_those_of_each_layer() -> None:
    layers = nn.Sequential(nn.Conv1d(3, 4, 5, padding=2), nn.ReLU(), nn.BatchNorm1d(4), nn.Conv1d(4, 4, 3, groups=2))
    assert count_macs(layers, torch.zeros(2, 3, 10)) == 2 * (10 * 4 * 3 * 5 + 8 * 4 * 2 * 3)
    assert count_macs(nn.Conv2d(1, 2, (2, 3)), torch.zeros(1, 1, 3, 5)) == 2 * 2 * 3 * 6
    assert count_macs(nn.Linear(3, 2), torch.zeros(5, 3)) == 30


def test_aasist_costs_several_times_what_nes2net_does() -> None:
    frames = Frames(torch.zeros(1, 200, 1024))
    aasist = count_macs(AasistConfig().build(1024).eval(), frames)
    assert aasist > 5 * 83_737_600  # Nes2Net-X by the same counter


@pytest.mark.parametrize("dim", [144, 1024])
def test_the_position_table_does_not_learn(dim: int) -> None:
    pooling = ConformerTcmConfig(blocks=1, positions=20).build(dim).train()
    pooling(Frames(torch.randn(2, 9, dim))).mean.sum().backward()
    assert pooling.position.grad is None
    assert pooling.class_token.grad is not None


def test_sizes_from_the_raw_waveform() -> None:
    bands = SincConfig().build().dim
    large = AasistRawConfig().build(bands)
    small = AasistRawConfig(widths=(32, 32, 24, 24, 24, 24), dims=(24, 32), ratios=(0.4, 0.5, 0.7)).build(bands)
    assert count(large, nn.Linear(160, 2)) == 297_866
    assert count(small, nn.Linear(160, 2)) == 85_306


def test_oc_resnet18_on_60_coefficients() -> None:
    pooling = OcResNet18Config().build(60)
    assert pooling.dim == 256
    assert pooling.collapse[0].kernel_size == (3, 3)
    assert pooling(Frames(torch.randn(1, 75, 60))).mean.shape == (1, 256)
    with pytest.raises(RecipeError):
        OcResNet18Config().build(6)


def test_lcnn_on_60_coefficients() -> None:
    pooling = LcnnConfig().build(60).eval()
    assert pooling.dim == 96
    x = torch.randn(1, 33, 60)
    before = pooling(Frames(x)).mean
    x[:, -1] += 5  # the 33rd frame is heard too, although 33 is no multiple of 16
    assert before.shape == (1, 96)
    assert not torch.equal(pooling(Frames(x)).mean, before)
    one, other = pooling.layers[0].convolution(x[:, None]).chunk(2, dim=1)
    torch.testing.assert_close(pooling.layers[0](x[:, None]), torch.where(one > other, one, other))
    with pytest.raises(RecipeError):
        LcnnConfig().build(15)


# graph attention, pair by pair


def pair_share(scores: list[float], temperature: float) -> list[float]:
    powers = [math.exp(score / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


def test_graph_attention_pair_by_pair() -> None:
    torch.manual_seed(0)
    layer = GraphAttention(5, 3, temperature=2.0).eval()
    layer.norm.running_mean.normal_()
    layer.norm.running_var.uniform_(0.5, 2)
    nodes = torch.randn(1, 4, 5)
    with torch.no_grad():
        for i in range(4):
            scores = [
                float(torch.tanh(layer.relation(nodes[0, i] * nodes[0, j])) @ layer.score[:, 0]) for j in range(4)
            ]
            shares = pair_share(scores, 2.0)
            taken = sum(share * node for share, node in zip(shares, nodes[0], strict=True))
            joined = layer.attended(taken) + layer.own(nodes[0, i])
            expected = torch.selu(layer.norm(joined[None]))[0]
            torch.testing.assert_close(layer(nodes)[0, i], expected)


def test_heterogeneous_attention_pair_by_pair() -> None:
    torch.manual_seed(0)
    layer = HeterogeneousAttention(5, 3, temperature=0.5).eval()
    temporal, spectral, master = torch.randn(1, 3, 5), torch.randn(1, 2, 5), torch.randn(1, 1, 5)
    with torch.no_grad():
        nodes = torch.cat([layer.enter_temporal(temporal), layer.enter_spectral(spectral)], dim=1)[0]
        rows = []
        for i in range(5):
            scores = []
            for j in range(5):
                both = (i < 3) + (j < 3)
                weight = {2: layer.score_temporal, 0: layer.score_spectral, 1: layer.score_across}[both]
                scores.append(float(torch.tanh(layer.relation(nodes[i] * nodes[j])) @ weight[:, 0]))
            taken = sum(share * node for share, node in zip(pair_share(scores, 0.5), nodes, strict=True))
            rows.append(layer.attended(taken) + layer.own(nodes[i]))
        expected = torch.selu(layer.norm(torch.stack(rows)))
        to_master = [
            float(torch.tanh(layer.relation_master(node * master[0, 0])) @ layer.score_master[:, 0]) for node in nodes
        ]
        gathered = sum(share * node for share, node in zip(pair_share(to_master, 0.5), nodes, strict=True))
        expected_master = layer.attended_master(gathered) + layer.own_master(master[0, 0])
        found = layer(temporal, spectral, master)
    torch.testing.assert_close(torch.cat(found[:2], dim=1)[0], expected)
    torch.testing.assert_close(found[2][0, 0], expected_master)


def test_graph_pool_keeps_the_highest_gates() -> None:
    pool = GraphPool(1, 0.5).eval()
    with torch.no_grad():
        pool.gate.weight.fill_(1)
        pool.gate.bias.zero_()
        kept = pool(torch.tensor([[[0.5], [-1.0], [2.0], [1.0], [-3.0]]]))
    assert kept[0, :, 0].tolist() == pytest.approx([2 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1))])
    assert GraphPool(1, 0.1)(torch.randn(2, 3, 1)).shape == (2, 1, 1)


def test_without_pre_activation_the_first_norm_has_no_say() -> None:
    x = torch.randn(2, 3, 5, 7)
    for pre_activation in (True, False):
        block = ResidualBlock(3, 3, first=False, pre_activation=pre_activation).eval()
        with torch.no_grad():
            before = block(x)
            block.norm1.weight.mul_(2)
            assert bool((block(x) == before).all()) is not pre_activation
    assert block(x).shape == x.shape


# head tokens


def test_head_tokens_by_hand() -> None:
    torch.manual_seed(0)
    layer = HeadTokenAttention(8, 2)
    nn.init.normal_(layer.token_position)
    x = torch.randn(1, 4, 8)
    with torch.no_grad():
        means = x[0].mean(0).view(2, 4)
        made = layer.token(means).view(2, 2, 4)
        tokens = nn.functional.gelu(layer.token_norm(made)).reshape(2, 8) + layer.token_position[0]
        joined = torch.cat([x[0], tokens])
        q, k, v = layer.query_key_value(joined).split(8, dim=1)
        heads = []
        for head in (slice(0, 4), slice(4, 8)):
            shares = torch.softmax(q[:, head] @ k[:, head].T / 2, dim=1)
            heads.append(shares @ v[:, head])
        out = layer.output(torch.cat(heads, dim=1))
        expected = out[:4].clone()
        expected[0] += out[4:].mean(0) + out[1:4].mean(0)
        torch.testing.assert_close(layer(x)[0], expected)


def test_conformer_block_is_a_sum_of_halves() -> None:
    torch.manual_seed(0)
    block = HeadTokenConformerBlock(8, 2, 3).eval()
    for branch in (block.attention, block.convolution):
        branch[1].forward = torch.zeros_like  # type: ignore[method-assign]
    x = torch.randn(1, 4, 8)
    with torch.no_grad():
        half = x + block.before(x) / 2
        torch.testing.assert_close(block(x), block.norm(half + block.behind(half) / 2))


def test_positions() -> None:
    table = sinusoids(3, 4)[0]
    assert table[2].tolist() == pytest.approx([math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)])


# what they refuse, and padding


def refusals() -> list[tuple[PoolingConfigBase, int, str]]:
    return [
        (SMALL_AASIST, 2, "too short"),
        (AasistRawConfig(widths=(4, 6), dims=(6, 4)), 8, "too short"),
        (ConformerTcmConfig(dim=16, blocks=1, positions=10), 11, "too long"),
    ]


@pytest.mark.parametrize(("config", "frames", "message"), refusals())
def test_lengths_that_do_not_fit_are_refused(config: PoolingConfigBase, frames: int, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        config.build(16).eval()(Frames(torch.randn(1, frames, 16)))


def alone(pooling: Pooling, x: Tensor, length: int) -> Tensor:
    return pooling(Frames(x[None, :length])).mean


@pytest.mark.parametrize(
    "config",
    [
        SMALL_AASIST,
        AasistRawConfig(widths=(4, 6), dims=(6, 4)),
        ConformerTcmConfig(dim=16, blocks=1, kernel=7),
        OcResNet18Config(stem=4, widths=(4, 4, 4, 4), collapsed=4, dim=5),
        LcnnConfig(widths=(4, 4, 4, 4)),
    ],
    ids=lambda config: config.kind,
)
def test_padding_is_left_out_and_gaps_are_refused(config: PoolingConfigBase) -> None:
    torch.manual_seed(0)
    pooling = config.build(16).eval()
    x = torch.randn(3, 30, 16)
    mask = torch.arange(30) < torch.tensor([30, 12, 21])[:, None]
    with torch.no_grad():
        found = pooling(Frames(x, mask)).mean
        expected = torch.cat([alone(pooling, item, int(part.sum())) for item, part in zip(x, mask, strict=True)])
    torch.testing.assert_close(found, expected)
    mask[1, 3] = False
    with pytest.raises(DataError, match="gaps"):
        pooling(Frames(x, mask))
    with pytest.raises(AudioError, match="not one frame"):
        pooling(Frames(x, torch.zeros_like(mask)))
