"""A loaded detector: one code path for samples and files, and refusals instead of scores of nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earwitness.core.errors import AudioError, ModelError
from earwitness.deepfake.detector import Detector


@pytest.fixture(scope="module")
def detector(run: Path) -> Detector:
    return Detector.load(run / "model")


def test_samples_and_file_give_one_score(detector: Detector, speechlike: Any, tmp_path: Path) -> None:
    sound = speechlike(7.3, seed=50)
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    here, there = detector.score(sound, 16_000), detector.score_file(tmp_path / "a.wav")
    assert here.score == pytest.approx(there.score, abs=1e-6)
    assert [w.score for w in here.windows] == pytest.approx([w.score for w in there.windows], abs=1e-6)
    assert (here.seconds_used, here.seconds_total) == pytest.approx((7.3, 7.3))
    assert here.window_policy == "sliding 0.5 s / 0.5 s"
    assert here.score == pytest.approx(np.mean([w.score for w in here.windows]))


def test_a_stretch_and_a_channel_are_scored_as_themselves(detector: Detector, speechlike: Any, tmp_path: Path) -> None:
    left, right = speechlike(3.0, seed=51), speechlike(3.0, seed=52)
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    part = detector.score_file(tmp_path / "two.wav", channel=1, start_s=1.0, end_s=2.5)
    assert part.score == pytest.approx(detector.score(right[16_000:40_000], 16_000).score, abs=1e-6)
    assert (part.windows[0].start_s, part.windows[-1].end_s) == (1.0, 2.5)


def test_other_rates_and_shapes_are_taken(detector: Detector, speechlike: Any) -> None:
    sound = speechlike(2.0, seed=53)
    stereo = np.stack([sound, sound], axis=1)
    assert detector.score(stereo, 16_000).score == pytest.approx(detector.score(sound, 16_000).score, abs=1e-6)
    assert detector.score(speechlike(2.0, rate=44_100), 44_100).seconds_total == pytest.approx(2.0, abs=1e-3)


def test_silent_windows_are_left_out(detector: Detector, speechlike: Any) -> None:
    sound = speechlike(1.0, seed=54)
    padded = np.concatenate([sound, np.zeros(16_000, np.float32)])
    alone, with_silence = detector.score(sound, 16_000), detector.score(padded, 16_000)
    assert with_silence.score == pytest.approx(alone.score, abs=1e-5)
    assert with_silence.seconds_used == 1.0
    assert with_silence.seconds_total == 2.0


def test_silence_and_scraps_are_refused(detector: Detector, speechlike: Any, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"0\.00 s of sound"):
        detector.score(np.zeros(32_000, np.float32), 16_000)
    with pytest.raises(AudioError, match=r"0\.20 s of sound"):
        detector.score(speechlike(0.2), 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(32_000), 16_000)
    with pytest.raises(AudioError, match="of sound"):
        detector.score_file(tmp_path / "silent.wav")


def test_only_a_calibrated_model_gives_ratios(detector: Detector, speechlike: Any) -> None:
    sound = speechlike(2.0, seed=55)
    known = detector.score(sound, 16_000)
    assert detector.info.calibration is not None
    clean = detector.info.calibration.conditions[0]
    assert known.llr == pytest.approx(np.clip(clean.scale * known.score + clean.offset, clean.low, clean.high))
    bare = Detector(detector.network, detector.info.model_copy(update={"calibration": None}))
    assert bare.score(sound, 16_000).llr is None


def test_altered_and_foreign_models_are_refused(run: Path, tmp_path: Path) -> None:
    model = shutil.copytree(run / "model", tmp_path / "model")
    weights = model / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.safetensors.*was altered"):
        Detector.load(model)
    text = (model / "model.json").read_text()
    (model / "model.json").write_text(text.replace('"task": "deepfake"', '"task": "speaker"'))
    with pytest.raises(ModelError, match="answers 'speaker'"):
        Detector.load(model)
    with pytest.raises(ModelError, match="no model folder"):
        Detector.load(tmp_path)
