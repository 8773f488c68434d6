"""Self-supervised encoders of transformers: wav2vec 2.0, XLS-R, HuBERT, WavLM (and Whisper, from `whisper.py`).

What the published recipes normalise, per waveform, before the encoder (Nes2Net, arXiv 2504.05657, official code):

    CtrSVDD              WavLM-Large     utterance   (layer norm over samples)
    ASVspoof 2019/2021   XLS-R 300M      none        (although XLS-R was pretrained with normalisation)
    In-the-Wild          XLS-R 300M      none
    ASVspoof 5           WavLM-Large     none

So a detector's weights fit only the choice that they were trained with; the encoder's own preprocessor settings do
not say it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

from torch import Tensor, nn

from earwitness.core.errors import ModelError
from earwitness.nn.frontends.aggregation import HiddenStates
from earwitness.nn.frontends.encoder import EncoderConfig, EncoderFrontend, Normalisation, SpeechEncoder, build_frontend
from earwitness.nn.frontends.whisper import WhisperStates
from earwitness.nn.pretrained.transformers_models import load_encoder
from earwitness.nn.pretrained.whisper import from_transformers

SAMPLE_RATE = 16_000


class PretrainedConfig(EncoderConfig):
    """`source`: a folder in transformers' form, or a hub name; `normalisation`: see the table above."""

    kind: Literal["pretrained"] = "pretrained"
    normalisation: Normalisation = "none"

    def build(self) -> EncoderFrontend:
        """The front-end. Raises `ModelError` where it cannot be loaded, `RecipeError` for layers it does not have."""
        return build_frontend(_shared_encoder(self.source, self.allow_download), self, self.normalisation)


class SelfSupervisedStates(SpeechEncoder):
    """wav2vec 2.0 and its kin: T = floor((N - 400) / 320) + 1 frames, 50 a second. Masking and layer drop are off."""

    def __init__(self, model: Any, source: str) -> None:
        super().__init__()
        config = model.config
        config.apply_spec_augment = False
        config.layerdrop = 0.0
        self.model = model
        self.source = source
        self.count = config.num_hidden_layers + 1
        self.dim = config.hidden_size
        self.frames_per_second = SAMPLE_RATE / math.prod(config.conv_stride)
        self.shortest = receptive_field(config.conv_kernel, config.conv_stride)

    def forward(self, waveforms: Tensor, last: int | None = None) -> HiddenStates:
        """All hidden states of [B, N], whatever is `last`: transformers' forward has no way out before its end."""
        output = self.model(waveforms, output_hidden_states=True)
        states = tuple(output.hidden_states)
        if len(states) != self.count:
            raise ModelError(f"gave {len(states)} hidden states instead of {self.count}", where=self.source)
        return (*states[:-1], output.last_hidden_state)

    def feed_forwards(self) -> list[nn.Module]:
        """Each layer's own module."""
        return [layer.feed_forward for layer in self.model.encoder.layers]


def receptive_field(kernels: list[int], strides: list[int]) -> int:
    """How many samples the first frame of a stack of convolutions sees (400 for wav2vec 2.0)."""
    field, jump = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field += (kernel - 1) * jump
        jump *= stride
    return field


@lru_cache(maxsize=4)
def _shared_encoder(source: str, allow_download: bool) -> SpeechEncoder:
    model = load_encoder(source, allow_download=allow_download)
    if model.config.model_type == "whisper":
        return WhisperStates(from_transformers(model, source), source)
    return SelfSupervisedStates(model, source)
