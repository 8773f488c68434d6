"""Encoders: frames to frames. A new one is a file here and a member of `EncoderConfig`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from earwitness.nn.encoders.base import Encoder
from earwitness.nn.encoders.camplus import CamPlusConfig
from earwitness.nn.encoders.conv2d import Conv2dConfig
from earwitness.nn.encoders.conv_transformer import ConvTransformerConfig
from earwitness.nn.encoders.ecapa import EcapaConfig
from earwitness.nn.encoders.identity import IdentityConfig
from earwitness.nn.encoders.latent_entropy import LatentEntropyConfig
from earwitness.nn.encoders.lstm import LstmConfig
from earwitness.nn.encoders.nes2net import Nes2NetConfig
from earwitness.nn.encoders.perceptron import PerceptronConfig
from earwitness.nn.encoders.resnet import ResNetConfig

EncoderConfig = Annotated[
    Nes2NetConfig
    | EcapaConfig
    | CamPlusConfig
    | ResNetConfig
    | Conv2dConfig
    | ConvTransformerConfig
    | LstmConfig
    | LatentEntropyConfig
    | PerceptronConfig
    | IdentityConfig,
    Field(discriminator="kind"),
]

__all__ = [
    "CamPlusConfig",
    "Conv2dConfig",
    "ConvTransformerConfig",
    "EcapaConfig",
    "Encoder",
    "EncoderConfig",
    "IdentityConfig",
    "LatentEntropyConfig",
    "LstmConfig",
    "Nes2NetConfig",
    "PerceptronConfig",
    "ResNetConfig",
]
