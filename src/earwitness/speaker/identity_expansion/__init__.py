"""INSIDE, arXiv 2508.19210: speakers who do not exist, half-way between two real ones, to train verifiers with.

    made = expand_identities(manifest, "inside/", ExpansionConfig(identities=100))
    made.manifest      # the new recordings, spoofs all of them, also written to inside/manifest.csv

A reconstruction: of the paper we know the three steps (an averaged embedding a speaker, slerp at 0.5 between nearby
speakers of one sex, an embedding-conditioned synthesiser) and no settings. `vectors`, `pairs` and `interpolation` are
the first two, `synthesisers` the third; `making` does the work, `learning` trains with it, `report` says what came out.
"""

from __future__ import annotations

from earwitness.speaker.identity_expansion.config import ExpansionConfig
from earwitness.speaker.identity_expansion.making import Expanded, Guards, Judges, expand_identities

__all__ = ["Expanded", "ExpansionConfig", "Guards", "Judges", "expand_identities"]
