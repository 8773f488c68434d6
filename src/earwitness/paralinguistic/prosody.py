"""How a recording is spoken, as measured facts: pitch, loudness, pauses and speaking rate. No verdicts.

Syllables are counted by their nuclei, without a transcript, after de Jong and Wempe (2009): peaks of the level that
are voiced, at most `BELOW_LOUDEST_DB` below the loudest, and stand out from both sides by at least `DIP_DB`. On short
read sentences the count is right on average within a fifth, and far off for single ones (docs/systems/manner.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from earwitness.audio.pitch import FRAME_S, PITCH_RATE, PitchTrack, PitchTracker
from earwitness.audio.reading import stream
from earwitness.audio.recording import Samples, Segment
from earwitness.audio.speech import LevelFrames, SpeechTracker

BELOW_LOUDEST_DB, DIP_DB = 25.0, 1.0
SMOOTH_S = 0.015  # of the level, one standard deviation
LONG_PAUSE_S = 0.2  # shorter silences belong to stops
LEAST_VOICED_S, LEAST_SPEECH_S = 0.3, 1.0  # below these pitch, or rate and pauses, are not measured
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Prosody:
    """Measured of one recording; None where there is too little speech to measure it on.

    Speech is the stretch from the first to the last voice activity, with its pauses. Rates are syllables a second: of
    the whole stretch (`speaking_rate`), and without pauses (`articulation_rate`).
    """

    speech_s: float  # voice activity, without pauses
    pitch_hz: float | None  # median of voiced frames
    pitch_low_hz: float | None  # 5 and 95 in a hundred of them
    pitch_high_hz: float | None
    pitch_sd_semitones: float | None
    voiced_share: float | None  # of voice activity
    level_sd_db: float | None  # of 10 ms frames of voice activity, smoothed
    syllables: int
    speaking_rate: float | None
    articulation_rate: float | None
    pauses: int  # of at least `LONG_PAUSE_S` between first and last voice activity
    pause_share: float | None  # of that stretch
    pause_s: float | None  # mean duration


class ProsodyTracker:
    """`Prosody` of a recording at 16 kHz that comes in blocks; memory grows by a few numbers a frame."""

    def __init__(self) -> None:
        self._pitch = PitchTracker()
        self._speech = SpeechTracker(PITCH_RATE)
        self._levels = LevelFrames(PITCH_RATE)

    def push(self, block: Samples) -> None:
        """The next samples, float32 [N]."""
        self._pitch.push(block)
        self._speech.push(block)
        self._levels.push(block)

    def finish(self) -> Prosody:
        """What was measured of all that was pushed."""
        return describe(self._pitch.finish(), self._levels.finish().astype(np.float64), self._speech.finish())


def prosody(samples: Samples) -> Prosody:
    """Of samples [N] at 16 kHz. Raises `MissingPartError` where the package silero-vad is not installed."""
    tracker = ProsodyTracker()
    tracker.push(samples)
    return tracker.finish()


def file_prosody(
    path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
) -> Prosody:
    """Of a file, streamed. Raises what `reading.load` raises."""
    tracker = ProsodyTracker()
    for block in stream(path, PITCH_RATE, channel, start_s, end_s):
        tracker.push(block)
    return tracker.finish()


def describe(pitch: PitchTrack, levels_db: Numbers, speech: list[Segment]) -> Prosody:
    """From a pitch track, levels [T] of 10 ms frames in dBFS, and the stretches of voice activity."""
    spoken = sum(segment.duration_s for segment in speech)
    pauses = [
        after.start_s - before.end_s
        for before, after in pairwise(speech)
        if after.start_s - before.end_s >= LONG_PAUSE_S
    ]
    stretch = speech[-1].end_s - speech[0].start_s if speech else 0.0
    inside_pitch = _inside(speech, len(pitch.hz), FRAME_S)
    voiced = PitchTrack(pitch.hz[inside_pitch])
    level = gaussian_filter1d(levels_db, SMOOTH_S / 0.01) if len(levels_db) else levels_db
    within = _inside(speech, len(level), 0.01)
    count = len(_nuclei(level, within, pitch))
    enough = spoken >= LEAST_SPEECH_S
    return Prosody(
        speech_s=spoken,
        **_pitch_facts(voiced),
        voiced_share=float(voiced.voiced.mean()) if enough and len(voiced.hz) else None,
        level_sd_db=float(level[within].std()) if enough and within.any() else None,
        syllables=count,
        speaking_rate=count / stretch if enough else None,
        articulation_rate=count / (stretch - sum(pauses)) if enough else None,
        pauses=len(pauses),
        pause_share=sum(pauses) / stretch if enough else None,
        pause_s=float(np.mean(pauses)) if pauses else None,
    )


def _pitch_facts(voiced: PitchTrack) -> dict[str, float | None]:
    names = ("pitch_hz", "pitch_low_hz", "pitch_high_hz", "pitch_sd_semitones")
    if voiced.voiced.sum() * FRAME_S < LEAST_VOICED_S:
        return dict.fromkeys(names)
    hz = voiced.hz[voiced.voiced]
    values = (np.median(hz), *np.percentile(hz, [5, 95]), voiced.semitones().std())
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _nuclei(level: Numbers, within: NDArray[np.bool_], pitch: PitchTrack) -> NDArray[np.int64]:
    """The frames of 10 ms in which a syllable has its nucleus."""
    if not within.any():
        return np.empty(0, np.int64)
    loudest = np.percentile(level[within], 99)
    peaks, _ = find_peaks(level, height=loudest - BELOW_LOUDEST_DB, prominence=DIP_DB)
    frame = np.minimum((peaks * 0.01 / FRAME_S).astype(np.int64), len(pitch.hz) - 1)
    found: NDArray[np.int64] = peaks[within[peaks] & pitch.voiced[frame]]
    return found


def _inside(speech: list[Segment], count: int, frame_s: float) -> NDArray[np.bool_]:
    """Which of `count` frames have their middle in voice activity."""
    middle = (np.arange(count) + 0.5) * frame_s
    inside = np.zeros(count, bool)
    for segment in speech:
        inside |= (middle >= segment.start_s) & (middle < segment.end_s)
    return inside
