"""The trace of a detector's latent entropy, as a track of its finding. It answers nothing; it shows where frames
differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.audio.windows import stream_windows
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.latent_trace import Trace, has_latent_entropy, traces_of
from earwitness.examine.finding import Track

STEP_S = 0.1
MOST_STEPS = 3000
CAUTION = (
    "The latent entropy is a property of this model's code for each frame, in nats per dimension. It is not a "
    "probability, compares within this model only, and whether human or synthetic speech has more of it is measured "
    "for each data set (`earwitness model direction`), not known beforehand. Silence changes it strongly."
)


@dataclass(frozen=True)
class LatentTrack:
    """The track, and what must be said beside it; empty for a model that has no latent entropy."""

    tracks: tuple[Track, ...] = ()
    evidence: tuple[str, ...] = ()


def latent_track(path: str | Path, channel: int | None, detector: Detector) -> LatentTrack:
    """H_t / D in steps of 0.1 s, longer ones in very long recordings. Raises `AudioError` for what cannot be read."""
    if not has_latent_entropy(detector):
        return LatentTrack()
    info = detector.info
    traces = list(traces_of(detector, stream_windows(path, info.windows, info.rate, channel)))
    if not traces:
        return LatentTrack()
    repeated = any(trace.repeated for trace in traces)
    said = (CAUTION, "The recording is shorter than the model's window and was repeated; the trace shows it once.")
    return LatentTrack((_track(traces),), said if repeated else said[:1])


def _track(traces: Sequence[Trace]) -> Track:
    """Where windows overlap, the earlier one tells."""
    step = max(STEP_S, traces[-1].end_s / MOST_STEPS)
    starts: list[float] = []
    ends: list[float] = []
    values: list[float] = []
    told = 0.0
    for trace in traces:
        frame_s = (trace.end_s - trace.start_s) / len(trace.entropy)
        first = max(0, math.ceil((told - trace.start_s) / frame_s - 1e-6))
        size = max(1, round(step / frame_s))
        for start in range(first, len(trace.entropy), size):
            part = trace.entropy[start : start + size]
            starts.append(trace.start_s + start * frame_s)
            ends.append(trace.start_s + (start + len(part)) * frame_s)
            values.append(float(np.mean(part)))
        told = trace.end_s
    return Track(
        name="latent entropy (not a probability)",
        unit="nats per dimension",
        starts_s=tuple(starts),
        ends_s=tuple(ends),
        values=tuple(values),
        high_means="more entropy",
        low_means="less entropy",
        neutral=None,
    )
