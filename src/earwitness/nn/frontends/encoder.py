"""A pretrained encoder as a front-end: one pass through the encoder, any number of heads that read its layers."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.nn.frontends.adapters import AdaptersConfig, attach, over_same_weights
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

    def forward(self, waveforms: Tensor, last: int | None = None) -> HiddenStates:
        """All hidden states, or (an encoder that can stop early) those up to number `last` and no more."""
        raise NotImplementedError

    def feed_forwards(self) -> list[nn.Module]:
        """Of each layer the module that gives what its feed-forward sub-layer adds, [B, T, `dim`]."""
        raise NotImplementedError


class EncoderConfig(FrontendConfigBase):
    """What every pretrained encoder is asked for.

    `layers` are indices into the hidden states (0 is the input of the first layer, -1 the output; None takes all),
    `aggregation` says how they become one. A `frozen` encoder is shared by all heads of the process and never
    trained; otherwise each head has its own copy. A frozen one may have trained `adapters` of this head's own.
    `layer_norm` brings each frame to mean 0 and variance 1 over its features at the end, without weights;
    `instance_norm` then each feature to mean 0 and variance 1 over the utterance's time. Nothing is
    fetched from a hub unless `allow_download` is set; it is a permission of this run, so it is not written into what a
    model remembers of its front-end.
    """

    source: str
    layers: tuple[int, ...] | None = None
    aggregation: AggregationKind = "weighted_sum"
    frozen: bool = True
    adapters: AdaptersConfig | None = None
    layer_norm: bool = False
    instance_norm: bool = False
    allow_download: bool = Field(False, exclude=True)

    @model_validator(mode="after")
    def _adapters_need_a_frozen_encoder(self) -> EncoderConfig:
        if self.adapters is not None and not self.frozen:
            raise ValueError("adapters stand in a frozen encoder: leave them out, or set frozen: true")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Options that came later leave no trace while they are off: what is kept under a hash stays valid."""
        data: dict[str, Any] = handler(self)
        off = [name for name in ("adapters", "layer_norm", "instance_norm") if not data[name]]
        return {name: value for name, value in data.items() if name not in off}


class EncoderFrontend(Frontend):
    """[B, N] -> [B, T, F]: the encoder's hidden states, combined.

    A frozen encoder is no submodule: it is in no `state_dict`, stays in eval mode, gets no gradient, and is shared.
    Its `adapters` are a submodule, and the modules that they stand in are this front-end's own, over the shared
    weights. An encoder that is trained is the submodule `encoder`, a copy of its own.
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        aggregation: Aggregation,
        *,
        frozen: bool = True,
        normalisation: Normalisation = "none",
        adapters: AdaptersConfig | None = None,
        layer_norm: bool = False,
        instance_norm: bool = False,
    ) -> None:
        super().__init__()
        self.dim = aggregation.dim
        self.frames_per_second = encoder.frames_per_second
        self.shortest = encoder.shortest
        self.frozen = frozen and adapters is None
        self.normalisation = normalisation
        self.layer_norm = layer_norm
        self.instance_norm = instance_norm
        self.aggregation = aggregation
        self._adapted: _Adapted | None = None
        if not frozen:
            self.encoder = copy.deepcopy(encoder).requires_grad_(True)
            return
        encoder.requires_grad_(False).eval()
        if adapters is None:
            self._shared = _Shared(encoder)
        else:
            self.adapters = adapters.build(len(encoder.feed_forwards()), encoder.dim)
            self._adapted = _Adapted(encoder, self.adapters)

    @property
    def encoder_key(self) -> str | None:
        """Front-ends with the same key have the same hidden states for a waveform; None where training changes them."""
        return f"{self._shared.encoder.source} ({self.normalisation})" if self.frozen else None

    @property
    def speech_encoder(self) -> SpeechEncoder:
        """The encoder that is heard: the shared one, or this head's own."""
        return self._shared.encoder if self.frozen else self.encoder

    @property
    def last(self) -> int:
        """The number of the last hidden state that this head reads."""
        return max(self.aggregation.layers)

    def hidden_states(self, waveforms: Tensor, last: int | None = None) -> HiddenStates:
        """All hidden states of [B, N], each [B, T, D], or at least those up to number `last`: what several heads can
        share."""
        if self.normalisation == "utterance":
            waveforms = normalise(waveforms)
        if not self.frozen:
            own = self.encoder if self._adapted is None else self._adapted.on(waveforms.device)
            states: HiddenStates = own(waveforms, last)
            return states
        encoder = self._shared.on(waveforms.device)
        with torch.no_grad():
            return encoder(waveforms, last) if _kept is None else _kept.states(encoder, waveforms, last)

    def combine(self, states: HiddenStates) -> Frames:
        """The frames that this head reads, from hidden states that may have been computed for another head."""
        values = self.aggregation(states)
        values = F.layer_norm(values, values.shape[-1:]) if self.layer_norm else values
        return Frames(over_time(values) if self.instance_norm else values)

    def features(self, waveforms: Tensor) -> Tensor:
        """[B, N] -> [B, T, F]."""
        return self.combine(self.hidden_states(waveforms, self.last)).values


MOST_KEPT = 64 << 20  # bytes: of Whisper tiny.en's four layers the states of some three minutes
_kept: KeptStates | None = None


@contextmanager
def keeping_states() -> Iterator[None]:
    """Within, what a frozen encoder has made of a batch is kept for the next model that asks for the same: for several
    models that hear one recording, one after the other."""
    global _kept
    before, _kept = _kept, KeptStates()
    try:
        yield
    finally:
        _kept = before


class KeptStates:
    """The latest hidden states, by the encoder and the batch that they are of."""

    def __init__(self) -> None:
        self._states: OrderedDict[tuple[int, bytes], HiddenStates] = OrderedDict()
        self._bytes = 0

    def states(self, encoder: SpeechEncoder, waveforms: Tensor, last: int | None) -> HiddenStates:
        """As `encoder(waveforms, last)`, or more of them."""
        heard = waveforms.detach().cpu().numpy().tobytes()
        key = (id(encoder), hashlib.blake2b(heard, digest_size=16).digest())  # the frozen encoder outlives this
        needed = encoder.count if last is None else last + 1
        found = self._states.pop(key, ())
        self._bytes -= _size(found)
        if len(found) < needed:
            found = encoder(waveforms, last)
        self._states[key] = found
        self._bytes += _size(found)
        while self._bytes > MOST_KEPT:
            self._bytes -= _size(self._states.popitem(last=False)[1])
        return found


def _size(states: HiddenStates) -> int:
    return sum(one.nbytes for one in states)


class _Shared:
    """Holds the shared encoder out of sight of `nn.Module`, and is never copied with the head that holds it."""

    def __init__(self, encoder: SpeechEncoder) -> None:
        self.encoder = encoder

    def on(self, device: torch.device) -> SpeechEncoder:
        """Moved where something of it lies elsewhere: its weights may have been moved under another's modules."""
        if any(tensor.device != device for tensor in (*self.encoder.parameters(), *self.encoder.buffers())):
            self.encoder.to(device)
        return self.encoder

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


class _Adapted(_Shared):
    """Modules of its own over the weights of a shared encoder, with adapters in them. A copy is made with the copy of
    the adapters."""

    def __init__(self, encoder: SpeechEncoder, adapters: nn.ModuleList) -> None:
        self.bare, self.adapters = encoder, adapters
        super().__init__(over_same_weights(encoder))
        attach(adapters, self.encoder.feed_forwards())

    def __deepcopy__(self, memo: dict[int, Any]) -> _Adapted:
        return _Adapted(self.bare, copy.deepcopy(self.adapters, memo))


def build_frontend(
    encoder: SpeechEncoder, config: EncoderConfig, normalisation: Normalisation = "none"
) -> EncoderFrontend:
    """The front-end that a configuration asks for, on an encoder that is already loaded."""
    return EncoderFrontend(
        encoder,
        build_aggregation(config.aggregation, config.layers, encoder.count, encoder.dim),
        frozen=config.frozen,
        normalisation=normalisation,
        adapters=config.adapters,
        layer_norm=config.layer_norm,
        instance_norm=config.instance_norm,
    )


def over_time(values: Tensor) -> Tensor:
    """Each feature of [B, T, F] to mean 0 and variance 1 over time; a single frame becomes 0."""
    centred = values - values.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()


def run_together(frontends: Sequence[Frontend], waveforms: Tensor) -> list[Frames]:
    """The frames of several front-ends for the same waveforms [B, N]; a shared encoder runs once, up to the last hidden
    state that one of them reads."""
    last: dict[str, int] = {}
    for frontend in frontends:
        if isinstance(frontend, EncoderFrontend) and (key := frontend.encoder_key) is not None:
            last[key] = max(last.get(key, 0), frontend.last)
    computed: dict[str, HiddenStates] = {}
    frames = []
    for frontend in frontends:
        key = frontend.encoder_key if isinstance(frontend, EncoderFrontend) else None
        if not isinstance(frontend, EncoderFrontend) or key is None:
            frames.append(frontend(waveforms))
            continue
        if key not in computed:
            frontend.check(waveforms)
            computed[key] = frontend.hidden_states(waveforms, last[key])
        frames.append(frontend.combine(computed[key]))
    return frames


def normalise(waveforms: Tensor) -> Tensor:
    """Each waveform of [B, N] to zero mean and unit variance over its samples (layer norm, eps 1e-5)."""
    return F.layer_norm(waveforms, waveforms.shape[-1:])
