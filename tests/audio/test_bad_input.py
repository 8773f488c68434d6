"""What cannot be read is a one-line AudioError with the path: no crash, no hang, no silent part of a file."""

from __future__ import annotations

import contextlib
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from earwitness.audio import load, probe, stream
from earwitness.core.errors import AudioError


def refusal(path: Path | str, **how: object) -> str:
    with pytest.raises(AudioError) as caught:
        load(path, **how)
    text = str(caught.value)
    assert caught.value.where == str(path)
    assert "\n" not in text
    with pytest.raises(AudioError):
        list(stream(path, **how))
    return caught.value.what


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "missing.wav")
    assert "folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    assert "pipe" in refusal(tmp_path / "pipe.wav")
    assert "device" in refusal("/dev/zero")
    assert "possible file name" in refusal("a\0b.wav")
    assert "cannot be opened" in refusal(tmp_path / ("x" * 5000))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"R",
        b"hello, I am a text and no sound\n" * 500,
        b"RIFF",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"fLaC\0\0\0\x22" + bytes(100),
        b"OggS" + bytes(200),
        b"ID3\x04\0\0\0\0\x0f\x76" + bytes(3000),
        b"\x1aE\xdf\xa3" + bytes(100),
        bytes(10_000),
        np.random.default_rng(0).bytes(50_000),
        b"#EXTM3U\n#EXTINF:3,\n/etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile other.wav\n",
        b"%PDF-1.7\n" + bytes(500),
        b"PK\x03\x04" + bytes(500),
        b"\x89PNG\r\n\x1a\n" + bytes(500),
    ],
)
def test_content_that_is_no_audio(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert refusal(path)


def test_zero_samples(write_sound) -> None:
    assert refusal(write_sound("a.wav", np.zeros(0, np.float32))) == "holds no sound (0 samples)"
    assert refusal(write_sound("a.flac", np.zeros(0, np.float32)))


def test_one_sample_and_all_zeros_load(write_sound) -> None:
    one = write_sound("one.wav", np.array([0.5], np.float32), subtype="FLOAT")
    assert load(one).samples.tolist() == [0.5]
    at_44100 = write_sound("one44.wav", np.array([0.5], np.float32), 44_100, subtype="FLOAT")
    assert load(at_44100).samples.tolist() == [0.5]
    zeros = load(write_sound("zeros.wav", np.zeros(8000, np.float32)))
    assert len(zeros.samples) == 8000
    assert not zeros.samples.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_not_finite(write_sound, tone, bad: float, subtype: str) -> None:
    samples = np.stack([tone(1), tone(1)], axis=1)
    samples[8000, 1] = bad
    path = write_sound("a.wav", samples, subtype=subtype)
    assert "first at 0.500 s" in refusal(path)
    assert load(path, channel=0).duration_s == 1  # the other channel is sound


def test_channels_and_stretches_that_do_not_exist(write_sound, tone) -> None:
    path = write_sound("a.wav", tone(1))
    assert refusal(path, channel=1) == "has no channel 1"
    assert refusal(path, channel=-1) == "has no channel -1"
    assert "before the asked start" in refusal(path, start_s=1.0)
    assert "before the asked end" in refusal(path, end_s=1.5)
    assert load(path, end_s=1.05).duration_s == 1  # manifests round
    for start_s, end_s in [(-1, None), (0.5, 0.5), (0.5, 0.2), (np.nan, None), (0, np.nan)]:
        assert "no stretch" in refusal(path, start_s=start_s, end_s=end_s)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.wav", {}),
        ("a.wav", {"subtype": "FLOAT"}),
        ("a.flac", {}),
        ("a.aiff", {}),
        ("a.au", {}),
        ("a.caf", {}),
        ("a.w64", {}),
        ("a.rf64", {}),
        ("a.voc", {}),
        ("a.sph", {"format": "NIST"}),
        ("a.mp3", {}),
    ],
)
def test_a_file_cut_short_is_refused(write_sound, speechlike, name: str, form: dict) -> None:
    path = write_sound(name, speechlike(3), **form)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    what = refusal(path)
    assert "cut short" in what
    if name != "a.caf":
        assert "1." in what  # how much is there


@pytest.mark.parametrize(
    ("name", "codec", "rate", "options"),
    [
        ("a.m4a", "aac", 16_000, {}),
        ("b.m4a", "aac", 16_000, {"movflags": "faststart"}),
        ("a.webm", "libopus", 48_000, {}),
        ("a.mkv", "flac", 16_000, {}),
    ],
)
def test_a_film_container_cut_short_is_refused(encode, speechlike, name, codec, rate, options) -> None:
    path = encode(name, speechlike(3, rate), rate, codec, **options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert refusal(path)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.aac", "aac", 16_000), ("a.amr", "libopencore_amrnb", 8_000), ("a.ogg", "libopus", 48_000)],
)
def test_a_cut_that_no_header_tells_is_noted(encode, speechlike, name, codec, rate) -> None:
    path = encode(name, speechlike(3, rate), rate, codec)
    assert not any("cut" in step for step in load(path).source.steps)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 - 7])
    recording = load(path)
    assert 0.9 < recording.duration_s < 2
    assert any("cut" in step for step in recording.source.steps)


def test_damage_in_the_middle_is_refused(write_sound, speechlike) -> None:
    path = write_sound("a.flac", speechlike(5))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    assert refusal(path)


def test_a_header_that_promises_2_gigabytes(write_sound, tone) -> None:
    path = write_sound("a.wav", tone(0.5))
    tracemalloc.start()
    for lie in (0x7FFFFFFF, 0x80000000, 0xFFFFFFF0):
        _set_data_size(path, lie)
        assert "cut short" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@pytest.mark.parametrize("placeholder", [0xFFFFFFFF, 0x7FFFF000, 0])
def test_a_header_that_knows_no_length_is_read_to_the_end(write_sound, tone, placeholder: int) -> None:
    """As FFmpeg and SoX write to a pipe."""
    path = write_sound("a.wav", tone(0.5))
    _set_data_size(path, placeholder)
    assert load(path).duration_s == 0.5


def _set_data_size(path: Path, size: int) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(data)


@pytest.mark.parametrize("rate", [1, 999, 1_000_000, 2**31 - 1])
def test_rates_that_would_blow_up_are_refused(write_sound, tone, rate: int) -> None:
    path = write_sound("a.wav", tone(0.5))
    data = bytearray(path.read_bytes())
    data[24:28] = struct.pack("<I", rate)
    path.write_bytes(data)
    assert "samples a second" in refusal(path)


@pytest.mark.parametrize(
    "name", ["a\nb.wav", "a'b\"c.wav", "<script>alert(1)<&>.wav", "-o.wav", "concat:a|b.wav", "é 音.wav"]
)
def test_odd_names(tmp_path: Path, write_sound, tone, name: str) -> None:
    path = tmp_path / name
    write_sound("plain.wav", tone(0.1)).rename(path)
    assert load(path).source.path == str(path)
    path.write_bytes(b"no sound")
    with pytest.raises(AudioError) as caught:
        probe(path)
    assert "\n" not in str(caught.value)


def test_names_that_are_not_utf8(tmp_path: Path, write_sound, tone) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav")
    write_sound("plain.wav", tone(0.1)).rename(path)
    assert load(path).duration_s == pytest.approx(0.1)


def test_damaged_bytes_never_escape_as_other_errors(write_sound, encode, tone) -> None:
    """Every byte pattern gives samples or an AudioError; the long campaign over more files is elsewhere."""
    rng = np.random.default_rng(5)
    files = [
        write_sound("a.wav", tone(0.3)),
        write_sound("a.flac", tone(0.3)),
        write_sound("a.ogg", tone(0.3)),
        write_sound("a.mp3", tone(0.3)),
        encode("a.m4a", tone(0.3), 16_000, "aac"),
        encode("a.webm", tone(0.3, 48_000), 48_000, "libopus"),
    ]
    for path in files:
        original = path.read_bytes()
        for _ in range(25):
            data = bytearray(original)
            for at in rng.integers(0, min(len(data), 400), 4):
                data[at] = rng.integers(256)
            path.write_bytes(data)
            with contextlib.suppress(AudioError):
                assert len(load(path).samples) > 0


def test_no_file_stays_open(tmp_path: Path, write_sound, tone) -> None:
    good = write_sound("a.wav", tone(0.2))
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF and nothing")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        load(good)
        probe(good)
        assert len(next(stream(good, block_s=0.01))) == 160  # left early
        for how in ({"channel": 5}, {"start_s": 9.0}):
            with pytest.raises(AudioError):
                load(good, **how)
        with pytest.raises(AudioError):
            load(bad)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
