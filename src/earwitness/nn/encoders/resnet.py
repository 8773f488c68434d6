"""A 2-D residual network over time and frequency (basic blocks of arXiv 1512.03385, laid out as in WeSpeaker, arXiv
2210.17016).

The default is a compact one of ours; widths (32, 64, 128, 256) with blocks (3, 4, 6, 3) is the published ResNet34.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.nn.encoders.base import Encoder, EncoderConfigBase, channels_first
from earwitness.nn.types import Frames


class ResNetConfig(EncoderConfigBase):
    """Width, number of blocks and stride (time and frequency alike) of every stage."""

    kind: Literal["resnet"] = "resnet"
    widths: tuple[int, ...] = Field(default=(16, 32, 64, 64), min_length=1)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    strides: tuple[int, ...] = (1, 2, 2, 2)

    @model_validator(mode="after")
    def _one_entry_a_stage(self) -> ResNetConfig:
        if not len(self.widths) == len(self.blocks) == len(self.strides):
            raise ValueError("widths, blocks and strides need one entry a stage")
        if min(*self.widths, *self.blocks, *self.strides) < 1:
            raise ValueError("widths, blocks and strides are at least 1")
        return self

    def build(self, input_dim: int) -> ResNet:
        """A network for frames of `input_dim` frequency values."""
        return ResNet(self, input_dim)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch-norm, plus the input (through a 1x1 convolution where the shape changes).

    `stride` is of both axes, or of frequency and of time.
    """

    def __init__(self, input_dim: int, width: int, stride: int | tuple[int, int]) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(input_dim, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and input_dim == width
            else nn.Sequential(nn.Conv2d(input_dim, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, F, T] -> [B, width, F', T']."""
        return (self.path(x) + self.shortcut(x)).relu_()  # type: ignore[no-any-return]


class ResNet(Encoder):
    """Frames [B, T, F] -> [B, T', widths[-1] * F'], channel-major; each stride s divides T and F by s, rounded up."""

    def __init__(self, config: ResNetConfig, input_dim: int) -> None:
        super().__init__()
        self._strides = config.strides
        first = config.widths[0]
        self.stem = nn.Sequential(nn.Conv2d(1, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU())
        stages: list[nn.Module] = []
        channels, height = first, input_dim
        for width, blocks, stride in zip(config.widths, config.blocks, config.strides, strict=True):
            for index in range(blocks):
                stages.append(BasicBlock(channels, width, stride if index == 0 else 1))
                channels = width
            height = -(-height // stride)
        self.stages = nn.Sequential(*stages)
        self.dim = channels * height

    def forward(self, frames: Frames) -> Frames:
        """[B, T, F] -> [B, T', dim]."""
        x = self.stages(self.stem(channels_first(frames).unsqueeze(1)))
        mask = frames.mask
        for stride in self._strides:
            mask = mask if mask is None else mask[:, ::stride]
        return Frames(x.flatten(1, 2).transpose(1, 2), mask)
