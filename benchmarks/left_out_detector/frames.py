"""The frames of the encoder's first layer for all rows and views of a recipe, kept in files that an interrupted run
fills on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from material import Heard
from numpy.typing import NDArray

from earwitness.nn.frontends.whisper import WhisperConfig
from earwitness.training.pooled import heard_in

AT_ONCE = 16


@torch.inference_mode()
def kept_frames(heard: Heard, folder: Path) -> NDArray[np.float16]:
    """float16 [R, V, T, D]."""
    folder.mkdir(parents=True, exist_ok=True)
    frontend = WhisperConfig(layers=(1,), aggregation="layer").build()
    first = heard_in("clean", heard.recipe, heard.rows)[0].samples
    frames = frontend(first[None]).values.shape[1]
    shape = (len(heard.rows), len(heard.recipe.views), frames, frontend.dim)
    path, done_path = folder / "frames.npy", folder / "done.npy"
    new = not path.is_file()
    values = np.lib.format.open_memmap(path, "w+" if new else "r+", np.float16, shape if new else None)
    done = np.zeros(shape[:2], bool) if new else np.load(done_path, allow_pickle=False)
    for place, view in enumerate(heard.recipe.views):
        data = heard_in(view, heard.recipe, heard.rows)
        missing = np.flatnonzero(~done[:, place])
        for start in range(0, len(missing), AT_ONCE):
            rows = missing[start : start + AT_ONCE]
            waveforms = torch.stack([data[int(row)].samples for row in rows])
            values[rows, place] = frontend(waveforms).values.half().numpy()
            done[rows, place] = True
            if start % (AT_ONCE * 20) == 0:
                values.flush()
                np.save(done_path, done)
    values.flush()
    np.save(done_path, done)
    return values
