"""Pitch, pauses, syllables and voice quality of sounds whose pitch, pauses and syllables are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.audio.pitch import FRAME_S, PitchTracker, pitch_track
from earwitness.audio.recording import Segment
from earwitness.paralinguistic import voice_quality as praat
from earwitness.paralinguistic.prosody import describe, file_prosody, prosody

RATE = 16_000
SAMPLE = Path(__file__).parents[2] / "samples"


def vowel(hz: float, seconds: float) -> np.ndarray:
    """A buzz with the formants of an open vowel, roughly."""
    time = np.arange(round(seconds * RATE)) / RATE
    harmonics = np.arange(1, int(4000 / hz))
    weights = 1 / harmonics + 2 * np.exp(-(((harmonics * hz - 700) / 200) ** 2))
    wave = (weights[:, None] * np.sin(2 * np.pi * hz * harmonics[:, None] * time)).sum(axis=0)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def syllables(count: int, hz: float = 120.0, rest_s: float = 0.08) -> np.ndarray:
    """Vowels of 0.15 s that rise and fall, a rest after each."""
    one = vowel(hz, 0.15) * np.hanning(round(0.15 * RATE)).astype(np.float32)
    return np.concatenate([np.concatenate([one, np.zeros(round(rest_s * RATE), np.float32)]) for _ in range(count)])


@pytest.mark.parametrize("hz", [90.0, 200.0, 350.0])
def test_pitch_of_a_buzz(hz: float) -> None:
    track = pitch_track(vowel(hz, 1.0))
    assert track.voiced.mean() > 0.9
    assert np.nanmedian(track.hz) == pytest.approx(hz, rel=0.02)
    assert np.median(track.semitones(hz)) == pytest.approx(0.0, abs=0.3)


def test_silence_and_noise_have_no_pitch() -> None:
    assert not pitch_track(np.zeros(RATE, np.float32)).voiced.any()
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert pitch_track(noise).voiced.mean() < 0.2
    assert len(pitch_track(np.zeros(0, np.float32)).hz) == 0


def test_blocks_give_the_same_track() -> None:
    sound = np.concatenate([vowel(150, 7.0), vowel(220, 6.0)])
    tracker = PitchTracker()
    for start in range(0, len(sound), 3001):
        tracker.push(sound[start : start + 3001])
    np.testing.assert_allclose(tracker.finish().hz, pitch_track(sound).hz, rtol=1e-4)


def test_syllables_and_pauses_of_a_made_up_stretch() -> None:
    sound = np.concatenate([syllables(6), np.zeros(RATE // 2, np.float32), syllables(4)])
    middle = 6 * 0.23
    speech = [Segment(0.0, middle), Segment(middle + 0.5, middle + 0.5 + 4 * 0.23)]
    levels = 10 * np.log10(np.square(sound[: len(sound) // 160 * 160].reshape(-1, 160)).mean(axis=1) + 1e-12)
    found = describe(pitch_track(sound), levels, speech)
    assert found.syllables == 10
    assert found.pauses == 1
    assert found.pause_s == pytest.approx(0.5)
    assert found.speaking_rate == pytest.approx(10 / 2.8)
    assert found.articulation_rate == pytest.approx(10 / 2.3)
    assert found.pause_share == pytest.approx(0.5 / 2.8)
    assert found.pitch_hz == pytest.approx(120, rel=0.03)


def test_without_speech_nothing_is_measured() -> None:
    found = prosody(np.zeros(2 * RATE, np.float32))
    assert found.syllables == 0
    assert found.pitch_hz is None
    assert found.speaking_rate is None
    assert found.pause_share is None


def test_a_file_is_streamed(tmp_path: Path) -> None:
    recording = next(iter(sorted(SAMPLE.rglob("*.flac"))))
    samples, rate = soundfile.read(recording, dtype="float32")
    rest = np.zeros(rate // 2, np.float32)
    long = np.concatenate([samples[:, 0] if samples.ndim > 1 else samples, rest] * 6)
    path = tmp_path / "long.wav"
    soundfile.write(path, long, rate)
    found = file_prosody(path)
    assert found.pitch_hz is not None
    assert 60 < found.pitch_hz < 400
    assert found.articulation_rate is not None
    assert 1 < found.articulation_rate < 8
    assert found.pauses > 0
    assert file_prosody(path, end_s=0.05).pitch_hz is None


@pytest.mark.skipif(not praat.available(), reason="praat-parselmouth is not installed")
def test_voice_quality_falls_with_noise() -> None:
    sound = vowel(140, 2.0)
    clean = praat.voice_quality(sound, RATE)
    noise = np.random.default_rng(1).normal(0, 0.02, len(sound)).astype(np.float32)
    noisy = praat.voice_quality(sound + noise, RATE)
    assert clean.jitter is not None
    assert clean.jitter < 0.005
    assert clean.harmonicity_db is not None
    assert noisy.harmonicity_db is not None
    assert clean.harmonicity_db > noisy.harmonicity_db + 10
    assert clean.shimmer is not None
    assert noisy.shimmer is not None
    assert noisy.shimmer > clean.shimmer


@pytest.mark.skipif(not praat.available(), reason="praat-parselmouth is not installed")
def test_voice_quality_of_next_to_nothing() -> None:
    assert praat.voice_quality(np.zeros(100, np.float32), RATE).jitter is None
    assert praat.voice_quality(np.zeros(RATE, np.float32), RATE).shimmer is None


def test_frames_are_as_long_as_said() -> None:
    assert len(pitch_track(vowel(120, 1.6)).hz) * FRAME_S == pytest.approx(1.6)
