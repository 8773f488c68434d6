"""The claims by name. A new one is a module and a line here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from earwitness.claims.plan import Claim
from earwitness.core.config import nearest
from earwitness.core.errors import UsageError

CLAIMS = {
    "accon": "earwitness.claims.accon",
    "acorl": "earwitness.claims.acorl",
    "audio-flan": "earwitness.claims.audio_flan",
    "audio-flan-guard": "earwitness.claims.audio_flan_guard",
    "cp-bench": "earwitness.claims.cp_bench",
    "cpqa": "earwitness.claims.cpqa",
    "dpda": "earwitness.claims.dpda",
    "expo": "earwitness.claims.expo",
    "f-infoed": "earwitness.claims.f_infoed",
    "frami": "earwitness.claims.frami",
    "inside": "earwitness.claims.inside",
    "nes2net": "earwitness.claims.nes2net",
    "paralinguistic-training": "earwitness.claims.paralinguistic_training",
    "qamo": "earwitness.claims.qamo",
    "rad": "earwitness.claims.rad",
    "speecheq": "earwitness.claims.speecheq",
    "svldl": "earwitness.claims.svldl",
    "svldl-likelihood": "earwitness.claims.svldl_likelihood",
    "svvad": "earwitness.claims.svvad",
    "xi-plus": "earwitness.claims.xi_plus",
}
"""Name and module, whose `CLAIM` is it; imported when it is asked for."""


def find_claim(name: str) -> Claim[Any]:
    """The claim of that name. Raises `UsageError` with the nearest one."""
    if name not in CLAIMS:
        guess = nearest(name, CLAIMS)
        hint = f"Did you mean '{guess}'?" if guess else "`earwitness claim list` shows them."
        raise UsageError(f"there is no claim '{name}'", fix=hint)
    found: Claim[Any] = import_module(CLAIMS[name]).CLAIM
    return found
