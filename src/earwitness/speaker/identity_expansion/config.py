"""All settings of an expansion. Where the paper is silent, which is mostly, the values are ours."""

from __future__ import annotations

from pydantic import Field

from earwitness.core.config import Config
from earwitness.speaker.identity_expansion.filters import FilterConfig
from earwitness.speaker.identity_expansion.pairs import Control, PairConfig
from earwitness.speaker.identity_expansion.synthesisers import SynthesiserConfig
from earwitness.speaker.identity_expansion.synthesisers.world import WorldConfig
from earwitness.speaker.identity_expansion.vectors import AveragingConfig


class ExpansionConfig(Config):
    """`identities` new speakers (None: half as many as there are real ones) with `utterances` each, from the middle
    (`alpha`) of two parents; `control` makes those of another arm instead.

    A converter uses the parents' recordings of `length_s`; each of them once before any comes again.
    """

    synthesiser: SynthesiserConfig = WorldConfig()
    identities: int | None = Field(None, ge=1)
    utterances: int = Field(20, ge=1)
    alpha: float = Field(0.5, ge=0, le=1)
    control: Control = "none"
    averaging: AveragingConfig = AveragingConfig()
    pairs: PairConfig = PairConfig()
    filters: FilterConfig = FilterConfig()
    length_s: tuple[float, float] = (2.0, 12.0)
    seed: int = Field(0, ge=0)
