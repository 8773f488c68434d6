"""Twins: each human recording once more as a vocoder says it, so that only the synthesis differs.

    made = expand(manifest, "twins/", TwinOptions(per_row=2, seed=1))
    made.manifest      # the originals and their twins, also written to twins/manifest.csv

On twins a detector finds no shortcut: words, voice, room, length, level and rate are those of the original. A vocoder
is one file here and one line in `VOCODERS`.
"""

from __future__ import annotations

from earwitness.corpora.twins.base import Vocoder
from earwitness.corpora.twins.making import DEFAULT_VOCODERS, Made, TwinOptions, expand
from earwitness.corpora.twins.vocoders import VOCODERS

__all__ = ["DEFAULT_VOCODERS", "VOCODERS", "Made", "TwinOptions", "Vocoder", "expand"]
