"""What a synthesiser is: it speaks with the voice of a vector, and tells where a recording lies in that space (2.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from earwitness.audio.recording import Samples
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.identity_expansion.vectors import SpeakerVectors


@dataclass(frozen=True)
class Speech:
    """`samples` float32 [N] at `rate` Hz."""

    samples: Samples
    rate: int


@dataclass(frozen=True)
class Prompt:
    """What is to be said: the words, and for converters a recording of them with the vector [D] of its speaker."""

    text: str
    speech: Speech | None = None
    vector: Vectors | None = None


@dataclass(frozen=True)
class Voices:
    """Speakers whom a synthesiser brings along, and the sex (m or f) of each."""

    speakers: SpeakerVectors
    sexes: Mapping[str, str]


class Synthesiser(Protocol):
    """An embedding-conditioned synthesiser, or a converter of recordings.

    `system` names what it makes in manifests (it is never empty: what is made must not pass as real), `family` as in
    `corpora.families`, `made_with` for the licence. `converts`: it needs the `speech` of a prompt.
    """

    system: str
    family: str
    made_with: str
    converts: bool

    def speak(self, prompt: Prompt, vector: Vectors, seed: int) -> Speech:
        """The prompt in the voice of a vector [D], at the length of an utterance's embedding; the same for the same
        seed, which sets the style. Raises `AudioError` for what cannot be said."""
        ...

    def embed(self, samples: Samples, rate: int) -> Vectors:
        """The vector [D] of an utterance. Raises `AudioError` for what has no voice in it, and `UsageError` where the
        synthesiser has no encoder."""
        ...

    def voices(self) -> Voices | None:
        """Its own speakers, who are then the parents; None where real recordings are embedded."""
        ...
