"""Any other synthesiser: an object of an installed package with the two functions of the interface (2.5)."""

from __future__ import annotations

import importlib
from typing import Any, Literal

import numpy as np
from pydantic import Field

from earwitness.audio.recording import Samples
from earwitness.core.config import Config
from earwitness.core.errors import AudioError, UsageError
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.identity_expansion.synthesisers.base import Prompt, Speech, Voices


class CustomConfig(Config):
    """`target` is `package.module:Class`. Its object is made without arguments and has `speak(text, vector, seed) ->
    (samples float32 [N], rate)` and `embed(samples, rate) -> vector`; `name` is how its spoofs are called."""

    kind: Literal["custom"] = "custom"
    target: str = Field(pattern=r"^[\w.]+:\w+$")
    name: str = Field(min_length=1)
    family: str | None = None

    def build(self) -> Custom:
        """Raises `UsageError` where the target is not there or lacks a function."""
        module, _, name = self.target.partition(":")
        try:
            made = getattr(importlib.import_module(module), name)()
        except (ImportError, AttributeError, TypeError) as error:
            raise UsageError(f"cannot be loaded ({error})", where=self.target) from None
        if missing := [function for function in ("speak", "embed") if not callable(getattr(made, function, None))]:
            raise UsageError(f"has no function `{missing[0]}`", where=self.target)
        return Custom(made, self)


class Custom:
    """The object in the form that expansion uses; whatever it gives is checked."""

    converts = False

    def __init__(self, made: Any, config: CustomConfig) -> None:
        self._made = made
        self.system = f"inside-{config.name}"
        self.family = config.family or config.name
        self.made_with = config.target

    def speak(self, prompt: Prompt, vector: Vectors, seed: int) -> Speech:
        """Raises `AudioError` where the samples are not finite mono sound."""
        samples, rate = self._made.speak(prompt.text, vector, seed)
        sound = np.asarray(samples, np.float32)
        if sound.ndim != 1 or not len(sound) or not np.isfinite(sound).all():
            raise AudioError(f"the synthesiser gave no mono sound but shape {list(sound.shape)}")
        return Speech(sound, int(rate))

    def embed(self, samples: Samples, rate: int) -> Vectors:
        """Raises `AudioError` where what comes is no vector."""
        vector = np.asarray(self._made.embed(samples, rate), np.float32)
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise AudioError(f"the encoder gave no vector but shape {list(vector.shape)}")
        return vector

    def voices(self) -> Voices | None:
        """None: recordings are embedded."""
        return None
