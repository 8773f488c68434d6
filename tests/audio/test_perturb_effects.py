"""What each perturbation does to the sound: ratios, delays, bands, decay and lengths, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, correlate, sosfilt, welch

from earwitness.audio.perturb import available_codecs
from earwitness.audio.perturb.chain import OneOfConfig, SeriesConfig
from earwitness.audio.perturb.codec import CodecConfig
from earwitness.audio.perturb.files import list_audio, load_audio
from earwitness.audio.perturb.noise import BabbleConfig, ColouredNoiseConfig, NoiseFilesConfig, coloured_noise
from earwitness.audio.perturb.reverb import ReverbConfig, reverberate, synthetic_response
from earwitness.audio.perturb.simple import (
    ClipConfig,
    GainConfig,
    LowPassConfig,
    ResampleConfig,
    SpeedConfig,
    TelephoneBandConfig,
)
from earwitness.core.errors import AudioError, DataError, MissingPartError

RATE = 16_000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def power_db(x: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(x, dtype=np.float64))))


def response_db(perturb: Any, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and gains of a linear perturbation, from its answer to an impulse."""
    impulse = np.zeros(4096, np.float32)
    impulse[2048] = 1
    answer = perturb(impulse, RATE, rng(seed))
    assert int(np.abs(answer).argmax()) == 2048  # no delay
    return np.fft.rfftfreq(4096, 1 / RATE), 20 * np.log10(np.abs(np.fft.rfft(answer)) + 1e-9)


# --- noise -----------------------------------------------------------------------------------------------------------


@pytest.mark.shows("speaker-metrics:9.6")
@pytest.mark.parametrize("kind", ["white", "pink", "brown", "files", "babble"])
def test_measured_ratio_is_the_drawn_one(kind: str, tmp_path: Path, speechlike: Any) -> None:
    for seed in range(4):
        soundfile.write(tmp_path / f"{seed}.flac", speechlike(0.4 + seed / 2, RATE, seed), RATE)
    config: Any
    if kind == "files":
        config = NoiseFilesConfig(folder=tmp_path, snr_db=(3, 12))
    elif kind == "babble":
        config = BabbleConfig(folder=tmp_path, snr_db=(3, 12))
    else:
        config = ColouredNoiseConfig(colours=(kind,), snr_db=(3, 12))
    perturb, x = config.build(), speechlike(1.0, RATE, 77)
    for seed in range(8):
        drawn_db = rng(seed).uniform(3, 12)  # the first draw
        added = perturb(x, RATE, rng(seed)).astype(np.float64) - x
        assert power_db(x) - power_db(added) == pytest.approx(drawn_db, abs=0.1)


@pytest.mark.parametrize(("colour", "slope_db"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)])
def test_colours_fall_by_their_decibels_an_octave(colour: Any, slope_db: float) -> None:
    frequency, density = welch(coloured_noise(2**18, RATE, colour, rng()), RATE, nperseg=4096)
    band = (frequency > 100) & (frequency < 6_000)
    slope = np.polyfit(np.log2(frequency[band]), 10 * np.log10(density[band]), 1)[0]
    assert slope == pytest.approx(slope_db, abs=0.15)


def test_noise_from_files_is_that_noise(tmp_path: Path, tone: Any, speechlike: Any) -> None:
    soundfile.write(tmp_path / "hum.wav", tone(0.3, RATE, 1000), RATE)
    x = speechlike(1.0)
    added = NoiseFilesConfig(folder=tmp_path, snr_db=(0, 0)).build()(x, RATE, rng()) - x
    spectrum = np.abs(np.fft.rfft(added))
    assert abs(np.fft.rfftfreq(len(x), 1 / RATE)[spectrum.argmax()] - 1000) < 5


def test_a_silent_stretch_of_a_noise_file_is_not_used(tmp_path: Path, speechlike: Any) -> None:
    mostly_silent = np.zeros(RATE * 10, np.float32)
    mostly_silent[80_000:80_400] = 0.3
    soundfile.write(tmp_path / "click.wav", mostly_silent, RATE)
    perturb, x = NoiseFilesConfig(folder=tmp_path, snr_db=(5, 5)).build(), speechlike(0.2)
    for seed in range(10):
        added = perturb(x, RATE, rng(seed)) - x
        assert power_db(x) - power_db(added) == pytest.approx(5, abs=0.1)


def test_folders_and_files_that_cannot_serve(tmp_path: Path, speechlike: Any) -> None:
    with pytest.raises(DataError, match="no such folder"):
        NoiseFilesConfig(folder=tmp_path / "nowhere").build()
    (tmp_path / "notes.txt").write_text("no audio")
    with pytest.raises(DataError, match="no audio files"):
        ReverbConfig(folder=tmp_path).build()
    soundfile.write(tmp_path / "silence.wav", np.zeros(1000), RATE)
    with pytest.raises(AudioError, match=r"silence\.wav.*silent"):
        NoiseFilesConfig(folder=tmp_path).build()(speechlike(0.1), RATE, rng())
    (tmp_path / "silence.wav").write_text("not a wav file")
    with pytest.raises(AudioError, match="silence"):
        NoiseFilesConfig(folder=tmp_path).build()(speechlike(0.1), RATE, rng())


def test_files_are_kept_in_memory_up_to_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tone: Any) -> None:
    from earwitness.audio.perturb import files

    store = files._Store()
    monkeypatch.setattr(files, "_STORE", store)
    monkeypatch.setattr(files, "_BUDGET_BYTES", 4 * 2_500)
    for index in range(4):
        soundfile.write(tmp_path / f"{index}.wav", tone(1_000 / RATE), RATE)
    paths = list_audio(tmp_path)
    first = load_audio(paths[0], RATE)
    assert load_audio(paths[0], RATE) is first
    assert not first.flags.writeable
    for path in paths:
        load_audio(path, RATE)
    assert [path.name for path, _ in store.kept] == ["2.wav", "3.wav"]


# --- reverberation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t60_s", [0.2, 0.5, 0.8])
def test_synthetic_responses_decay_by_60_db_in_their_time(t60_s: float) -> None:
    estimates = []
    for seed in range(20):
        tail = synthetic_response(RATE, t60_s, 0.0, rng(seed))[1:]
        decay_db = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2))  # Schroeder's backward integral
        fitted = (decay_db < -5) & (decay_db > -25)
        slope = np.polyfit(np.arange(len(tail))[fitted] / RATE, decay_db[fitted], 1)[0]
        estimates.append(-60 / slope)
    assert np.mean(estimates) == pytest.approx(t60_s, rel=0.05)


def test_the_direct_path_keeps_its_place_and_ratio() -> None:
    response = synthetic_response(RATE, 0.4, 6.0, rng())
    assert 10 * np.log10(1 / np.sum(response[1:] ** 2)) == pytest.approx(6.0, abs=1e-9)
    impulse = np.zeros(RATE, np.float32)
    impulse[300] = 1
    late = np.concatenate([np.zeros(123), response])  # a response that begins before its direct path
    for each in (response, late, 17 * late):
        answer = reverberate(impulse, each)
        assert int(np.abs(answer).argmax()) == 300
        assert answer[300] == pytest.approx(1 / np.linalg.norm(response), rel=1e-4)  # scaled by the norm


def test_response_files(tmp_path: Path, speechlike: Any) -> None:
    echo = np.zeros(2_000)
    echo[100], echo[1_700] = 0.8, 0.6
    soundfile.write(tmp_path / "echo.wav", echo, RATE, subtype="FLOAT")
    x = speechlike(0.5)
    y = ReverbConfig(folder=tmp_path).build()(x, RATE, rng())
    delayed = np.concatenate([np.zeros(1_600), x[:-1_600]])
    assert y == pytest.approx(0.8 * x + 0.6 * delayed, abs=1e-5)


# --- codecs ----------------------------------------------------------------------------------------------------------


def test_the_codecs_of_a_usual_installation_are_there() -> None:
    assert {"mp3", "opus", "aac", "mu_law", "a_law", "g722"} <= set(available_codecs())


@pytest.mark.parametrize("codec", available_codecs())
@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_coded_speech_is_aligned_and_changed(codec: Any, rate: int, speechlike: Any) -> None:
    x = speechlike(1.5, rate, 11)
    y = CodecConfig(codec=codec).build()(x, rate, rng(1))
    # above 800 Hz: AMR's own high-pass turns the phase of the lowest harmonics
    edge = butter(4, 800, "highpass", fs=rate, output="sos")
    sharp_x, sharp_y = sosfilt(edge, x), sosfilt(edge, y)
    lag_ms = 1000 * (int(correlate(sharp_y, sharp_x, "full", method="fft").argmax()) - (len(x) - 1)) / rate
    assert abs(lag_ms) < 0.3
    assert np.corrcoef(sharp_x, sharp_y)[0, 1] > 0.75
    assert not np.allclose(x, y, atol=1e-3)


@pytest.mark.parametrize(("codec", "low", "high"), [("mp3", 16, 64), ("opus", 6, 48), ("aac", 12, 48)])
def test_more_bits_lose_less(codec: Any, low: float, high: float, speechlike: Any) -> None:
    x = speechlike(1.0, RATE, 12)

    def loss(bitrate: float) -> float:
        return power_db(CodecConfig(codec=codec, bitrates_kbps=(bitrate,)).build()(x, RATE, rng()) - x)

    assert loss(low) > loss(high) + 3


@pytest.mark.parametrize("codec", ["mu_law", "a_law"])
def test_g711_has_its_signal_to_quantisation_ratio(codec: Any, tone: Any) -> None:
    """About 38 dB for tones well above the smallest step, by its 8-bit logarithmic quantiser."""
    x = tone(0.5, 8_000, 440, 0.5)
    y = CodecConfig(codec=codec).build()(x, 8_000, rng())
    assert power_db(x) - power_db(y - x) == pytest.approx(38, abs=2.5)
    assert (
        len(np.unique(np.round(CodecConfig(codec=codec).build()(tone(0.5, 8_000, 441.7, 1.0), 8_000, rng()), 6))) <= 256
    )


def test_narrow_band_codecs_cut_at_4_khz() -> None:
    x = rng().uniform(-0.3, 0.3, RATE).astype(np.float32)
    frequency, density = welch(CodecConfig(codec="mu_law").build()(x, RATE, rng()), RATE, nperseg=1024)
    passed, stopped = density[(frequency > 500) & (frequency < 3_000)], density[frequency > 4_200]
    assert 10 * np.log10(passed.mean() / stopped.mean()) > 40


def test_a_bit_rate_that_the_encoder_refuses_is_an_error_of_ours(tone: Any) -> None:
    with pytest.raises(AudioError, match=r"libopus at 9000 kbit/s.*Choose another bit rate"):
        CodecConfig(codec="opus", bitrates_kbps=(9_000,)).build()(tone(0.1), RATE, rng())


def test_a_codec_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from earwitness.audio.perturb import codec

    monkeypatch.setattr(codec, "available_codecs", lambda: ("mu_law",))
    with pytest.raises(MissingPartError, match=r"opus is missing.*Use one of: mu_law"):
        CodecConfig(codec="opus").build()


# --- bands, speed, level ---------------------------------------------------------------------------------------------


def test_low_pass_cuts_above_its_cut_off() -> None:
    frequency, gain = response_db(LowPassConfig(cutoff_hz=(3400, 3400)).build())
    assert np.abs(gain[frequency < 3_200]).max() < 0.1
    assert gain[np.abs(frequency - 3_400).argmin()] == pytest.approx(-6, abs=0.5)
    assert gain[frequency > 3_650].max() < -45
    x = rng().uniform(-1, 1, 2_000).astype(np.float32)
    assert np.array_equal(LowPassConfig(cutoff_hz=(8_000, 9_000)).build()(x, RATE, rng()), x)


def test_telephone_band() -> None:
    frequency, gain = response_db(TelephoneBandConfig().build())
    assert np.abs(gain[(frequency > 550) & (frequency < 3_200)]).max() < 0.2
    assert gain[frequency < 50].max() < -40
    assert gain[frequency > 3_650].max() < -45


@pytest.mark.shows("speaker-metrics:9.6")
@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_speed_changes_length_and_pitch(factor: float, tone: Any) -> None:
    x = tone(1.0, RATE, 1_000)
    y = SpeedConfig(factors=(factor,)).build()(x, RATE, rng())
    assert len(y) == round(len(x) / factor)
    pitch = np.fft.rfftfreq(len(y), 1 / RATE)[np.abs(np.fft.rfft(y)).argmax()]
    assert pitch == pytest.approx(1_000 * factor, abs=2)


def test_speed_factors_are_equally_likely(tone: Any) -> None:
    perturb, x, generator = SpeedConfig().build(), tone(0.01), rng(3)
    lengths = [len(perturb(x, RATE, generator)) for _ in range(600)]
    assert all(150 < lengths.count(round(len(x) / factor)) < 250 for factor in (0.9, 1.0, 1.1))


def test_gain_and_clipping(tone: Any) -> None:
    x = tone(0.1)
    assert power_db(GainConfig(gain_db=(-7, -7)).build()(x, RATE, rng())) == pytest.approx(power_db(x) - 7, abs=1e-3)
    clipped = ClipConfig(below_peak_db=(6, 6)).build()(x, RATE, rng())
    assert np.abs(clipped).max() == pytest.approx(0.5 * 10 ** (-6 / 20), rel=1e-4)
    assert np.mean(np.abs(clipped) >= np.abs(clipped).max() * 0.999) > 0.3


def test_a_round_trip_through_8_khz_loses_the_upper_half() -> None:
    frequency, gain = response_db(ResampleConfig().build())
    assert np.abs(gain[frequency < 3_400]).max() < 0.5
    assert gain[frequency > 4_300].max() < -60


# --- chains ----------------------------------------------------------------------------------------------------------


def test_one_of_follows_its_weights(tone: Any) -> None:
    gains = [GainConfig(gain_db=(db, db)) for db in (-20.0, -10.0, 0.0)]
    perturb, x, generator = OneOfConfig(components=tuple(gains), weights=(1, 0, 3)).build(), tone(0.01), rng(2)
    levels = [round(power_db(perturb(x, RATE, generator)) - power_db(x)) for _ in range(800)]
    assert levels.count(-10) == 0
    assert 150 < levels.count(-20) < 250


def test_series_is_one_after_the_other(speechlike: Any) -> None:
    parts = (ColouredNoiseConfig(), ClipConfig(), LowPassConfig())
    x, generator = speechlike(0.2), rng(8)
    expected = x
    for part in parts:
        expected = part.build()(expected, RATE, generator)
    assert np.array_equal(SeriesConfig(components=parts).build()(x, RATE, rng(8)), expected)


def test_real_room_responses_and_noise(shared_data: Path, speechlike: Any) -> None:
    x = speechlike(1.0)
    room = ReverbConfig(folder=shared_data / "rir_noise" / "rir").build()
    noise = NoiseFilesConfig(folder=shared_data / "rir_noise" / "noise").build()
    for seed in range(5):
        y = noise(room(x, RATE, rng(seed)), RATE, rng(seed))
        assert len(y) == len(x)
        assert np.isfinite(y).all()
        assert not np.allclose(x, y, atol=1e-3)
