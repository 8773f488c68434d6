"""Pitch of tones is theirs, silence has none, and a recording that comes in blocks has the same track."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.audio.audible import AUDIBLE_PEAK, is_audible
from earwitness.audio.pitch import FRAME_S, PITCH_RATE, PitchTracker, pitch_track

WHOLE = 12.0  # seconds: above one block of the tracker


def glide(seconds: float, low: float, high: float) -> np.ndarray:
    """A voice-like tone with five harmonics whose pitch rises evenly in octaves."""
    hz = low * (high / low) ** (np.arange(round(seconds * PITCH_RATE)) / (seconds * PITCH_RATE))
    phase = 2 * np.pi * np.cumsum(hz) / PITCH_RATE
    return (0.1 * sum(np.sin(k * phase) / k for k in range(1, 6))).astype(np.float32)


@pytest.mark.parametrize("hz", [90.0, 200.0, 440.0])
def test_the_pitch_of_a_steady_tone(hz: float) -> None:
    track = pitch_track(glide(1.0, hz, hz))
    assert track.voiced.mean() > 0.9
    assert np.median(track.hz[track.voiced]) == pytest.approx(hz, rel=0.02)
    assert np.median(track.semitones(hz)) == pytest.approx(0, abs=0.4)
    assert np.median(track.semitones(hz / 2)) == pytest.approx(12, abs=0.4)
    assert len(track.semitones()) == track.voiced.sum()


def test_silence_has_no_pitch() -> None:
    track = pitch_track(np.zeros(PITCH_RATE, np.float32))
    assert not track.voiced.any()
    assert len(track.semitones()) == 0
    assert len(track.hz) == pytest.approx(1 / FRAME_S, abs=2)


def test_the_track_is_the_same_however_a_recording_is_cut() -> None:
    sound = np.concatenate([glide(WHOLE - 2, 100, 200), np.zeros(2 * PITCH_RATE, np.float32)])
    whole = pitch_track(sound)
    assert np.nanmedian(whole.hz[: round(1 / FRAME_S)]) == pytest.approx(103.5, rel=0.03)
    tracker = PitchTracker()
    for at in range(0, len(sound), 7_001):
        tracker.push(sound[at : at + 7_001])
    cut = tracker.finish()
    assert np.array_equal(cut.voiced, whole.voiced)
    assert np.nan_to_num(cut.hz) == pytest.approx(np.nan_to_num(whole.hz), rel=1e-4)


def test_what_is_audible() -> None:
    assert not is_audible(np.empty(0, np.float32))
    assert not is_audible(np.full(100, AUDIBLE_PEAK / 2, np.float32))
    assert is_audible(np.array([0, -2 * AUDIBLE_PEAK, 0], np.float32))
