"""Frames of the encoder of Whisper tiny.en for the first 4 s of each recording, computed once and kept in files.

Perturbed views are RawBoost's. Every view of a recording starts at the same sample, so its frames stand in the same
places. An interrupted computation goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from earwitness.audio.perturb.rawboost import RawBoostConfig
from earwitness.claims.store import Halves, Store
from earwitness.claims.views import SECONDS, View, heard
from earwitness.core.hashing import sha256_data
from earwitness.corpora.manifest import Manifest
from earwitness.nn.frontends.whisper import WhisperConfig
from earwitness.nn.layers.speed_up import speed_up
from earwitness.nn.types import Frames
from earwitness.training.data import batch_loader

WHOLE = (1, 2)
"""Hidden states of which every frame is kept."""
TAU, AT_ONCE = 10, 16
FRONTEND = WhisperConfig(aggregation="concat")
AUGMENTATION = RawBoostConfig(algo=4)


@dataclass(frozen=True)
class HeardFrames:
    """`frames[i]` [R, T, D] of the hidden state `WHOLE[i]`, 50 a second; `short` [R, S, T / 10, D]: all hidden states
    averaged over ten frames each (the speed-up of arXiv 2404.13892). Memory-mapped float16."""

    frames: tuple[Halves, ...]
    short: Halves

    def state(self, number: int) -> Halves:
        """All frames of a hidden state in `WHOLE`, [R, T, D]."""
        return self.frames[WHOLE.index(number)]

    @classmethod
    def of(cls, rows: Manifest, hashes: Sequence[str], view: View, folder: Path) -> HeardFrames:
        """Read what is kept; compute what is not. Raises `AudioError` naming a file that cannot be read."""
        part = [[row.channel, row.start, row.end] for row in rows.rows()]
        told = [SECONDS, TAU, WHOLE, FRONTEND.model_dump(mode="json")]
        perturbed = None if view == "clean" else AUGMENTATION.model_dump(mode="json")
        key = sha256_data([rows.table["id"].to_list(), list(hashes), part, told, perturbed])
        store = Store(Path(folder) / f"frames-{key[:16]}-{view}", len(rows), _shapes())
        store.fill(partial(_states, rows, view), AT_ONCE, f"hearing ({view})")
        return cls(store.arrays[:-1], store.arrays[-1])


def _shapes() -> dict[str, tuple[int, ...]]:
    """One array a kept state, and one of short frames."""
    frontend, width = FRONTEND.build(), _width()
    frames = round(SECONDS * frontend.frames_per_second)
    whole: dict[str, tuple[int, ...]] = {f"state-{state}": (frames, width) for state in WHOLE}
    return {**whole, "short": (frontend.dim // width, -(-frames // TAU), width)}


def _states(rows: Manifest, view: View, parts: Sequence[Sequence[int]]) -> Iterator[tuple[Halves, ...]]:
    """The kept states of each part's rows, and their short frames."""
    frontend = FRONTEND.build()
    for batch in batch_loader(heard(rows, view, AUGMENTATION.build()), [list(part) for part in parts], 1):
        with torch.inference_mode():
            states = torch.stack(frontend.hidden_states(batch.waveforms), dim=1)  # [B, S, T, D]
        short = speed_up(Frames(states.flatten(0, 1)), TAU).values.unflatten(0, states.shape[:2])  # type: ignore[no-untyped-call]
        yield (*(states[:, state].half().numpy() for state in WHOLE), short.half().numpy())


def _width() -> int:
    """Values a frame of one hidden state."""
    frontend = FRONTEND.build()
    return frontend.dim // len(frontend.aggregation.layers)
