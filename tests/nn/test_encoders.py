"""ECAPA-TDNN, ResNet and LSTM against published sizes and hand-written definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.core.errors import AudioError, RecipeError
from earwitness.nn.encoders import EcapaConfig, IdentityConfig, LstmConfig, ResNetConfig
from earwitness.nn.layers.res2 import Res2
from earwitness.nn.network import EmbeddingConfig
from earwitness.nn.pooling import AttentiveStatisticsConfig, LastConfig, StatisticsConfig
from earwitness.nn.pooling.base import PoolingConfigBase
from earwitness.nn.types import Frames


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def ecapa(encoder: EcapaConfig, pooling: PoolingConfigBase) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Encoder, pooling and embedding layer for 80 mels and 192 values."""
    frames = encoder.build(80)
    pooled = pooling.build(frames.dim)
    return frames, pooled, EmbeddingConfig(dim=192).build(pooled.dim)


WS, SB = AttentiveStatisticsConfig(form="ws"), AttentiveStatisticsConfig(form="sb")


@pytest.mark.shows("speaker-metrics:9.1")
@pytest.mark.parametrize(
    ("encoder", "pooling", "parameters"),
    [
        (EcapaConfig(), WS, 6_190_720),
        (EcapaConfig(channels=1024), WS, 14_657_088),
        (EcapaConfig(), AttentiveStatisticsConfig(global_context=False), 5_797_504),
        (EcapaConfig(), StatisticsConfig(), 5_402_624),
        (EcapaConfig(form="sb"), SB, 6_194_048),
        (EcapaConfig(form="sb", channels=1024, outputs=3072), SB, 20_767_552),
    ],
)
def test_ecapa_sizes(encoder: EcapaConfig, pooling: PoolingConfigBase, parameters: int) -> None:
    assert count(*ecapa(encoder, pooling)) == parameters


@pytest.mark.shows("speaker-metrics:9.1")
def test_ecapa_parts() -> None:
    frames, pooling, embedding = ecapa(EcapaConfig(), WS)
    parts = [count(frames.enter), *[count(block) for block in frames.blocks], count(frames.aggregation)]
    assert parts == [206_336, 746_432, 746_432, 746_432, 2_360_832]
    assert (count(pooling), count(embedding.norm), count(embedding.linear)) == (788_096, 6_144, 590_016)
    frames, pooling, embedding = ecapa(EcapaConfig(form="sb", channels=1024, outputs=3072), SB)
    parts = [count(frames.enter), count(frames.blocks[0]), count(frames.aggregation), count(pooling)]
    assert parts == [412_672, 2_713_344, 9_446_400, 1_576_320]
    assert (count(embedding.norm), count(embedding.linear)) == (12_288, 1_179_840)


def ecapa_formula(C: int, outputs: int = 1536) -> int:
    """Section 6 of the sheet with C channels, form ws, 80 mels, 192 values."""

    def tdnn(i: int, o: int, k: int) -> int:
        return i * o * k + o + 2 * o

    block = 2 * tdnn(C, C, 1) + 7 * tdnn(C // 8, C // 8, 3) + (C * 128 + 128) + (128 * C + C)
    pooling = 3 * outputs * 128 + 128 + 128 * outputs + outputs
    return tdnn(80, C, 5) + 3 * block + 3 * C * outputs + outputs + pooling + 4 * outputs + 2 * outputs * 192 + 192


def test_small_ecapa_follows_the_same_formula() -> None:
    assert ecapa_formula(512) == 6_190_720
    assert count(*ecapa(EcapaConfig(channels=64), WS)) == ecapa_formula(64)


def test_ecapa_blocks_dilate_by_2_3_4() -> None:
    blocks = EcapaConfig(channels=64).build(20).blocks
    assert [block.mixing.steps[0].convolution.dilation for block in blocks] == [(2,), (3,), (4,)]


def reference_res2(mixing: Res2, x: Tensor, *, first: bool, mode: str) -> Tensor:
    """Res2 written out: the convolved groups in order, each with the previous output added."""
    groups = list(x.split(x.shape[1] // 8, dim=1))
    idle = groups[0] if first else groups[-1]
    outputs: list[Tensor] = []
    for step, group in zip(mixing.steps, groups[1:] if first else groups[:-1], strict=True):
        y = F.pad(group + outputs[-1] if outputs else group, (2, 2), mode=mode)
        outputs.append(step.norm(F.relu(F.conv1d(y, step.convolution.weight, step.convolution.bias, dilation=2))))
    return torch.cat([idle, *outputs] if first else [*outputs, idle], dim=1)


@pytest.mark.parametrize(("form", "mode"), [("ws", "constant"), ("sb", "reflect")])
def test_the_two_forms_of_res2_differ_as_documented(form: str, mode: str) -> None:
    encoder = EcapaConfig(form=form, channels=64, outputs=32).build(20).eval()  # type: ignore[arg-type]
    mixing = encoder.blocks[0].mixing
    x = torch.randn(2, 64, 11)
    with torch.no_grad():
        torch.testing.assert_close(mixing(x), reference_res2(mixing, x, first=form == "sb", mode=mode))


def test_ecapa_refuses_what_it_cannot_do() -> None:
    with pytest.raises(RecipeError, match="8 equal groups"):
        EcapaConfig(channels=60).build(80)
    with pytest.raises(AudioError, match="too short"):
        EcapaConfig(form="sb", channels=16).build(8).eval()(Frames(torch.randn(1, 3, 8)))


@pytest.mark.shows("speaker-metrics:9.1")
def test_resnet34_size() -> None:
    encoder = ResNetConfig(widths=(32, 64, 128, 256), blocks=(3, 4, 6, 3)).build(80)
    pooling = StatisticsConfig().build(encoder.dim)
    embedding = EmbeddingConfig(dim=256, batch_norm=False).build(pooling.dim)
    assert count(encoder, pooling, embedding) == 6_634_336


@pytest.mark.parametrize(("bands", "frames"), [(60, 33), (80, 8), (13, 1)])
def test_resnet_strides_in_time_and_frequency(bands: int, frames: int) -> None:
    encoder = ResNetConfig().build(bands).eval()
    assert 250_000 < count(encoder) < 350_000
    mask = torch.ones(2, frames, dtype=torch.bool)
    with torch.no_grad():
        out = encoder(Frames(torch.randn(2, frames, bands), mask))
    shorter = -(-frames // 8)
    assert out.values.shape == (2, shorter, encoder.dim) == (2, shorter, 64 * -(-bands // 8))
    assert out.mask is not None
    assert out.mask.shape == (2, shorter)


def test_resnet_stages_are_one_entry_each() -> None:
    with pytest.raises(ValueError, match="one entry a stage"):
        ResNetConfig(widths=(8, 16), blocks=(1,), strides=(1, 2))


def test_the_d_vector_network_can_be_hosted() -> None:
    encoder = LstmConfig().build(40)
    embedding = EmbeddingConfig(dim=256, batch_norm=False, activation="relu", unit_length=True).build(256)
    assert count(encoder, embedding) == 1_423_616  # LSTM 40 -> 256, twice 256 -> 256, linear 256 -> 256
    x = torch.randn(3, 17, 40)
    with torch.no_grad():
        ours = embedding(LastConfig().build(256)(encoder(Frames(x))).mean)
        _, (hidden, _) = encoder.lstm(x)
        by_hand = torch.relu(F.linear(hidden[-1], embedding.linear.weight, embedding.linear.bias))
        by_hand = by_hand / by_hand.norm(dim=1, keepdim=True)
    torch.testing.assert_close(ours, by_hand)


def test_a_lead_is_zeros_heard_first_and_not_given_back() -> None:
    plain, led = LstmConfig(hidden=4, layers=2).build(3), LstmConfig(hidden=4, layers=2, lead=5).build(3)
    led.load_state_dict(plain.state_dict())
    x = torch.randn(2, 7, 3)
    with torch.no_grad():
        torch.testing.assert_close(led(Frames(x)).values, plain(Frames(F.pad(x, (0, 0, 5, 0)))).values[:, 5:])


def test_identity_returns_its_frames() -> None:
    frames = Frames(torch.randn(1, 2, 3))
    assert IdentityConfig().build(3)(frames) is frames
