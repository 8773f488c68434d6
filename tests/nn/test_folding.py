"""A folded network gives what the network gives."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from earwitness.nn.encoders import CamPlusConfig, ResNetConfig
from earwitness.nn.encoders.base import Encoder
from earwitness.nn.layers.folding import fold_batch_norms
from earwitness.nn.types import Frames

CAMPLUS = CamPlusConfig(head=4, channels=8, growth=4, bottleneck=8, layers=(2, 2), dilations=(1, 2))
RESNET = ResNetConfig(widths=(4, 8), blocks=(1, 1), strides=(1, 2))


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


@pytest.mark.parametrize("config", [CAMPLUS, RESNET], ids=["camplus", "resnet"])
def test_the_same_but_for_rounding(config: CamPlusConfig | ResNetConfig) -> None:
    encoder = trained(config.build(20))
    frames = Frames(torch.randn(3, 57, 20))
    with torch.no_grad():
        expected, found = encoder(frames).values, fold_batch_norms(copy.deepcopy(encoder))(frames).values
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_no_batch_norm_is_left_behind_a_convolution_and_nothing_to_train() -> None:
    encoder = RESNET.build(20).train()
    assert any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    fold_batch_norms(encoder)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_batch_norm_before_its_convolution_stays() -> None:
    layers = fold_batch_norms(nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(), nn.Conv1d(4, 4, 1)))
    assert isinstance(layers[0], nn.BatchNorm1d)
