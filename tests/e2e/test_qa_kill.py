"""`qa condense` survives `kill -9`: it goes on where it was, and ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tiny_ear import write_ear

FILES = ("recordings.jsonl", "windows.jsonl", "segments.jsonl", "words.jsonl")
RECORDINGS = 30


def started(data: Path, out: Path, ear: Path) -> subprocess.Popen[bytes]:
    words = [
        "qa",
        "condense",
        str(data),
        "-o",
        str(out),
        "--recogniser",
        str(ear),
        "--words",
        str(data),
        "--gender",
        "none",
    ]
    words += ["--set", "hearing.speech={kind: energy}", "--data-root", str(data)]
    return subprocess.Popen([sys.executable, "-m", "earwitness", *words], stdout=subprocess.DEVNULL)


@pytest.mark.soak
def test_a_killed_condensation_ends_with_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    data, ear = tmp_path / "data", write_ear(tmp_path / "ear.onnx")
    data.mkdir()
    rng = np.random.default_rng(0)
    for number in range(RECORDINGS):
        samples = np.clip(0.1 * (1 + 2 * (number % 2)) * rng.standard_normal(60 * 16_000), -1, 1)
        sf.write(data / f"{number:02}.wav", samples, 16_000)
        (data / f"{number:02}.ctm").write_text(f"{number:02} 1 1.0 0.5 word\n")
    assert started(data, tmp_path / "whole", ear).wait() == 0
    heard = tmp_path / "killed" / "heard.jsonl"
    for lines in (1, 9, 20):
        running = started(data, tmp_path / "killed", ear)
        while running.poll() is None and not (heard.exists() and heard.read_bytes().count(b"\n") >= lines):
            time.sleep(0.001)
        assert running.poll() is None, "it was done before it could be killed"
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        assert not (tmp_path / "killed" / "segments.jsonl").exists()
    assert started(data, tmp_path / "killed", ear).wait() == 0
    assert heard.read_bytes().count(b"\n") == RECORDINGS
    for name in FILES:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
