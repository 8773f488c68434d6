"""Splices: human recordings with a stretch replaced by synthesis, at a known place, and their controls.

    made = expand(manifest, "splices/", SpliceOptions(host_s=10, seed=1))
    made.manifest      # the splices, also written to splices/manifest.csv; the places to splices/splices.rttm

    spoof      the insert is a stretch of a spoof of the manifest, of the host's voice where there is one
    twin       the insert is the very stretch that it replaces, made anew by a vocoder: same words, voice, room
    genuine    the control: the insert is human, of the same speaker where there is another recording; what hears
               edits only fires here too
    none       the control: nothing is replaced

Test material for localisation: PartialSpoof (arXiv 2204.05177) made the field's own by other means.
"""

from __future__ import annotations

from earwitness.corpora.splices.making import expand
from earwitness.corpora.splices.planning import KINDS, Kind, SpliceOptions

__all__ = ["KINDS", "Kind", "SpliceOptions", "expand"]
