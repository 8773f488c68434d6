"""A trained speaker embedder: a recording goes in, a voice print comes out; prints are compared to a calibrated LLR."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from earwitness.audio.audible import SHORTEST_S, is_audible
from earwitness.audio.reading import from_samples
from earwitness.audio.recording import Segment
from earwitness.audio.windows import Window, cut, equal_groups, heard_seconds, stream_windows, total_seconds
from earwitness.core.errors import AudioError, ModelError
from earwitness.nn.network import Network
from earwitness.speaker.comparison import Cohort, Comparator, Vectors, enrol, unit
from earwitness.speaker.identities import COHORT_SPEAKERS, keys_in
from earwitness.training.model_folder import COHORT_FILE, ModelInfo, load_arrays, load_network, read_model_info

WINDOWS_AT_ONCE = 16  # fixed, so that a voice print does not depend on what else is scored


@dataclass(frozen=True)
class VoicePrint:
    """`vector` [D] of unit length; `windows` [W, D] unit vectors of the windows, which lie at `spans`."""

    vector: Vectors
    windows: Vectors
    spans: tuple[Segment, ...]
    seconds_used: float
    seconds_total: float


class Embedder:
    """A speaker network with its window policy, cohort and calibration."""

    def __init__(self, network: Network, info: ModelInfo, cohort: Cohort | None = None) -> None:
        self.network = network.eval()
        self.info = info
        self.comparator = Comparator(cohort)

    @classmethod
    def load(cls, folder: str | Path) -> Embedder:
        """From a model folder. Raises `ModelError` where the folder is altered, incomplete or of another task."""
        info = read_model_info(folder)
        if info.task != "speaker":
            raise ModelError(f"this model answers '{info.task}', not 'speaker'", where=folder)
        network = load_network(folder, info)  # verifies every file of the folder
        cohort = None
        if info.cohort is not None:
            vectors = load_arrays(Path(folder) / COHORT_FILE)["cohort"]
            keys = keys_in(info.extra.get(COHORT_SPEAKERS))
            cohort = Cohort(unit(vectors), info.cohort.top, keys)  # stored in half precision
        return cls(network, info, cohort)

    def compared_by(self, comparator: Comparator) -> Embedder:
        """The same voice prints compared in another way; the calibration, which is of the model's own, stays behind."""
        other = copy(self)
        other.info = self.info.model_copy(update={"calibration": None, "cohort": None})
        other.comparator = comparator
        return other

    def embed(self, samples: ArrayLike, rate: int) -> VoicePrint:
        """The voice print of samples ([N] or [N, channels], any rate). Raises `AudioError` for what can't be judged."""
        recording = from_samples(np.asarray(samples), rate, self.info.rate)
        return self.embed_windows(cut(recording.samples, recording.rate, self.info.windows), recording.duration_s)

    def embed_file(
        self, path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> VoicePrint:
        """The voice print of a file, streamed. Raises `AudioError`."""
        windows = stream_windows(path, self.info.windows, self.info.rate, channel, start_s, end_s)
        return self.embed_windows(windows, total_seconds(path, start_s, end_s))

    def embed_windows(self, windows: Iterable[Window], seconds_total: float | None = None) -> VoicePrint:
        """The unit mean of the windows' unit embeddings; windows without sound are left out of it."""
        vectors: list[Vectors] = []
        spans: list[Segment] = []
        end_s = 0.0
        for group in equal_groups(windows, WINDOWS_AT_ONCE):
            end_s = max(end_s, group[-1].end_s)
            audible = [window for window in group if is_audible(window.samples)]
            if audible:
                vectors.append(self.forward(audible))
                spans.extend(Segment(window.start_s, window.end_s) for window in audible)
        used = heard_seconds(spans)
        if used < SHORTEST_S:
            raise AudioError(f"holds {used:.2f} s of sound; a voice needs at least {SHORTEST_S} s")
        stacked = np.concatenate(vectors)
        total = end_s if seconds_total is None else seconds_total
        return VoicePrint(enrol(stacked), stacked, tuple(spans), used, total)

    def compare(self, enrolment: Iterable[VoicePrint], test: VoicePrint) -> float:
        """The score of a test print against one or more prints of the claimed speaker; higher = same speaker."""
        model = enrol(np.stack([known.vector for known in enrolment]))
        return float(self.comparator.pairs(model[None], test.vector[None])[0])

    @torch.inference_mode()
    def forward(self, windows: list[Window]) -> Vectors:
        """Unit embeddings [W, D] of windows of equal length, in one batch."""
        waveforms = torch.stack([torch.from_numpy(window.samples) for window in windows])
        vectors = torch.nn.functional.normalize(self.network.embed(waveforms, None).mean, dim=1)
        return np.asarray(vectors.numpy(), np.float32)
