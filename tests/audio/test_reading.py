"""Any container and codec becomes the same mono samples, and the recording remembers how."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.audio import from_samples, load, probe
from earwitness.core.errors import AudioError, UsageError


def likeness(heard: np.ndarray, meant: np.ndarray) -> float:
    """Highest correlation over small delays, which codecs add."""
    spectra = np.fft.rfft(heard, 2 * len(meant)), np.fft.rfft(meant, 2 * len(meant))
    best = np.fft.irfft(spectra[0] * np.conj(spectra[1])).max()
    return float(best / np.sqrt(np.sum(heard**2) * np.sum(meant**2)))


@pytest.mark.parametrize(
    ("extension", "form", "tolerance"),
    [
        ("wav", {"subtype": "PCM_16"}, 4e-5),
        ("wav", {"subtype": "PCM_24"}, 1e-6),
        ("wav", {"subtype": "PCM_U8"}, 8e-3),
        ("wav", {"subtype": "ULAW"}, 2e-2),
        ("wav", {"subtype": "FLOAT"}, 0),
        ("wav", {"subtype": "DOUBLE"}, 0),
        ("flac", {}, 4e-5),
        ("aiff", {}, 4e-5),
        ("au", {}, 4e-5),
        ("caf", {}, 4e-5),
        ("w64", {}, 4e-5),
        ("rf64", {}, 4e-5),
        ("sph", {"format": "NIST"}, 4e-5),
        ("voc", {"subtype": "PCM_16"}, 4e-5),
    ],
)
def test_lossless_files_give_their_samples(write_sound, tone, extension, form, tolerance) -> None:
    samples = tone(0.5)
    recording = load(write_sound(f"a.{extension}", samples, **form))
    assert recording.rate == 16_000
    assert recording.samples.dtype == np.float32
    assert len(recording.samples) == len(samples)
    assert np.abs(recording.samples - samples).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.mp3", {}),
        ("a.ogg", {"subtype": "VORBIS"}),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}),
    ],
)
def test_lossy_files_sound_like_their_samples(write_sound, speechlike, name, form) -> None:
    samples = speechlike(2)
    recording = load(write_sound(name, samples, **form))
    assert recording.duration_s == pytest.approx(2, abs=0.1)
    assert likeness(recording.samples, samples) > 0.95


@pytest.mark.parametrize(
    ("name", "codec", "rate", "container", "heard_codec"),
    [
        ("a.m4a", "aac", 16_000, "mp4", "aac"),
        ("a.aac", "aac", 16_000, "aac", "aac"),
        ("a.webm", "libopus", 48_000, "matroska/webm", "opus"),
        ("a.amr", "libopencore_amrnb", 8_000, "amr", "amr_nb"),
        ("a.avi", "pcm_s16le", 16_000, "avi", "pcm_s16le"),
    ],
)
def test_ffmpeg_files_sound_like_their_samples(encode, speechlike, name, codec, rate, container, heard_codec) -> None:
    samples = speechlike(2, rate)
    recording = load(encode(name, samples, rate, codec), rate)
    assert (recording.source.container, recording.source.codec) == (container, heard_codec)
    assert recording.duration_s == pytest.approx(2, abs=0.25)
    assert likeness(recording.samples, samples) > (0.4 if codec == "libopencore_amrnb" else 0.9)


@pytest.mark.parametrize(("name", "codec"), [("film.mp4", "aac"), ("film.mkv", "flac")])
def test_sound_track_of_a_film(encode, speechlike, name, codec) -> None:
    samples = speechlike(2)
    recording = load(encode(name, samples, 16_000, codec, video=True))
    assert likeness(recording.samples, samples) > 0.95


def test_content_decides_not_the_suffix(write_sound, encode, speechlike) -> None:
    samples = speechlike(1)
    flac = write_sound("call.mp3", samples, format="FLAC")
    assert (probe(flac).container, load(flac).duration_s) == ("flac", 1)
    m4a = encode("a.m4a", samples, 16_000, "aac")
    assert probe(m4a.rename(m4a.with_suffix(".wav"))).codec == "aac"
    wav = write_sound("raw", samples, format="WAV")
    assert load(wav.rename(wav.with_name("x.raw"))).duration_s == 1  # a suffix that means headerless elsewhere


def test_length_is_that_of_the_content_not_an_estimate(tmp_path: Path, encode, tone) -> None:
    """A variable-rate MP3 without a length tag, loud then quiet: the first second says nothing of the rest."""
    noise = np.random.default_rng(0).normal(0, 0.2, 44_100 * 2).astype(np.float32)
    samples = np.concatenate([noise, tone(18, 44_100, level=0.001)])
    path = _vbr_without_tag(tmp_path / "a.mp3", samples)
    assert load(path).duration_s == pytest.approx(20, abs=0.2)
    assert probe(path).duration_s is None


def _vbr_without_tag(path: Path, samples: np.ndarray) -> Path:
    import av

    with av.open(str(path), "w", options={"write_xing": "0", "id3v2_version": "0"}) as container:
        track = container.add_stream("libmp3lame", rate=44_100, layout="mono")
        track.codec_context.flags |= 2  # variable bit rate
        track.codec_context.global_quality = 4 * 118
        for start in range(0, len(samples), 1152):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1152], "fltp", "mono")
            frame.rate, frame.pts = 44_100, start
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    assert b"Xing" not in path.read_bytes()
    return path


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg_is_heard_to_its_end(write_sound, tone, subtype) -> None:
    first, second = (write_sound(f"{hz}.ogg", tone(1, hz=hz), subtype=subtype) for hz in (300, 600))
    first.write_bytes(first.read_bytes() + second.read_bytes())
    samples = load(first).samples
    assert len(samples) == pytest.approx(32_000, abs=800)
    assert np.corrcoef(np.abs(np.fft.rfft(samples[-12_000:-4_000])), np.abs(np.fft.rfft(tone(0.5, hz=600))))[0, 1] > 0.9


def test_downmix_and_channels(write_sound, tone) -> None:
    left, right = tone(0.5, hz=300), tone(0.5, hz=1000)
    path = write_sound("a.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    assert np.allclose(load(path).samples, (left + right) / 2, atol=1e-6)
    assert load(path).source.steps == ("downmix of 2 channels",)
    assert np.array_equal(load(path, channel=1).samples, right)
    assert load(path, channel=1).source.steps == ("channel 2 of 2",)
    assert load(path, channel=0).source.channel == 0


def test_eight_channels_and_192_khz(write_sound, tone) -> None:
    path = write_sound("a.wav", np.stack([tone(0.2, 192_000, hz=100 * (c + 1)) for c in range(8)], axis=1), 192_000)
    recording = load(path, channel=3)
    assert np.allclose(recording.samples[500:-500], tone(0.2, hz=400)[500:-500], atol=1e-3)
    assert recording.source.native_channels == 8
    assert recording.source.steps == ("channel 4 of 8", "resampled 192000 -> 16000 Hz (soxr HQ)")


def test_source_remembers_everything(write_sound, tone) -> None:
    path = write_sound("a.flac", tone(1, 44_100), 44_100)
    source = load(path, start_s=0.25, end_s=0.75).source
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (source.path, source.container, source.codec) == (str(path), "flac", "pcm_16")
    assert (source.native_rate, source.native_channels, source.start_s, source.end_s) == (44_100, 1, 0.25, 0.75)
    assert source.steps == ("resampled 44100 -> 16000 Hz (soxr HQ)",)
    info = probe(path)
    assert (info.rate, info.channels, info.duration_s) == (44_100, 1, 1.0)


@pytest.mark.parametrize("form", [{}, {"format": "OGG", "subtype": "VORBIS"}])
def test_a_stretch_is_cut_before_anything_else(write_sound, speechlike, form) -> None:
    path = write_sound("a.wav", speechlike(3), **form)
    whole = load(path).samples
    assert np.allclose(load(path, start_s=1.25, end_s=2.5).samples, whole[20_000:40_000], atol=1e-6)
    assert np.allclose(load(path, start_s=2.5).samples, whole[40_000:], atol=1e-6)


def test_float_peaks_are_kept_and_noted(write_sound, tone) -> None:
    recording = load(write_sound("a.wav", tone(0.1, level=1.0) * 2.5, subtype="FLOAT"))
    assert np.abs(recording.samples).max() == pytest.approx(2.5, abs=0.01)
    assert recording.source.steps == ("peaks above full scale: 2.50",)


@pytest.mark.parametrize(
    "samples",
    [
        np.array([0, 16_384, -32_768], np.int16),
        np.array([0, 2**30, -(2**31)], np.int32),
        np.array([128, 192, 0], np.uint8),
        np.array([0, 0.5, -1], np.float64),
        [0.0, 0.5, -1.0],
        np.array([[0, 0], [1, 0], [-1, -1]], np.float32),
    ],
)
def test_samples_in_memory_of_any_type(samples) -> None:
    recording = from_samples(samples, 16_000)
    assert recording.samples.dtype == np.float32
    assert recording.samples.tolist() == [0, 0.5, -1]
    assert len(recording.source.sha256 or "") == 64


def test_samples_in_memory_are_resampled_like_a_file(write_sound, speechlike) -> None:
    samples = speechlike(1, 44_100)
    path = write_sound("a.wav", samples, 44_100, subtype="FLOAT")
    assert np.allclose(from_samples(samples, 44_100).samples, load(path).samples, atol=1e-6)


@pytest.mark.parametrize(
    "samples",
    [
        [],
        np.zeros((0, 2)),
        np.zeros((2, 3, 4)),
        np.zeros((1, 16_000)),
        [0.0, np.nan],
        [np.inf],
        [1, 2, 3],
        ["a"],
        [True],
    ],
)
def test_refused_samples(samples) -> None:
    with pytest.raises(AudioError):
        from_samples(samples, 16_000)


@pytest.mark.parametrize("rate", [0, -16_000, 7, 16_000.5, 10**9])
def test_refused_rates(rate, write_sound, tone) -> None:
    with pytest.raises(UsageError, match="sample rate"):
        from_samples([0.0], rate)
    with pytest.raises(UsageError, match="sample rate"):
        load(write_sound("a.wav", tone(0.1)), rate)


@given(count=st.integers(1, 5000), rate=st.sampled_from([8_000, 11_025, 22_050, 44_100, 48_000]))
@settings(max_examples=40, deadline=None)
def test_length_after_resampling(count: int, rate: int) -> None:
    samples = np.full(count, 0.25, np.float32)
    heard = from_samples(samples, rate).samples
    assert abs(len(heard) - count * 16_000 / rate) <= 1
    assert len(heard) >= 1


def test_the_package_reads_without_torch(write_sound, tone) -> None:
    path = write_sound("a.wav", tone(0.1))
    code = f"import sys, earwitness.audio as a; a.load({str(path)!r}); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
