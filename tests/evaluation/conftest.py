"""Tiny models and a folder of recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from earwitness.deepfake.detector import Detector
from earwitness.speaker.embedder import Embedder
from tiny_models import make_detector, make_embedder


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector.load(make_detector(tmp_path_factory.mktemp("models") / "detector"))


@pytest.fixture(scope="session")
def other_detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector.load(make_detector(tmp_path_factory.mktemp("models") / "other", seed=1))


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return Embedder.load(make_embedder(tmp_path_factory.mktemp("models") / "embedder"))


@pytest.fixture
def calls(tmp_path: Path, speechlike: Callable[..., object]) -> Path:
    """Four recordings, one of them in a folder of its own; one file that is none, and one that does not say so."""
    folder = tmp_path / "calls"
    (folder / "deep").mkdir(parents=True)
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", speechlike(2 + number / 2, seed=number), 16_000)
    soundfile.write(folder / "deep" / "3.flac", speechlike(2, rate=22_050, seed=3), 22_050)
    (folder / "4.mp3").write_text("no sound at all")
    (folder / "notes.txt").write_text("not a recording")
    return folder
