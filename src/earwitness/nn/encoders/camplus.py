"""CAM++, arXiv 2303.00332: a densely connected TDNN whose every layer is weighted by what it knows of its context.

With `fbank` of 80 filters (Povey's window), pooling `statistics` with the deviation of the sample, and an embedding of
192 values with batch-norm behind (`nn.network.EmbeddingConfig`), it is the published embedder of 3D-Speaker.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.nn.encoders.base import Encoder, EncoderConfigBase, as_frames, channels_first
from earwitness.nn.encoders.resnet import BasicBlock
from earwitness.nn.types import Frames


class CamPlusConfig(EncoderConfigBase):
    """Sizes; the defaults are the published ones.

    `head` channels of the 2-D convolutions, `channels` after the first TDNN, `growth` more with every dense layer,
    whose own width is `bottleneck`; `layers` and `dilations` of each dense block; `segment` frames (of two hops each)
    share a context.
    """

    kind: Literal["camplus"] = "camplus"
    head: int = Field(default=32, ge=1)
    channels: int = Field(default=128, ge=1)
    growth: int = Field(default=32, ge=1)
    bottleneck: int = Field(default=128, ge=2)
    layers: tuple[int, ...] = Field(default=(12, 24, 16), min_length=1)
    dilations: tuple[int, ...] = (1, 2, 2)
    segment: int = Field(default=100, ge=1)

    @model_validator(mode="after")
    def _one_entry_a_block(self) -> CamPlusConfig:
        if len(self.layers) != len(self.dilations):
            raise ValueError("layers and dilations need one entry a block")
        if min(*self.layers, *self.dilations) < 1:
            raise ValueError("layers and dilations are at least 1")
        return self

    def build(self, input_dim: int) -> CamPlus:
        """A network for frames of `input_dim` frequency values."""
        return CamPlus(self, input_dim)


class CamPlus(Encoder):
    """Frames [B, T, F] -> [B, ceil(T / 2), dim]: 2-D convolutions over frequency, a TDNN, dense blocks, each of which
    ends in half its channels."""

    def __init__(self, config: CamPlusConfig, input_dim: int) -> None:
        super().__init__()
        self.head = FrequencyHead(config.head)
        self.enter = nn.Sequential(
            nn.Conv1d(self.head.width(input_dim), config.channels, 5, 2, padding=2, bias=False),
            *_activated(config.channels),
        )
        blocks, channels = [], config.channels
        for layers, dilation in zip(config.layers, config.dilations, strict=True):
            blocks.append(DenseBlock(channels, layers, dilation, config))
            channels = blocks[-1].dim
        self.blocks = nn.Sequential(*blocks)
        self.leave = nn.Sequential(*_activated(channels))
        self.dim = channels

    def forward(self, frames: Frames) -> Frames:
        """[B, T, F] -> [B, ceil(T / 2), dim]."""
        x = self.enter(self.head(channels_first(frames)))
        mask = None if frames.mask is None else frames.mask[:, ::2]
        return as_frames(self.leave(self.blocks(x)), mask)


class FrequencyHead(nn.Module):
    """[B, F, T] -> [B, width(F), T]: residual 3x3 convolutions, which shorten the frequency axis eightfold."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels
        shorter = (2, 1)  # of frequency and time
        self.enter = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.blocks = nn.Sequential(*(BasicBlock(channels, channels, stride) for stride in (shorter, 1, shorter, 1)))
        self.leave = nn.Sequential(
            nn.Conv2d(channels, channels, 3, shorter, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def width(self, input_dim: int) -> int:
        """Channels that leave for `input_dim` frequencies."""
        for _ in range(3):
            input_dim = -(-input_dim // 2)
        return self._channels * input_dim

    def forward(self, x: Tensor) -> Tensor:
        """[B, F, T] -> [B, width(F), T], channel-major."""
        x = torch.relu(self.enter(x.unsqueeze(1)))
        return torch.relu(self.leave(self.blocks(x))).flatten(1, 2)


class DenseBlock(nn.Module):
    """[B, input_dim, T] -> [B, dim, T]: every layer hears the input and all layers before it; then half as many
    channels.

    Within, utterances lie one behind the other, [1, C, B T]: a convolution of one frame is one matrix product then, and
    batch-norm a sweep over memory in order. It is most of the work.
    """

    def __init__(self, input_dim: int, layers: int, dilation: int, config: CamPlusConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DenseLayer(input_dim + place * config.growth, dilation, config) for place in range(layers)
        )
        joined = input_dim + layers * config.growth
        self.dim = joined // 2
        self.leave = nn.Sequential(*_activated(joined), nn.Conv1d(joined, self.dim, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """[B, input_dim, T] -> [B, dim, T]."""
        batch = x.shape[0]
        row = in_a_row(x)
        for layer in self.layers:
            row = torch.cat([row, in_a_row(layer(one_by_one(row, batch)))], dim=1)
        return one_by_one(self.leave(row), batch)


class DenseLayer(nn.Module):
    """[B, input_dim, T] -> [B, growth, T]: a bottleneck, then a dilated convolution under the context-aware mask."""

    def __init__(self, input_dim: int, dilation: int, config: CamPlusConfig) -> None:
        super().__init__()
        width = config.bottleneck
        self.bottleneck = nn.Sequential(
            *_activated(input_dim), nn.Conv1d(input_dim, width, 1, bias=False), *_activated(width)
        )
        self.local = nn.Conv1d(width, config.growth, 3, padding=dilation, dilation=dilation, bias=False)
        self.context = nn.Sequential(
            nn.Conv1d(width, width // 2, 1), nn.ReLU(), nn.Conv1d(width // 2, config.growth, 1), nn.Sigmoid()
        )
        self._segment = config.segment

    def forward(self, x: Tensor) -> Tensor:
        """[B, input_dim, T] -> [B, growth, T]."""
        x = one_by_one(self.bottleneck(in_a_row(x)), x.shape[0])
        # the mask is the same all over a segment, so it's computed once a segment
        mask = self.context(x.mean(-1, keepdim=True) + segment_means(x, self._segment))
        return self.local(x) * spread(mask, self._segment, x.shape[-1])  # type: ignore[no-any-return]


def in_a_row(x: Tensor) -> Tensor:
    """[B, C, T] -> [1, C, B T] (a view of what `one_by_one` gave)."""
    return x.transpose(0, 1).flatten(1).unsqueeze(0)


def one_by_one(x: Tensor, batch: int) -> Tensor:
    """[1, C, B T] -> [B, C, T] (a view)."""
    return x.reshape(x.shape[1], batch, -1).transpose(0, 1)


def segment_means(x: Tensor, segment: int) -> Tensor:
    """[B, C, T] -> [B, C, ceil(T / segment)]: the mean of each segment of frames; the last one may be shorter."""
    return F.avg_pool1d(x, segment, segment, ceil_mode=True)


def spread(values: Tensor, segment: int, frames: int) -> Tensor:
    """[B, C, S], a value a segment -> [B, C, frames], the same for every frame of it."""
    return values.repeat_interleave(segment, dim=-1)[..., :frames]


def _activated(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm1d(channels), nn.ReLU(inplace=True)
