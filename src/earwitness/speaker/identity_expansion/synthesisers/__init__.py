"""Synthesisers that speak with the voice of a vector, by kind: a file each, and a member of `SynthesiserConfig`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from earwitness.speaker.identity_expansion.synthesisers.base import Prompt, Speech, Synthesiser, Voices
from earwitness.speaker.identity_expansion.synthesisers.custom import CustomConfig
from earwitness.speaker.identity_expansion.synthesisers.kokoro import KokoroConfig
from earwitness.speaker.identity_expansion.synthesisers.toy import ToyConfig
from earwitness.speaker.identity_expansion.synthesisers.world import WorldConfig

SynthesiserConfig = Annotated[WorldConfig | KokoroConfig | ToyConfig | CustomConfig, Field(discriminator="kind")]

__all__ = ["Prompt", "Speech", "Synthesiser", "SynthesiserConfig", "Voices"]
