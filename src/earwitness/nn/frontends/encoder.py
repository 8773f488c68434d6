"""A pretrained encoder as a front-end: one pass through the encoder, any number of heads that read its layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.nn.frontends.aggregation import Aggregation, AggregationKind, HiddenStates, build_aggregation
from earwitness.nn.frontends.base import Frontend, FrontendConfigBase
from earwitness.nn.types import Frames

Normalisation = Literal["none", "utterance"]


class SpeechEncoder(nn.Module):
    """Waveforms [B, N] -> `count` hidden states [B, T, `dim`]: the input of the first layer, then the output of each
    layer.

    The last one is the encoder's output, after its final layer norm where it has one. `source` names what was loaded.
    """

    source: str
    count: int
    dim: int
    frames_per_second: float
    shortest: int

    def forward(self, waveforms: Tensor) -> HiddenStates:
        """All hidden states."""
        raise NotImplementedError


class EncoderConfig(FrontendConfigBase):
    """What every pretrained encoder is asked for.

    `layers` are indices into the hidden states (0 is the input of the first layer, -1 the output; None takes all),
    `aggregation` says how they become one. A `frozen` encoder is shared by all heads of the process and never
    trained; otherwise each head has its own copy. Nothing is fetched from a hub unless `allow_download` is set; it
    is a permission of this run, so it is not written into what a model remembers of its front-end.
    """

    source: str
    layers: tuple[int, ...] | None = None
    aggregation: AggregationKind = "weighted_sum"
    frozen: bool = True
    allow_download: bool = Field(False, exclude=True)


class EncoderFrontend(Frontend):
    """[B, N] -> [B, T, F]: the encoder's hidden states, combined.

    A frozen encoder is no submodule: it is in no `state_dict`, stays in eval mode, gets no gradient, and is shared.
    One that is trained is the submodule `encoder`, a copy of its own.
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        aggregation: Aggregation,
        *,
        frozen: bool = True,
        normalisation: Normalisation = "none",
    ) -> None:
        super().__init__()
        self.dim = aggregation.dim
        self.frames_per_second = encoder.frames_per_second
        self.shortest = encoder.shortest
        self.frozen = frozen
        self.normalisation = normalisation
        self.aggregation = aggregation
        if frozen:
            self._shared = _Shared(encoder.requires_grad_(False).eval())
        else:
            self.encoder = copy.deepcopy(encoder).requires_grad_(True)

    @property
    def encoder_key(self) -> str | None:
        """Front-ends with the same key have the same hidden states for a waveform; None where it is trained."""
        return f"{self._shared.encoder.source} ({self.normalisation})" if self.frozen else None

    @property
    def speech_encoder(self) -> SpeechEncoder:
        """The encoder that is heard: the shared one, or this head's own."""
        return self._shared.encoder if self.frozen else self.encoder

    def hidden_states(self, waveforms: Tensor) -> HiddenStates:
        """All hidden states of [B, N], each [B, T, D]: what several heads can share."""
        if self.normalisation == "utterance":
            waveforms = normalise(waveforms)
        if not self.frozen:
            states: HiddenStates = self.encoder(waveforms)
            return states
        encoder = self._shared.on(waveforms.device)
        with torch.no_grad():
            frozen_states: HiddenStates = encoder(waveforms)
        return frozen_states

    def combine(self, states: HiddenStates) -> Frames:
        """The frames that this head reads, from hidden states that may have been computed for another head."""
        return Frames(self.aggregation(states))

    def features(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> [B, T, F]."""
        return self.combine(self.hidden_states(waveforms)).values


class _Shared:
    """Holds the shared encoder out of sight of `nn.Module`, and is never copied with the head that holds it."""

    def __init__(self, encoder: SpeechEncoder) -> None:
        self.encoder = encoder

    def on(self, device: torch.device) -> SpeechEncoder:
        if next(self.encoder.parameters()).device != device:
            self.encoder.to(device)
        return self.encoder

    def __deepcopy__(self, memo: object) -> _Shared:
        return self


def build_frontend(
    encoder: SpeechEncoder, config: EncoderConfig, normalisation: Normalisation = "none"
) -> EncoderFrontend:
    """The front-end that a configuration asks for, on an encoder that is already loaded."""
    aggregation = build_aggregation(config.aggregation, config.layers, encoder.count, encoder.dim)
    return EncoderFrontend(encoder, aggregation, frozen=config.frozen, normalisation=normalisation)


def run_together(frontends: Sequence[Frontend], waveforms: Tensor) -> list[Frames]:
    """The frames of several front-ends for the same waveforms [B, N]; a shared encoder runs once."""
    computed: dict[str, HiddenStates] = {}
    frames = []
    for frontend in frontends:
        key = frontend.encoder_key if isinstance(frontend, EncoderFrontend) else None
        if not isinstance(frontend, EncoderFrontend) or key is None:
            frames.append(frontend(waveforms))
            continue
        if key not in computed:
            frontend.check(waveforms)
            computed[key] = frontend.hidden_states(waveforms)
        frames.append(frontend.combine(computed[key]))
    return frames


def normalise(waveforms: Tensor) -> Tensor:
    """Each waveform of [B, N] to zero mean and unit variance over its samples (layer norm, eps 1e-5)."""
    return F.layer_norm(waveforms, waveforms.shape[-1:])
