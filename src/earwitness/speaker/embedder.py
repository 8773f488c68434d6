"""A trained speaker embedder: a recording goes in, a voice print comes out; prints are compared to a calibrated LLR."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from earwitness.audio.audible import SHORTEST_S, is_audible
from earwitness.audio.reading import unhashed
from earwitness.audio.recording import Segment
from earwitness.audio.windows import Window, cut, equal_groups, heard_seconds, stream_windows, total_seconds
from earwitness.core.errors import AudioError, ModelError
from earwitness.core.growing import GrowingRows
from earwitness.nn.layers.folding import channels_last
from earwitness.nn.network import Network
from earwitness.nn.types import Embedding
from earwitness.speaker.comparison import Cohort, Comparator, Vectors, enrol, unit
from earwitness.speaker.identities import COHORT_SPEAKERS, keys_in
from earwitness.speaker.uncertainty import harmonic_variance
from earwitness.training.model_folder import COHORT_FILE, ModelInfo, load_arrays, load_network, read_model_info

WINDOWS_AT_ONCE = 8  # fixed, so that a voice print does not depend on what else is scored
COMPARISON, FUSED = "comparison", "fused"  # where a model's description keeps what its recipe says of the variance
SHORTEST_REST_S = 0.1  # of a last window that is mostly heard already


@dataclass(frozen=True)
class VoicePrint:
    """`vector` [D] of unit length; `windows` [W, D] unit vectors of the windows, which lie at `spans`.

    `variance` [D], where the network states one, is of the embedding before it was made a unit vector; `norm` was its
    length. It falls with the seconds heard, so it is told beside them.
    """

    vector: Vectors
    windows: Vectors
    spans: tuple[Segment, ...]
    seconds_used: float
    seconds_total: float
    variance: Vectors | None = None
    norm: float = 1.0

    @property
    def mean_variance(self) -> float | None:
        """How uncertain the print is by the network's own account; None where it gives none."""
        return None if self.variance is None else float(self.variance.mean(dtype=np.float64))


@dataclass(frozen=True)
class Heard:
    """W windows: their unit vectors [W, D], the lengths before [W], and variances [W, D] where the network states
    any."""

    vectors: Vectors
    norms: Vectors
    variances: Vectors | None


class Embedder:
    """A speaker network with its window policy, cohort and calibration."""

    def __init__(self, network: Network, info: ModelInfo, cohort: Cohort | None = None) -> None:
        self.network = network.eval()
        self.info = info
        self.comparator = Comparator(
            cohort, use="conservative" if info.extra.get(COMPARISON) == "conservative" else "none"
        )
        self._fuses = info.extra.get(FUSED) == "posterior"

    @property
    def states_variance(self) -> bool:
        """Whether voice prints come with their own variance."""
        return self.network.states_variance

    @classmethod
    def load(cls, folder: str | Path) -> Embedder:
        """From a model folder. Raises `ModelError` where the folder is altered, incomplete or of another task."""
        info = read_model_info(folder)
        if info.task != "speaker":
            raise ModelError(f"this model answers '{info.task}', not 'speaker'", where=folder)
        network = channels_last(load_network(folder, info))  # verifies every file of the folder
        cohort = None
        if info.cohort is not None:
            arrays = load_arrays(Path(folder) / COHORT_FILE)
            keys = keys_in(info.extra.get(COHORT_SPEAKERS))
            # stored in half precision
            cohort = Cohort(unit(arrays["cohort"]), info.cohort.top, keys, variances=arrays.get("variances"))
        return cls(network, info, cohort)

    def compared_by(self, comparator: Comparator) -> Embedder:
        """The same voice prints compared in another way; the calibration, which is of the model's own, stays behind."""
        other = copy(self)
        other.info = self.info.model_copy(update={"calibration": None, "cohort": None})
        other.comparator = comparator
        return other

    def embed(self, samples: ArrayLike, rate: int) -> VoicePrint:
        """The voice print of samples ([N] or [N, channels], any rate). Raises `AudioError` for what can't be judged."""
        recording = unhashed(np.asarray(samples), rate, self.info.rate)
        return self.embed_windows(cut(recording.samples, recording.rate, self.info.windows), recording.duration_s)

    def embed_file(
        self, path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> VoicePrint:
        """The voice print of a file, streamed. Raises `AudioError`."""
        windows = stream_windows(path, self.info.windows, self.info.rate, channel, start_s, end_s)
        return self.embed_windows(windows, total_seconds(path, start_s, end_s))

    def embed_windows(self, windows: Iterable[Window], seconds_total: float | None = None) -> VoicePrint:
        """The unit mean of the windows' unit embeddings; windows without sound are left out of it.

        The variance is the windows' harmonic mean; of a model that fuses them by the posterior, vector and variance are
        those of the whole.
        """
        heard = _Gathered()
        spans: list[Segment] = []
        whole = _Whole(self.network) if self._fuses else None
        end_s = 0.0
        for group in equal_groups(windows, WINDOWS_AT_ONCE):
            end_s = max(end_s, group[-1].end_s)
            audible = [window for window in group if is_audible(window.samples)]
            if audible:
                found, pooled = self._hear(audible)
                heard.add(found)
                spans.extend(Segment(window.start_s, window.end_s) for window in audible)
                if whole is not None:
                    whole.add(audible, pooled, self.info.rate)
        used = heard_seconds(spans)
        if used < SHORTEST_S:
            raise AudioError(f"holds {used:.2f} s of sound; a voice needs at least {SHORTEST_S} s")
        all_heard = heard.all()
        total = end_s if seconds_total is None else seconds_total
        print_ = VoicePrint(enrol(all_heard.vectors), all_heard.vectors, tuple(spans), used, total)
        if not self.states_variance:
            return print_
        return replace(print_, **(_over_windows(all_heard, spans) if whole is None else whole.told()))

    def compare(self, enrolment: Iterable[VoicePrint], test: VoicePrint) -> float:
        """The score of a test print against one or more prints of the claimed speaker; higher = same speaker."""
        known = tuple(enrolment)
        model = enrol(np.stack([print_.vector for print_ in known]))
        stated = stacked_variances(known)
        of_model = None if stated is None else stated.mean(axis=0, keepdims=True)  # as released for cohorts
        return float(self.comparator.pairs(model[None], test.vector[None], (of_model, stacked_variances([test])))[0])

    def forward(self, windows: list[Window]) -> Vectors:
        """Unit embeddings [W, D] of windows of equal length, in one batch."""
        return self.hear(windows).vectors

    def hear(self, windows: list[Window]) -> Heard:
        """All that the network says of windows of equal length, in one batch."""
        return self._hear(windows)[0]

    @torch.inference_mode()
    def _hear(self, windows: list[Window]) -> tuple[Heard, Embedding]:
        """The same, with what the embedding layer was given."""
        waveforms = torch.stack([torch.from_numpy(window.samples) for window in windows])
        pooled = self.network.pool(waveforms)
        return _heard(self.network.project(pooled)), pooled


class _Whole:
    """The posterior of a whole recording, window after window; every frame counts once."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._pooled: Embedding | None = None
        self._heard_to_s = 0.0

    @torch.inference_mode()
    def add(self, windows: list[Window], pooled: Embedding, rate: int) -> None:
        """Windows in order, with what the network made of them; one that begins before the last one's end (as the last
        of a recording may) is heard again from there on, where that is 0.1 s or more."""
        for place, window in enumerate(windows):
            repeated_s = self._heard_to_s - window.start_s
            self._heard_to_s = window.end_s
            if repeated_s <= 0:
                variance = pooled.variance
                assert variance is not None
                self._take(Embedding(pooled.mean[place, None], variance[place, None]))
            elif window.end_s - window.start_s - repeated_s >= SHORTEST_REST_S:
                rest = torch.from_numpy(window.samples[round(repeated_s * rate) :])
                self._take(self._network.pool(rest.unsqueeze(0)))

    def _take(self, part: Embedding) -> None:
        self._pooled = self._network.fuse([part] if self._pooled is None else [self._pooled, part])

    @torch.inference_mode()
    def told(self) -> dict[str, Any]:
        """Vector, variance and norm of a print."""
        assert self._pooled is not None
        found = _heard(self._network.project(self._pooled))
        assert found.variances is not None
        return {"vector": found.vectors[0], "variance": found.variances[0], "norm": float(found.norms[0])}


def _heard(embedding: Embedding) -> Heard:
    vectors = torch.nn.functional.normalize(embedding.mean, dim=1)
    norms = np.asarray(embedding.mean.norm(dim=1).numpy(), np.float32)
    variance = embedding.variance
    variances = None if variance is None else np.asarray(variance.numpy(), np.float32)
    return Heard(np.asarray(vectors.numpy(), np.float32), norms, variances)


class _Gathered:
    """All windows of a recording, group after group."""

    def __init__(self) -> None:
        self._vectors, self._norms, self._variances = GrowingRows(), GrowingRows(), GrowingRows()
        self._states_variance = False

    def add(self, heard: Heard) -> None:
        self._vectors.add(heard.vectors)
        self._norms.add(heard.norms)
        if heard.variances is not None:
            self._states_variance = True
            self._variances.add(heard.variances)

    def all(self) -> Heard:
        variances = self._variances.all() if self._states_variance else None
        return Heard(self._vectors.all(), self._norms.all(), variances)


def _over_windows(heard: Heard, spans: Sequence[Segment]) -> dict[str, Any]:
    """Variance and norm of a print whose vector is the windows' unit mean."""
    seconds = np.array([span.end_s - span.start_s for span in spans])
    raw = heard.vectors * heard.norms[:, None]
    norm = float(np.linalg.norm((seconds[:, None] * raw).sum(axis=0) / seconds.sum()))
    assert heard.variances is not None
    return {"variance": harmonic_variance(heard.variances, seconds), "norm": norm}


def stacked_variances(prints: Sequence[VoicePrint]) -> Vectors | None:
    """The variances [n, D] of prints; None where one has none."""
    found = [print_.variance for print_ in prints if print_.variance is not None]
    return np.stack(found) if found and len(found) == len(prints) else None
