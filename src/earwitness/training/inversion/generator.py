"""What makes synthetic spectrograms: CMI's generator (arXiv 2105.08584, its released code), widened to rectangles, or
free inputs as in DeepInversion (arXiv 1912.08795)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from earwitness.training.inversion.space import InputSpace


class Generator(nn.Module):
    """z [B, Z] -> [B, 1, F, N] in the space's range, for any F and N (made in multiples of 4 and cut).

    Linear to a quarter of both sides, batch-norm, twice (upsampling, 3x3 convolution, batch-norm, LeakyReLU 0.2), 3x3
    convolution to one channel, sigmoid. Weights begin as N(0, 0.02), those of batch-norm as N(1, 0.02).
    """

    def __init__(self, space: InputSpace, frames: int, z: int = 256, width: int = 128) -> None:
        super().__init__()
        self._space, self._frames = space, frames
        self._small = (width, -(-space.bands // 4), -(-frames // 4))
        rows = self._small[1] * self._small[2]
        half = max(1, width // 2)
        self.enter = nn.Linear(z, width * rows)
        self.layers = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, half, 3, padding=1, bias=False),
            nn.BatchNorm2d(half),
            nn.LeakyReLU(0.2),
            nn.Conv2d(half, 1, 3, padding=1),
            nn.Sigmoid(),
        )
        self.reset()

    def reset(self) -> None:
        """Begin anew, as CMI does every round."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                mean = 1.0 if isinstance(layer, nn.BatchNorm2d) else 0.0
                nn.init.normal_(layer.weight, mean, 0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, z: Tensor) -> Tensor:
        """[B, Z] -> [B, 1, F, N]."""
        small = self.enter(z).view(-1, *self._small)
        return self._space.from_unit(self.layers(small)[..., : self._space.bands, : self._frames])


class FreeInputs(nn.Module):
    """The spectrograms themselves are optimised; they begin as normal noise about the middle of the range."""

    def __init__(self, space: InputSpace, count: int, frames: int) -> None:
        super().__init__()
        middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
        noise = torch.randn(count, 1, space.bands, frames)
        self.x = nn.Parameter(middle + half / 2.5 * noise)

    def forward(self) -> Tensor:
        """[B, 1, F, N]."""
        return self.x
