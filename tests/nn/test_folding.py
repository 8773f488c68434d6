"""A folded network gives what the network gives, and leaves it as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from earwitness.nn.encoders import CamPlusConfig, ResNetConfig
from earwitness.nn.encoders.base import Encoder
from earwitness.nn.layers.folding import folded
from earwitness.nn.types import Frames

SIZES = {"head": 4, "channels": 8, "growth": 4, "bottleneck": 8, "layers": (2, 2), "dilations": (1, 2)}


def trained(encoder: Encoder) -> Encoder:
    """With batch-norms that have seen something."""
    torch.manual_seed(0)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return encoder.eval()


@pytest.mark.parametrize(
    "config", [CamPlusConfig.model_validate(SIZES), ResNetConfig(widths=(4, 8), blocks=(1, 1), strides=(1, 2))]
)
def test_the_same_but_for_rounding(config: CamPlusConfig | ResNetConfig) -> None:
    encoder = trained(config.build(20))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    frames = Frames(torch.randn(3, 57, 20))
    with torch.no_grad():
        expected, found = encoder(frames).values, folded(encoder)(frames).values
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_no_batch_norm_is_left_behind_a_convolution() -> None:
    encoder = trained(ResNetConfig(widths=(4,), blocks=(1,), strides=(1,)).build(20))
    assert any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded(encoder.train()).modules())
    assert encoder.training


def test_a_batch_norm_before_its_convolution_stays() -> None:
    layers = nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(), nn.Conv1d(4, 4, 1))
    assert isinstance(folded(layers)[0], nn.BatchNorm1d)
