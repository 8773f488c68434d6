"""Speech is found where it is, by both rules, whole or in blocks."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from earwitness.audio import (
    EnergyRule,
    Segment,
    SileroRule,
    SpeechRule,
    SpeechTracker,
    from_samples,
    load,
    speech_rule,
    speech_segments,
    trim_silence,
)
from earwitness.audio import silero as silero_module
from earwitness.audio.speech import _segments
from earwitness.core.config import parse_config
from earwitness.core.errors import MissingPartError, RecipeError

RATE = 16_000
needs_silero = pytest.mark.skipif(importlib.util.find_spec("silero_vad") is None, reason="silero-vad is not installed")
RULES = [pytest.param(SileroRule(), marks=needs_silero), EnergyRule()]


@pytest.fixture(scope="module")
def spoken(shared_data: Path) -> np.ndarray:
    """2 s of a room's silence, a read sentence of about 4 s, 2 s of silence, the sentence again, 2 s of silence."""
    path = sorted((shared_data / "speechocean762").rglob("*.flac"))[0]
    sentence = load(path).samples
    silence = np.random.default_rng(0).normal(0, 3e-4, 2 * RATE).astype(np.float32)
    return np.concatenate([silence, sentence, silence, sentence, silence])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_a_sentence_between_silences_is_found(spoken: np.ndarray, rule: SpeechRule) -> None:
    segments = speech_segments(spoken, RATE, rule)
    sentence_s = (len(spoken) / RATE - 6) / 2
    second = 4 + sentence_s
    speech_s = sum(segment.duration_s for segment in segments)
    assert 2 <= segments[0].start_s < 2 + sentence_s / 2
    assert second + sentence_s / 2 < segments[-1].end_s <= second + sentence_s + 0.1
    assert 0.4 * sentence_s < speech_s / 2 <= sentence_s + 0.1
    assert not any(segment.end_s > 2.1 + sentence_s and segment.start_s < second - 0.1 for segment in segments)


@needs_silero
def test_silero_takes_no_noise_or_tone_for_speech(tone) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    assert speech_segments(noise, RATE) == []
    assert speech_segments(tone(3), RATE) == []


@needs_silero
def test_silero_equals_its_frame_by_frame_edition(spoken: np.ndarray) -> None:
    """The same network, run as its authors stream it: 512 samples a call after the 64 before."""
    import onnxruntime

    folder = Path(importlib.util.find_spec("silero_vad").origin).parent / "data"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / "silero_vad.onnx"), options)
    state, before, expected = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), []
    for frame in spoken[: len(spoken) // 512 * 512].reshape(-1, 512):
        inputs = {"input": np.concatenate([before, frame])[None], "state": state, "sr": np.array(RATE)}
        probability, state = session.run(None, inputs)
        before = frame[-64:]
        expected.append(probability[0, 0])
    ours = silero_module.SileroFrames()
    ours.push(spoken)
    assert np.abs(ours.finish()[: len(expected)] - expected).max() < 1e-5


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_blocks_give_the_same_segments(speechlike, rule: SpeechRule, rate: int) -> None:
    samples = np.concatenate([np.zeros(rate, np.float32), speechlike(6, rate, seed=3), np.zeros(rate, np.float32)])
    tracker = SpeechTracker(rate, rule)
    for block in np.array_split(samples, [7, 1000, 1001, 33_333]):
        tracker.push(block)
    assert tracker.finish() == speech_segments(samples, rate, rule)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_segments_are_ordered_apart_and_inside(spoken: np.ndarray, rule: SpeechRule) -> None:
    for count in (len(spoken), 3 * RATE + 17, 500, 1):
        segments = speech_segments(spoken[:count], RATE, rule)
        times = [time for segment in segments for time in (segment.start_s, segment.end_s)]
        assert times == sorted(times)
        assert all(0 <= time <= count / RATE for time in times)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_silence_has_no_speech(rule: SpeechRule) -> None:
    zeros = np.zeros(2 * RATE, np.float32)
    assert speech_segments(zeros, RATE, rule) == []
    assert trim_silence(zeros, RATE, rule) is zeros
    assert speech_segments(zeros[:0], RATE, rule) == []


def test_energy_rule_finds_a_tone_to_the_frame(tone) -> None:
    samples = np.concatenate([np.zeros(RATE, np.float32), tone(1), np.zeros(RATE // 2, np.float32)])
    (segment,) = speech_segments(samples, RATE, EnergyRule(padding_s=0))
    assert segment.start_s == pytest.approx(1, abs=0.021)
    assert segment.end_s == pytest.approx(2, abs=0.021)


def test_energy_rule_hears_a_recording_without_pauses(tone) -> None:
    assert speech_segments(tone(2), RATE, "energy") == [Segment(0, 2)]


@pytest.mark.parametrize("level", [1.0, 0.03])
def test_energy_rule_does_not_mind_the_level(speechlike, level: float) -> None:
    samples = speechlike(5) * 0.9
    loud = speech_segments(samples, RATE, EnergyRule(quietest_db=-90))
    assert speech_segments(samples * level, RATE, EnergyRule(quietest_db=-90)) == loud


def test_runs_bridge_weed_and_pad() -> None:
    rule = EnergyRule(shortest_speech_s=0.25, shortest_pause_s=0.1, padding_s=0.03)
    flags = np.zeros(200, bool)
    flags[20:50] = flags[55:60] = True  # 0.05 s apart: one segment
    flags[100:110] = True  # too short
    flags[140:200] = True
    found = _segments(flags, flags, 0.01, 2.0, rule)
    assert np.allclose([(s.start_s, s.end_s) for s in found], [(0.17, 0.63), (1.37, 2.0)])


def test_hysteresis_starts_high_and_goes_on_low() -> None:
    rule = SileroRule(padding_s=0, shortest_speech_s=0)
    numbers = np.array([0.4, 0.4, 0.6, 0.4, 0.4, 0.1, 0.1, 0.1, 0.1, 0.4, 0.4], np.float32)
    assert _segments(*rule.speaks(numbers), 0.1, 1.1, rule) == [Segment(0.2, 0.5)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_trimming_keeps_pauses(spoken: np.ndarray, rule: SpeechRule) -> None:
    trimmed = trim_silence(spoken, RATE, rule)
    segments = speech_segments(spoken, RATE, rule)
    assert len(trimmed) == round(segments[-1].end_s * RATE) - round(segments[0].start_s * RATE)
    assert 0 < len(spoken) - len(trimmed) - 4 * RATE < len(spoken) / 2
    start = round(segments[0].start_s * RATE)
    assert np.array_equal(trimmed[:1000], spoken[start : start + 1000])


def test_trimming_at_another_rate(spoken: np.ndarray) -> None:
    low = from_samples(spoken, RATE, 8_000).samples
    assert len(trim_silence(low, 8_000, "energy")) == pytest.approx(
        len(trim_silence(spoken, RATE, "energy")) / 2, abs=400
    )


def test_rules_are_named_and_configured() -> None:
    assert speech_rule("energy") == EnergyRule()
    assert SileroRule().name == "silero-vad, threshold 0.5"
    assert parse_config(SpeechRule, {"kind": "silero", "threshold": 0.6}) == SileroRule(threshold=0.6)
    with pytest.raises(RecipeError, match="allowed: silero, energy"):
        speech_rule("loudness")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    silero_module._session.cache_clear()
    with pytest.raises(MissingPartError, match="silero-vad"):
        speech_segments(np.zeros(RATE, np.float32), RATE)
    silero_module._session.cache_clear()
