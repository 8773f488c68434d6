"""Facts of a signal: known signals give known numbers, and blocks give those of the whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from earwitness.audio import FactsAccumulator, file_facts, from_samples, load, signal_facts

RATE = 16_000


def test_a_sine_has_textbook_levels(tone) -> None:
    facts = signal_facts(tone(2, hz=1000, level=0.5), RATE)
    assert facts.level_dbfs == pytest.approx(-9.03, abs=0.01)
    assert facts.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert facts.dc_offset == pytest.approx(0, abs=1e-5)
    assert facts.clipped_fraction == 0
    assert facts.duration_s == 2
    assert facts.bandwidth_hz == pytest.approx(1050, abs=100)
    assert facts.snr_db is None  # no pause to hear the noise in
    assert signal_facts(tone(2) + np.float32(0.1), RATE).dc_offset == pytest.approx(0.1, abs=1e-4)


def test_zeros_give_defined_values() -> None:
    facts = signal_facts(np.zeros(RATE, np.float32), RATE)
    assert (facts.level_dbfs, facts.peak_dbfs, facts.bandwidth_hz, facts.snr_db) == (None, None, None, None)
    assert (facts.clipped_fraction, facts.speech_s, facts.dc_offset) == (0, 0, 0)
    assert (facts.leading_silence_s, facts.trailing_silence_s) == (1, 1)


@pytest.mark.parametrize("count", [0, 1, 2, 15, 300])
def test_tiny_signals_have_facts(count: int) -> None:
    facts = signal_facts(np.full(count, 0.3, np.float32), RATE)
    assert facts.duration_s == count / RATE
    assert all(value is None or isinstance(value, str) or np.isfinite(value) for value in asdict(facts).values())


@pytest.mark.parametrize("level", [1.2, 2.0, 5.0])
def test_clipped_samples_are_counted(speechlike, level: float) -> None:
    samples = speechlike(4, seed=2)
    loud = samples / np.abs(samples).max() * level
    clipped = np.clip(loud, -1, 1)
    beyond = float(np.mean(np.abs(loud) >= 1))
    assert signal_facts(samples, RATE).clipped_fraction == 0
    assert signal_facts(clipped, RATE).clipped_fraction == pytest.approx(beyond, rel=0.35, abs=1e-4)
    assert (
        signal_facts(clipped * np.float32(0.3), RATE).clipped_fraction == signal_facts(clipped, RATE).clipped_fraction
    )


def test_coarse_quantisation_is_not_clipping(speechlike) -> None:
    faint = np.round(speechlike(3) * 4) / 128
    assert signal_facts(faint.astype(np.float32), RATE).clipped_fraction == 0


@pytest.mark.parametrize("edge", [3_400, 5_000])
def test_bandwidth_sees_a_channel(speechlike, edge: int) -> None:
    from scipy import signal

    wide = np.random.default_rng(0).normal(0, 0.05, 4 * RATE).astype(np.float32)
    assert signal_facts(wide, RATE).bandwidth_hz == pytest.approx(8_000, abs=150)
    narrow = signal.sosfilt(signal.ellip(10, 0.1, 70, edge, fs=RATE, output="sos"), wide).astype(np.float32)
    assert signal_facts(narrow, RATE).bandwidth_hz == pytest.approx(edge, abs=400)


def test_telephone_speech_is_told_from_wide_band(shared_data: Path) -> None:
    """Real recordings: 8 kHz prompts brought to 16 kHz, against speech recorded at 16 kHz; also rounded to 16 bits."""
    phone = sorted((shared_data / "telephone_prompts").rglob("*.flac"))[:12]
    wide = sorted((shared_data / "speechocean762").rglob("*.flac"))[:12]
    assert phone
    assert wide
    for path in phone:
        samples = load(path).samples
        assert signal_facts(samples, RATE).bandwidth_hz <= 4_100
        rounded = (np.round(samples * 32767) / 32767).astype(np.float32)
        assert signal_facts(rounded, RATE).bandwidth_hz <= 4_100
    for path in wide:
        assert signal_facts(load(path).samples, RATE).bandwidth_hz > 6_000
        low = from_samples(load(path, 8_000).samples, 8_000)
        assert signal_facts(low.samples, RATE).bandwidth_hz <= 4_100


def test_native_rate_bounds_the_bandwidth() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert signal_facts(noise, RATE, native_rate=8_000).bandwidth_hz == 4_000


@pytest.mark.parametrize("snr_db", [10, 20, 40])
def test_noise_is_measured_in_the_pauses(tone, snr_db: float) -> None:
    silence = np.zeros(RATE, np.float32)
    clean = np.concatenate([silence, tone(2, level=0.5), silence])
    noise_level = np.sqrt(0.125 / 10 ** (snr_db / 10))
    noisy = clean + np.random.default_rng(0).normal(0, noise_level, len(clean)).astype(np.float32)
    facts = signal_facts(noisy, RATE)
    assert facts.snr_db == pytest.approx(snr_db, abs=1.5)
    assert facts.leading_silence_s == pytest.approx(1, abs=0.06)
    assert facts.trailing_silence_s == pytest.approx(1, abs=0.06)
    assert facts.speech_s == pytest.approx(2, abs=0.1)
    assert facts.speech_level_dbfs == pytest.approx(-9, abs=0.8)
    assert facts.level_dbfs == pytest.approx(-12, abs=0.8)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_blocks_give_the_facts_of_the_whole(speechlike, rate: int) -> None:
    samples = np.clip(speechlike(5, rate, seed=1) * 3, -1, 1)
    whole = asdict(signal_facts(samples, rate))
    assert whole["clipped_fraction"] > 0
    for cuts in ([1, 2, 3, 5000], list(range(100, len(samples), 777))):
        facts = FactsAccumulator(rate)
        for block in np.array_split(samples, cuts):
            facts.push(block)
        parts = asdict(facts.finish())
        assert parts.keys() == whole.keys()
        for name, value in whole.items():
            assert parts[name] == (
                value if isinstance(value, str | None) else pytest.approx(value, rel=1e-5, abs=1e-9)
            ), name


def test_file_facts_see_clipping_that_resampling_hides(write_sound, speechlike) -> None:
    samples = np.clip(speechlike(3, 44_100) * 4, -0.9, 0.9)
    path = write_sound("a.wav", samples, 44_100)
    facts = file_facts(path)
    assert (facts.rate, facts.native_rate, facts.duration_s) == (44_100, 44_100, 3)
    assert facts.clipped_fraction == pytest.approx(float(np.mean(np.abs(samples) >= 0.9)), rel=0.05)
    assert facts.clipped_fraction > 10 * signal_facts(load(path).samples, RATE).clipped_fraction
