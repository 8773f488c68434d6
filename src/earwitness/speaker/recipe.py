"""A speaker embedder's recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from earwitness.audio.windows import Sliding, WindowPolicy
from earwitness.corpora.splits import SpeakerSplit
from earwitness.nn.losses import MarginLossConfig
from earwitness.training.recipe import UtteranceRecipe


class SpeakerRecipe(UtteranceRecipe):
    """`start_from` names published weights that the network begins with (see `speaker.published`), or none.

    `cohort_top` is how many of the nearest training speakers AS-norm uses on each side; 0 scores by the plain cosine.
    """

    task: Literal["speaker"]
    split: SpeakerSplit = SpeakerSplit()
    margin: MarginLossConfig
    windows: WindowPolicy = Sliding(length_s=1.6, hop_s=0.8)
    cohort_top: int = Field(100, ge=0)
    start_from: Literal["none", "resemblyzer"] = "none"
    start_file: Path | None = None  # where the published weights lie; None: in their installed package
