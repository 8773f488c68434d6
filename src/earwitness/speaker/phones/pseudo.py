"""Pseudo-phones: k-means clusters of short-time spectra, for when no recogniser is at hand and as a control.

They split speech by how it sounds, not by what is said, and are called pseudo-phones everywhere. (Ours; the source
names none.)
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.audio.reading import RATE
from earwitness.audio.recording import Samples
from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_data
from earwitness.nn.frontends.fbank import FbankConfig
from earwitness.speaker.phones import ctc
from earwitness.speaker.phones.inventory import clusters
from earwitness.speaker.phones.source import Mark, Recogniser
from earwitness.speaker.phones.track import Maker

Floats = NDArray[np.float32]
MOST_FRAMES = 100_000  # that clusters are learnt from, evenly over what is given
_FBANK = FbankConfig(n_mels=24)


class PseudoPhones(Recogniser):
    """Each 10 ms is called after the nearest of `centres` [I, 24], in log mel energies without their mean."""

    def __init__(self, centres: Floats) -> None:
        self.centres = np.ascontiguousarray(centres, np.float32)
        self._frontend = _FBANK.build()
        self.inventory = clusters(len(centres))
        name = f"{len(centres)} clusters {sha256_data(self.centres.astype(float).round(4).tolist())[:12]}"
        self.maker = Maker("clusters", name, "none")

    @classmethod
    def learnt(cls, sounds: Iterable[Samples], count: int, seed: int = 0) -> PseudoPhones:
        """Clusters of the frames of recordings at 16 kHz. Raises `DataError` for fewer frames than clusters."""
        from sklearn.cluster import KMeans

        frontend = _FBANK.build()
        frames = [_frames(frontend, sound) for sound in sounds if len(sound) >= _FBANK.window]
        every = np.concatenate(frames) if frames else np.zeros((0, _FBANK.n_mels), np.float32)
        if len(every) < count:
            raise DataError(f"{len(every)} frames give no {count} pseudo-phones", fix="Give more recordings.")
        chosen = every[:: -(-len(every) // MOST_FRAMES)]
        return cls(KMeans(count, n_init=1, random_state=seed).fit(chosen).cluster_centers_)

    def marks(self, samples: Samples) -> Iterable[Mark]:
        """Runs of frames of one cluster; they cover all samples."""
        frames = _frames(self._frontend, samples)
        distance = (self.centres**2).sum(1) - 2 * frames @ self.centres.T
        names = [self.inventory.phones[place] for place in distance.argmin(1)]
        shift_s, end_s = (_FBANK.window - _FBANK.hop) / 2 / RATE, len(samples) / RATE
        found = list(ctc.stretches(names, _FBANK.hop / RATE))
        for number, (start_s, stop_s, name) in enumerate(found):
            first, last = number == 0, number == len(found) - 1
            yield 0.0 if first else start_s + shift_s, end_s if last else stop_s + shift_s, name

    def reading(self, symbol: str) -> str | None:
        """Names are their own."""
        return symbol


@torch.inference_mode()
def _frames(frontend: torch.nn.Module, samples: Samples) -> Floats:
    """[T, 24]."""
    values = frontend(torch.from_numpy(np.ascontiguousarray(samples, np.float32))[None]).values[0]
    return np.asarray(values.numpy(), np.float32)
