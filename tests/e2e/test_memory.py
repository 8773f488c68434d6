"""Memory does not grow with the length of a recording; that of rows is in `tests/core/test_writing.py`."""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from forked_commands import Forked

from earwitness.audio.windows import Sliding
from earwitness.nn.pretrained.mos import MosEstimator
from tiny_models import make_detector, make_embedder

RATE = 16_000
SHORT_MIN, LONG_MIN = 5, 20
LEAST_HELD_MB = 4 * RATE * 60 * (LONG_MIN - SHORT_MIN) / 1e6  # what the further minutes would take as samples
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the commands run in forked processes")

SCORE = {
    "deepfake": ("score", "REC", "--task", "deepfake", "--model", "detector", "-o", "out.csv"),
    "speaker": (
        "score",
        "REC",
        "--task",
        "speaker",
        "--model",
        "embedder",
        "--reference",
        "a.wav",
        "-o",
        "out.csv",
    ),
    "segments": ("score", "REC", "--task", "deepfake", "--model", "detector", "--segments", "1", "-o", "out.csv"),
    "examine": ("examine", "REC", "--model", "deepfake=detector", "--model", "speaker=embedder", "--no-manner"),
    "check": ("corpus", "check", "REC.csv", "--decode"),
    "index": ("index", "build", "REC", "--encoder", "log_mel", "-o", "index"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, speechlike: Callable[..., Any]) -> Path:
    """Recordings of five and of twenty minutes, and a short one; models that are made in a moment."""
    home = tmp_path_factory.mktemp("long")
    make_detector(home / "detector")
    make_embedder(home / "embedder")
    minute = speechlike(60)
    soundfile.write(home / "a.wav", minute[: 5 * RATE], RATE)
    for minutes in (SHORT_MIN, LONG_MIN):
        with soundfile.SoundFile(home / f"{minutes}.wav", "w", RATE, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(minute)
        (home / f"{minutes}.wav.csv").write_text(f"path\n{minutes}.wav\n")
    return home


@pytest.mark.parametrize("words", SCORE.values(), ids=SCORE)
def test_twenty_minutes_take_what_five_take(forked: Forked, home: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    peaks = []
    for minutes in (SHORT_MIN, LONG_MIN):
        (place := tmp_path / str(minutes)).mkdir()
        for name in home.iterdir():
            (place / name.name).symlink_to(name)
        done = forked(*(word.replace("REC", f"{minutes}.wav") for word in words), cwd=place)
        assert done.code == 0, done
        peaks.append(done.peak_mb)
    assert peaks[1] - peaks[0] < LEAST_HELD_MB / 2, peaks


class Loudness(MosEstimator):
    """A predictor that takes no time."""

    def __init__(self) -> None:
        self.windows = Sliding(length_s=9.01, hop_s=1.0)

    def rate_windows(self, samples: Any) -> Any:
        return np.abs(samples).mean(axis=1)


def test_quality_keeps_no_window(home: Path) -> None:
    tracemalloc.start()
    heard = Loudness().score_file(home / f"{LONG_MIN}.wav")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert heard.seconds_used == pytest.approx(60 * LONG_MIN)
    assert peak < 40e6  # a quarter of an hour of windows would be half a gigabyte


SHIPPED = ("score deepfake", "score deepfake-small", "score speaker", "score age", "score emotion", "score quality")


@pytest.mark.soak
@pytest.mark.parametrize("way", SHIPPED)
def test_shipped_models_over_a_quarter_of_an_hour(tmp_path: Path, way: str) -> None:
    """Above a recording of a minute, whose groups of windows are as large already."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from memory import WAYS, measured, write_long

    peaks = []
    for seconds in (60.0, 900.0):
        recording, out = write_long(tmp_path / f"{seconds:g}.wav", seconds), tmp_path / f"{seconds:g}"
        out.mkdir()
        peak = measured(WAYS[way](recording, out), out)
        assert peak.exit_code == 0, peak
        peaks.append(peak.peak_mb)
    assert peaks[1] - peaks[0] < 300, peaks
