"""A trained detector: a recording goes in, a score with its windows comes out.

The Python API, `score` and `examine` all pass through `Detector.score_windows`, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from earwitness.audio.audible import SHORTEST_S, is_audible
from earwitness.audio.reading import unhashed
from earwitness.audio.windows import (
    Window,
    WindowPolicy,
    cut,
    equal_groups,
    heard_seconds,
    stream_windows,
    total_seconds,
)
from earwitness.core.errors import AudioError, ModelError
from earwitness.corpora.quality import level_of
from earwitness.deepfake.quality import QualityEstimator
from earwitness.deepfake.retrieval.detecting import RETRIEVAL, retrieval_network
from earwitness.deepfake.scores import bona_fide_score
from earwitness.nn.layers.folding import channels_last
from earwitness.nn.network import Network
from earwitness.training.model_folder import ModelInfo, load_network, read_model_info

WINDOWS_AT_ONCE = 8  # a fixed number, so that a recording's scores do not depend on what else is scored


@dataclass(frozen=True)
class WindowScore:
    """The score of one window; seconds in the recording."""

    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True)
class DetectionScore:
    """`score` is the mean over the windows (higher = bona fide), `llr` its calibrated natural-log likelihood ratio."""

    score: float
    llr: float | None
    windows: tuple[WindowScore, ...]
    seconds_used: float
    seconds_total: float
    window_policy: str


class Detector:
    """A detection network with its window policy and calibration. `quality` predicts the MOS of each window where the
    network scores by the centroid of a recording's own level; without it such a network answers with `ModelError`."""

    def __init__(self, network: torch.nn.Module, info: ModelInfo, quality: QualityEstimator | None = None) -> None:
        self.network = network.eval()
        self.info = info
        self.quality = quality

    @classmethod
    def load(cls, folder: str | Path, quality: QualityEstimator | None = None) -> Detector:
        """From a model folder. Raises `ModelError` where the folder is altered, incomplete or of another task."""
        info = read_model_info(folder)
        if info.task != "deepfake":
            raise ModelError(f"this model answers '{info.task}', not 'deepfake'", where=folder)
        if RETRIEVAL in info.extra:
            return cls(retrieval_network(folder, info), info, quality)
        return cls(channels_last(load_network(folder, info)), info, quality)

    def hearing(self, windows: WindowPolicy) -> Detector:
        """The same network with another window policy; its calibration stays that of its own windows."""
        return Detector(self.network, self.info.model_copy(update={"windows": windows}))

    def score(self, samples: ArrayLike, rate: int) -> DetectionScore:
        """Score samples ([N] or [N, channels], any rate). Raises `AudioError` for what cannot be judged."""
        recording = unhashed(np.asarray(samples), rate, self.info.rate)
        windows = cut(recording.samples, recording.rate, self.info.windows)
        return self.score_windows(windows, recording.duration_s)

    def score_file(
        self, path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> DetectionScore:
        """Score a file, streamed: its length does not matter for memory. Raises `AudioError`."""
        windows = stream_windows(path, self.info.windows, self.info.rate, channel, start_s, end_s)
        return self.score_windows(windows, total_seconds(path, start_s, end_s))

    def score_windows(self, windows: Iterable[Window], seconds_total: float | None = None) -> DetectionScore:
        """Score windows as they come; the recording's score is their mean. Windows without sound are left out of it."""
        scored: list[WindowScore] = []
        end_s = 0.0
        for group in equal_groups(windows, WINDOWS_AT_ONCE):
            end_s = max(end_s, group[-1].end_s)
            audible = [window for window in group if is_audible(window.samples)]
            for window, score in zip(audible, self._forward(audible), strict=True):
                scored.append(WindowScore(window.start_s, window.end_s, score))
        used = heard_seconds(scored)
        if used < SHORTEST_S:
            raise AudioError(f"holds {used:.2f} s of sound; a judgement needs at least {SHORTEST_S} s")
        mean = sum(window.score for window in scored) / len(scored)
        total = end_s if seconds_total is None else seconds_total
        return DetectionScore(mean, self.info.llr(mean), tuple(scored), used, total, self.info.windows.name)

    @torch.inference_mode()
    def _forward(self, windows: list[Window]) -> list[float]:
        if not windows:
            return []
        waveforms = torch.stack([torch.from_numpy(window.samples) for window in windows])
        own = self._own_levels(windows)
        if own is None:
            return [float(value) for value in bona_fide_score(self.network(waveforms, None))]
        assert isinstance(self.network, Network)
        similarities = self.network(waveforms, None, give="similarities")
        return [float(value) for value in self.network.centroids().score(similarities, own)]

    def _own_levels(self, windows: list[Window]) -> torch.Tensor | None:
        """The level of each window, for a network that scores by it."""
        if self.quality is None or not isinstance(self.network, Network) or not self.network.scores_by_own:
            return None
        own = self.network.centroids().config.own
        assert own is not None
        found = [self.quality.score(window.samples, self.info.rate).score for window in windows]
        return torch.tensor([level_of(mos, own.thresholds) for mos in found])
