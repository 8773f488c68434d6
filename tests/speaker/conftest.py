"""A corpus of synthetic speakers, a recipe for it, and a model trained by it once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile

from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import train_embedder

RATE = 16_000
SPEAKERS, ROWS = 7, 3


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory, speechlike: Any) -> Path:
    """A manifest of seven speakers with three recordings of 1.2 s each; speaker 0 is a corpus of its own."""
    home = tmp_path_factory.mktemp("voices")
    rows = []
    for speaker in range(SPEAKERS):
        sound = speechlike(1.2 * ROWS, seed=speaker)
        for part in range(ROWS):
            name = f"s{speaker}-{part}.wav"
            soundfile.write(home / name, sound[part * 19_200 :][:19_200], RATE, subtype="FLOAT")
            corpus = "apart" if speaker == 0 else "common"
            rows.append({"path": name, "speaker": f"s{speaker}", "corpus": corpus, "licence": "CC0-1.0"})
    pl.DataFrame(rows).write_csv(home / "manifest.csv")
    return home / "manifest.csv"


@pytest.fixture(scope="session")
def recipe(voices: Path) -> SpeakerRecipe:
    """Two dev speakers, one test speaker, four to train on; an LSTM of 8 units."""
    return SpeakerRecipe.model_validate(
        {
            "name": "tiny",
            "task": "speaker",
            "data": {"manifests": [str(voices)]},
            "split": {"dev_speakers": 2, "test_corpora": ["apart"]},
            "audio": {"crop_s": 0.5, "trim_silence": False},
            "network": {
                "branches": [
                    {
                        "frontend": {"kind": "fbank", "n_mels": 20, "mean_norm": True},
                        "encoder": {"kind": "lstm", "hidden": 8, "layers": 1},
                        "pooling": {"kind": "mean"},
                    }
                ],
                "embedding": {"dim": 6},
            },
            "perturbations": [{"kind": "telephone_band", "p": 0.5}],
            "margin": {"kind": "aam"},
            "windows": {"kind": "sliding", "length_s": 0.5, "hop_s": 0.25},
            "cohort_top": 3,
            "draws": 8,
            "loop": {"epochs": 1, "batch_size": 4, "accelerator": "cpu", "select": {"metric": "eer"}},
        }
    )


@pytest.fixture(scope="session")
def run(recipe: SpeakerRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    assert train_embedder(recipe, folder) == folder / "model"
    return folder
