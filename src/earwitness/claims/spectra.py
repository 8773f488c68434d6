"""Filterbank energies of recordings, computed once and kept.

Perturbed views go through a room, noise or a narrow band: what `recipes/default/speaker-small.yaml` trains with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from earwitness.audio.perturb.chain import SeriesConfig
from earwitness.audio.perturb.noise import ColouredNoiseConfig
from earwitness.audio.perturb.reverb import ReverbConfig
from earwitness.audio.perturb.simple import LowPassConfig, TelephoneBandConfig
from earwitness.claims.store import Halves, Store
from earwitness.claims.views import SECONDS, View, heard
from earwitness.core.hashing import sha256_data
from earwitness.corpora.batches import UtteranceDataset
from earwitness.corpora.manifest import Manifest
from earwitness.nn.frontends.fbank import FbankConfig
from earwitness.training.data import batch_loader

FRONTEND = FbankConfig(mean_norm=False)  # the mean is taken from each crop
AUGMENTATION = SeriesConfig(
    components=(
        ReverbConfig(p=0.5),
        ColouredNoiseConfig(snr_db=(5.0, 25.0), p=0.5),
        TelephoneBandConfig(p=0.25),
        LowPassConfig(cutoff_hz=(2500.0, 7500.0), p=0.15),
    )
)
AT_ONCE = 16


def spectra(
    rows: Manifest,
    hashes: Sequence[str],
    view: View,
    folder: Path,
    speed: float = 1.0,
    augmentation: SeriesConfig = AUGMENTATION,
) -> Halves:
    """Energies [R, T, 80] of the rows in a view, 100 frames a second, memory-mapped; what is not there is computed.

    Raises `AudioError` naming a file that cannot be read.
    """
    part = [[row.channel, row.start, row.end] for row in rows.rows()]
    perturbed = None if view == "clean" else augmentation.model_dump(mode="json")
    told = [SECONDS, FRONTEND.model_dump(mode="json"), perturbed, *([] if speed == 1 else [speed])]
    key = sha256_data([rows.table["id"].to_list(), list(hashes), part, told])
    frontend = FRONTEND.build()
    frames = (round(SECONDS * FRONTEND.rate) - FRONTEND.window) // FRONTEND.hop + 1
    store = Store(Path(folder) / f"spectra-{key[:16]}-{view}", len(rows), {"energies": (frames, frontend.dim)})
    utterances = heard(rows, view, augmentation.build(), speed)
    store.fill(partial(_energies, utterances), AT_ONCE, f"hearing ({view})")
    return store.arrays[0]


@torch.inference_mode()
def _energies(utterances: UtteranceDataset, parts: Sequence[Sequence[int]]) -> Iterator[tuple[Halves, ...]]:
    frontend = FRONTEND.build()
    for batch in batch_loader(utterances, [list(part) for part in parts], 1):
        yield (frontend.features(batch.waveforms).half().numpy(),)
