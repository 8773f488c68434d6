"""What every front-end is: a waveform goes in, frames come out."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import AudioError, UsageError
from earwitness.nn.types import Frames


class Frontend(nn.Module):
    """Base of the front-ends.

    `dim` is the number of features F a frame, `frames_per_second` the frame rate, `shortest` the fewest samples that
    give a frame. `frozen` says that training leaves the weights in front of the features alone (true for all that
    has none). A subclass implements `features`.
    """

    dim: int
    frames_per_second: float
    shortest: int
    frozen: bool = True

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Frames:
        """Frames of equally long waveforms: [B, N] float32 in [-1, 1] -> values [B, T, F], no mask.

        Raises `AudioError` where N is shorter than one frame, `UsageError` for another shape or for padded waveforms
        (a padded batch would change normalisation and attention of every utterance in it: group by length instead).
        """
        self.check(waveforms, lengths)
        return Frames(self.features(waveforms))

    def check(self, waveforms: Tensor, lengths: Tensor | None = None) -> None:
        """Refuse what `forward` cannot take."""
        if waveforms.ndim != 2:
            raise UsageError(f"waveforms have the shape {tuple(waveforms.shape)}", fix="Give [batch, samples].")
        samples = waveforms.shape[1]
        if samples < self.shortest:
            raise AudioError(
                f"{samples} samples are too short for a frame", fix=f"At least {self.shortest} are needed."
            )
        if lengths is not None and bool((lengths != samples).any()):
            raise UsageError("the waveforms of a batch are padded", fix="Group recordings of equal length.")

    def features(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> [B, T, F]."""
        raise NotImplementedError


class SpectralFrontend(Frontend):
    """A front-end computed from the spectrum, always in float32: half precision ruins logarithms of small energies."""

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Frames:
        """As in `Frontend`, with automatic mixed precision switched off."""
        with full_precision(waveforms.device.type):
            return super().forward(waveforms.float(), lengths)


class FrontendConfigBase(Config):
    """What the configurations of all front-ends share: a `kind`, and `build()`."""

    kind: str

    def build(self) -> Frontend:
        """A new front-end. Raises `RecipeError` for values that contradict each other."""
        raise NotImplementedError


def full_precision(device: str) -> AbstractContextManager[object]:
    """Switches automatic mixed precision off where it is on; elsewhere leaves no trace in an exported graph."""
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def check_band(fmin: float, fmax: float | None, rate: int) -> None:
    """A `ValueError` (which a config turns into a refusal) unless 0 <= fmin < fmax <= rate / 2."""
    top = rate / 2 if fmax is None else fmax
    if not fmin < top <= rate / 2:
        raise ValueError(f"the band {fmin:g}-{top:g} Hz does not lie within 0-{rate / 2:g} Hz")
