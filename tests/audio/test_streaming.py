"""A stream is the whole, in bounded memory."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from earwitness.audio import load, probe, stream
from earwitness.core.errors import AudioError


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("block_s", [0.05, 0.7, 30.0])
def test_streamed_is_whole(write_sound, speechlike, rate: int, block_s: float) -> None:
    path = write_sound("a.wav", speechlike(3, rate), rate, subtype="FLOAT")
    whole = load(path).samples
    blocks = list(stream(path, block_s=block_s))
    assert np.abs(np.concatenate(blocks) - whole).max() <= 1e-5
    size = round(block_s * 16_000)
    assert all(len(block) == size for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= size
    assert len(whole) == 48_000


def test_whole_is_the_library_resampler(write_sound, speechlike) -> None:
    import soxr

    samples = speechlike(2, 44_100)
    path = write_sound("a.wav", samples, 44_100, subtype="FLOAT")
    assert np.abs(load(path).samples - soxr.resample(samples, 44_100, 16_000, quality="HQ")).max() <= 1e-5


def test_stream_of_a_stretch_and_channel(write_sound, speechlike) -> None:
    both = np.stack([speechlike(3, 44_100, 1), speechlike(3, 44_100, 2)], axis=1)
    path = write_sound("a.flac", both, 44_100)
    blocks = stream(path, channel=1, start_s=0.5, end_s=2.5, block_s=0.25)
    streamed = np.concatenate(list(blocks))
    recording = load(path, channel=1, start_s=0.5, end_s=2.5)
    assert np.abs(streamed - recording.samples).max() <= 1e-5
    assert blocks.source() == recording.source
    assert blocks.info == probe(path)


def test_a_bad_path_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        stream(tmp_path / "missing.wav")


def long_silence(path: Path, hours: float, rate: int) -> Path:
    """A 16-bit mono WAV whose samples are a hole in the file: long, and no load for the disk."""
    size = round(hours * 3600 * rate) * 2
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16, b"data", size
    )
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(len(head) + size)
    return path


def test_memory_stays_flat_over_hours(tmp_path: Path) -> None:
    """The growth of the process after the first minute of 90 (345 MB as float samples)."""
    path = long_silence(tmp_path / "long.wav", 1.5, 16_000)
    code = f"""
import resource
from earwitness.audio import FactsAccumulator, Sliding, heard_seconds, stream, stream_windows
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
windows = stream_windows({str(path)!r}, Sliding(length_s=4, hop_s=4))
stretches = []
for window in windows:
    stretches.append((window.start_s, window.end_s))
    if len(stretches) == 15:
        start = peak()
assert stretches[-1][1] == 5400, stretches[-1]
assert len(stretches) == 1350
facts = FactsAccumulator(16_000)
for block in stream({str(path)!r}, end_s=1800):
    facts.push(block)
assert facts.finish().duration_s == 1800
print(peak() - start)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    unit = 1 if sys.platform == "darwin" else 1024  # bytes that ru_maxrss counts in
    assert int(done.stdout) * unit < 60e6
