"""Frames of the encoder of Whisper tiny.en for the first 4 s of each recording, computed once and kept in files.

A view is `clean`, or a number: the recording perturbed by RawBoost as its draw of that number gives it. Every view of
a recording starts at the same sample, so its frames stand in the same places. An interrupted computation goes on.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from earwitness.audio.perturb.rawboost import RawBoostConfig
from earwitness.audio.speech import SileroRule
from earwitness.core.hashing import sha256_data
from earwitness.core.writing import write_atomically
from earwitness.corpora.batches import UtteranceDataset, UtteranceOptions
from earwitness.corpora.manifest import Manifest
from earwitness.nn.frontends.whisper import WhisperConfig
from earwitness.nn.layers.speed_up import speed_up
from earwitness.nn.types import Frames
from earwitness.training.data import batch_loader, in_order

View = Literal["clean"] | int
WHOLE = (1, 2)
"""Hidden states of which every frame is kept."""
SECONDS, TAU, AT_ONCE = 4.0, 10, 16
FRONTEND = WhisperConfig(aggregation="concat")
AUGMENTATION = RawBoostConfig(algo=4)
Halves = NDArray[np.float16]


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
        heard = [SECONDS, TAU, WHOLE, FRONTEND.model_dump(mode="json")]
        perturbed = None if view == "clean" else AUGMENTATION.model_dump(mode="json")
        key = sha256_data([rows.table["id"].to_list(), list(hashes), part, heard, perturbed])
        store = _Store(Path(folder) / f"frames-{key[:16]}-{view}", len(rows))
        store.fill(rows, view)
        return cls(store.arrays[:-1], store.arrays[-1])


class _Store:
    """A folder with one array a kept state, one of short frames, and which rows are done."""

    def __init__(self, folder: Path, rows: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._done_path = folder, folder / "done.npy"
        frontend = FRONTEND.build()
        states, width = frontend.dim // _width(), _width()
        frames = round(SECONDS * frontend.frames_per_second)
        shapes = [(rows, frames, width)] * len(WHOLE) + [(rows, states, -(-frames // TAU), width)]
        names = [f"state-{state}.npy" for state in WHOLE] + ["short.npy"]
        new = not self._done_path.is_file()
        self.arrays = tuple(
            np.lib.format.open_memmap(folder / name, "w+" if new else "r+", np.float16, shape if new else None)
            for name, shape in zip(names, shapes, strict=True)
        )
        self.done = np.zeros(rows, bool) if new else np.load(self._done_path, allow_pickle=False)
        if new:
            self._keep_done()

    def fill(self, rows: Manifest, view: View) -> None:
        """Hear the rows that are not done."""
        missing = np.flatnonzero(~self.done)
        if not len(missing):
            return
        frontend = FRONTEND.build()
        chosen = [[int(missing[i]) for i in places] for places in in_order(len(missing), AT_ONCE)]
        console = Console(stderr=True)
        batches = batch_loader(_heard(rows, view), chosen, 1)
        shown = track(batches, f"hearing ({view})", len(chosen), console=console, disable=not console.is_terminal)
        for number, (places, batch) in enumerate(zip(chosen, shown, strict=True), start=1):
            with torch.inference_mode():
                states = torch.stack(frontend.hidden_states(batch.waveforms), dim=1)  # [B, S, T, D]
            for array, state in zip(self.arrays, WHOLE, strict=False):
                array[places] = states[:, state].half().numpy()
            short = speed_up(Frames(states.flatten(0, 1)), TAU).values
            self.arrays[-1][places] = short.unflatten(0, states.shape[:2]).half().numpy()  # type: ignore[no-untyped-call]
            self.done[places] = True
            if number % 20 == 0:
                self._keep_done()
        self._keep_done()

    def _keep_done(self) -> None:
        """Only what is on disk counts as done."""
        for array in self.arrays:
            array.flush()
        written = io.BytesIO()
        np.save(written, self.done, allow_pickle=False)
        write_atomically(self._done_path, written.getvalue())


def _width() -> int:
    """Values a frame of one hidden state."""
    frontend = FRONTEND.build()
    return frontend.dim // len(frontend.aggregation.layers)


def _heard(rows: Manifest, view: View) -> UtteranceDataset:
    data = UtteranceDataset(
        rows,
        UtteranceOptions(
            crop_s=SECONDS,
            crop_from="start",
            trim=SileroRule(),
            perturbation=None if view == "clean" else AUGMENTATION.build(),
        ),
    )
    data.set_epoch(0 if view == "clean" else view)
    return data
