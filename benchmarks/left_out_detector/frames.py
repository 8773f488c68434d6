"""The frames of the encoder's first layer for all rows and views of a recipe, kept in files that an interrupted run
fills on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from material import Heard
from numpy.typing import NDArray

from earwitness.corpora.batches import UtteranceDataset
from earwitness.nn.frontends.whisper import WhisperConfig
from earwitness.training.conditions import put_under
from earwitness.training.data import utterance_options

AT_ONCE = 16


@torch.inference_mode()
def kept_frames(heard: Heard, folder: Path) -> NDArray[np.float16]:
    """float16 [R, V, T, D]."""
    folder.mkdir(parents=True, exist_ok=True)
    frontend = WhisperConfig(layers=(1,), aggregation="layer").build()
    options = replace(utterance_options(heard.recipe), keep_in_memory=False)
    frames = frontend(torch.zeros(1, round((options.crop_s or 0) * options.rate))).values.shape[1]
    shape = (len(heard.rows), len(heard.recipe.views), frames, frontend.dim)
    path, done_path = folder / "frames.npy", folder / "done.npy"
    new = not path.is_file()
    values = np.lib.format.open_memmap(path, "w+" if new else "r+", np.float16, shape if new else None)
    done = np.zeros(shape[:2], bool) if new else np.load(done_path, allow_pickle=False)
    for place, view in enumerate(heard.recipe.views):
        condition = isinstance(view, str)
        heard_so = replace(options, crop_from="start", perturbation=partial(put_under, view)) if condition else options
        data = UtteranceDataset(heard.rows, heard_so)
        data.set_epoch(0 if isinstance(view, str) else view)
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
