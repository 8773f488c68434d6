"""A corpus of two classes, a recipe for it, and a detector trained by it once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.training import train_detector

RATE = 16_000


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, speechlike: Any) -> Path:
    """24 recordings of 1.2 s: six speakers twice, and six systems of three families whose sound ends at 2 kHz."""
    home = tmp_path_factory.mktemp("corpus")
    smooth = np.hanning(33) / np.hanning(33).sum()
    rows = []
    for number in range(24):
        real = number < 12
        sound = speechlike(1.2, seed=number)
        sound = sound if real else np.convolve(sound, smooth, mode="same").astype(np.float32)
        name = f"{number:02d}.wav"
        soundfile.write(home / name, sound, RATE, subtype="FLOAT")
        unit = number % 6
        kind = {"label": "bonafide", "speaker": f"s{unit}", "system": "", "family": ""}
        made = {"label": "spoof", "speaker": "", "system": f"tts{unit}", "family": f"f{unit % 3}"}
        rows.append({"path": name, "corpus": "c", "licence": "CC0-1.0", **(kind if real else made)})
    pl.DataFrame(rows).write_csv(home / "manifest.csv")
    return home / "manifest.csv"


@pytest.fixture(scope="session")
def recipe(corpus: Path) -> DetectionRecipe:
    """One family and a third of the speakers in dev; a linear layer on mel frames."""
    return DetectionRecipe.model_validate(
        {
            "name": "tiny",
            "task": "deepfake",
            "data": {"manifests": [str(corpus)]},
            "split": {"dev_families": ["f1"], "dev_share": 0.34},
            "audio": {"crop_s": 0.5, "trim_silence": False},
            "network": {
                "branches": [{"frontend": {"kind": "log_mel", "n_mels": 20}, "pooling": {"kind": "statistics"}}],
                "embedding": {"dim": 8, "activation": "relu"},
                "outputs": 2,
            },
            "perturbations": [{"kind": "gain", "p": 0.5}],
            "windows": {"kind": "sliding", "length_s": 0.5, "hop_s": 0.5},
            "draws": 16,
            "optimiser": {"kind": "adamw", "lr": 0.01},
            "loop": {"epochs": 3, "batch_size": 8, "accelerator": "cpu", "select": {"metric": "eer"}},
        }
    )


@pytest.fixture(scope="session")
def run(recipe: DetectionRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    assert train_detector(recipe, folder) == folder / "model"
    return folder
