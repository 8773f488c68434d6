"""How claims hear a recording: its first 4 s from where speech begins, shorter ones repeated, as it is or perturbed."""

from __future__ import annotations

from typing import Literal

from earwitness.audio.perturb import Perturbation
from earwitness.audio.speech import SileroRule
from earwitness.corpora.batches import UtteranceDataset, UtteranceOptions
from earwitness.corpora.manifest import Manifest

View = Literal["clean"] | int
"""`clean`, or a number: perturbed as the draw of that number gives it. All views start at the same sample."""
SECONDS = 4.0


def heard(rows: Manifest, view: View, augmentation: Perturbation, speed: float = 1.0) -> UtteranceDataset:
    """Rows in a view, played at a speed."""
    options = UtteranceOptions(
        crop_s=SECONDS,
        crop_from="start",
        trim=SileroRule(),
        perturbation=None if view == "clean" else augmentation,
        speeds=(speed,),
    )
    data = UtteranceDataset(rows, options)
    data.set_epoch(0 if view == "clean" else view)
    return data
