"""A loaded embedder: one code path for samples and files, and refusals instead of prints of nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earwitness.core.errors import AudioError, ModelError
from earwitness.speaker.embedder import Embedder


@pytest.fixture(scope="module")
def embedder(run: Path) -> Embedder:
    return Embedder.load(run / "model")


@pytest.fixture
def recording(tmp_path: Path, speechlike: Any) -> tuple[Path, np.ndarray]:
    sound = speechlike(7.3, seed=11)
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    return tmp_path / "a.wav", sound


def test_samples_and_file_give_one_print(embedder: Embedder, recording: tuple[Path, np.ndarray]) -> None:
    path, sound = recording
    here, there = embedder.embed(sound, 16_000), embedder.embed_file(path)
    assert here.vector == pytest.approx(there.vector, abs=1e-6)
    assert here.windows == pytest.approx(there.windows, abs=1e-6)
    assert here.spans == there.spans
    assert (here.seconds_used, here.seconds_total) == pytest.approx((7.3, 7.3))
    assert np.linalg.norm(here.vector) == pytest.approx(1, abs=1e-6)
    assert np.linalg.norm(here.windows, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_print_does_not_depend_on_how_windows_are_grouped(embedder: Embedder, speechlike: Any) -> None:
    """Every window alone (recordings of just its length) gives what it gives among sixteen."""
    sound = speechlike(6.0, seed=3)
    together = embedder.embed(sound, 16_000)
    for number in (0, 5, 17):
        start = round(together.spans[number].start_s * 16_000)
        alone = embedder.embed(sound[start : start + 8_000], 16_000)
        assert alone.windows[0] == pytest.approx(together.windows[number], abs=1e-5)


def test_comparison_is_of_unit_means(embedder: Embedder, speechlike: Any) -> None:
    a, b, c = (embedder.embed(speechlike(1.5, seed=seed), 16_000) for seed in (1, 2, 3))
    assert embedder.compare([a], b) == pytest.approx(embedder.compare([b], a), abs=1e-6)
    assert embedder.compare([a, b], c) == pytest.approx(embedder.compare([b, a], c), abs=1e-6)
    assert embedder.compare([a], a) > embedder.compare([a], b)
    assert "AS-norm (4 speakers, top 3)" in embedder.comparator.name


def test_silence_and_scraps_are_refused(embedder: Embedder, speechlike: Any, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"0\.00 s of sound"):
        embedder.embed(np.zeros(32_000, np.float32), 16_000)
    with pytest.raises(AudioError, match=r"0\.25 s of sound"):
        embedder.embed(speechlike(0.25), 16_000)
    with pytest.raises(AudioError):
        embedder.embed(np.zeros(0, np.float32), 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(32_000), 16_000)
    with pytest.raises(AudioError, match="of sound"):
        embedder.embed_file(tmp_path / "silent.wav")


def test_silent_windows_are_left_out(embedder: Embedder, speechlike: Any) -> None:
    sound = speechlike(1.0, seed=5)
    padded = np.concatenate([sound, np.zeros(16_000, np.float32)])
    with_silence = embedder.embed(padded, 16_000)
    assert max(span.end_s for span in with_silence.spans) <= 1.5
    assert with_silence.seconds_used < with_silence.seconds_total == 2.0


def test_altered_and_foreign_models_are_refused(run: Path, tmp_path: Path) -> None:
    model = shutil.copytree(run / "model", tmp_path / "model")
    text = (model / "model.json").read_text()
    (model / "model.json").write_text(text.replace('"task": "speaker"', '"task": "deepfake"'))
    with pytest.raises(ModelError, match="answers 'deepfake'"):
        Embedder.load(model)
    (model / "model.json").write_text(text)
    (model / "cohort.safetensors").write_bytes(b"\0" * json.loads(text)["cohort"]["speakers"])
    with pytest.raises(ModelError, match="was altered"):
        Embedder.load(model)
