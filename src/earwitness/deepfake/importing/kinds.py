"""The detectors that can be imported, by the name that `earwitness model import --as` takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from earwitness.core.config import nearest
from earwitness.core.errors import ModelError, UsageError
from earwitness.deepfake.importing.aasist import AASIST, AASIST_L, read_aasist
from earwitness.deepfake.importing.nes2net import RECIPES, read_nes2net
from earwitness.deepfake.importing.official import Filled, ScoreKind
from earwitness.deepfake.importing.rawnet_lite import read_rawnet_lite
from earwitness.nn.pretrained.plain_weights import read_plain_weights

_LA19, _ASVSPOOF5 = "ASVspoof 2019 LA train", "ASVspoof 5 track 1 train"
_Reader = Callable[[dict[str, Tensor], ScoreKind], Filled]

DETECTORS: dict[str, _Reader] = {
    "aasist": lambda state, score: read_aasist(state, AASIST, _LA19, score),
    "aasist-l": lambda state, score: read_aasist(state, AASIST_L, _LA19, score),
    "aasist-asvspoof5": lambda state, score: read_aasist(state, AASIST, _ASVSPOOF5, score),
    "rawnet-lite": lambda state, score: read_rawnet_lite(state, "see the file's publisher"),
    **{
        name: lambda state, score, recipe=recipe: read_nes2net(state, recipe, score)  # type: ignore[misc]
        for name, recipe in RECIPES.items()
    },
}


def read_detector(path: str | Path, kind: str, score: ScoreKind = "published") -> Filled:
    """An official checkpoint as a filled network.

    Raises `UsageError` for an unknown kind, and `ModelError` for a file that is not of plain weights, or whose tensors
    are not exactly those of this kind.
    """
    if kind not in DETECTORS:
        guess = nearest(kind, DETECTORS)
        hint = f"Did you mean '{guess}'? " if guess else ""
        raise UsageError(f"unknown kind of checkpoint '{kind}'", fix=f"{hint}Known: {', '.join(DETECTORS)}.")
    try:
        return DETECTORS[kind](read_plain_weights(path), score)
    except ModelError as error:
        fix = error.fix or f"Is it an official checkpoint of {kind}?"
        raise ModelError(error.what, where=error.where or path, fix=fix) from None
