"""Voices whose pitch says their age, and a recipe that learns it in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile

from earwitness.paralinguistic.age_recipe import AgeRecipe

AGES = (8, 15, 22, 30, 38, 45, 52, 60)
SIDES = {0: "train", 1: "train", 2: "dev", 3: "test"}


def voice(age: float, seed: int, seconds: float = 0.8) -> np.ndarray:
    """Harmonics of 420 - 5 x age Hz, a little off, in noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    pitch = 420 - 5 * age + rng.normal(0, 3)
    sound = sum(np.sin(2 * np.pi * k * pitch * time + rng.random() * 6) / k for k in range(1, 6))
    return np.asarray(0.1 * sound + 0.003 * rng.standard_normal(len(time)), np.float32)


def write_voices(folder: Path) -> Path:
    """The manifest of four speakers of each age, two recordings each; beside it `sides.csv`."""
    rows = []
    for place, age in enumerate(AGES):
        for number in range(4):
            for take in range(2):
                name = f"{age}-{number}-{take}.wav"
                soundfile.write(folder / name, voice(age, 1000 * place + 10 * number + take), 16_000)
                rows.append(
                    {
                        "id": name,
                        "path": name,
                        "speaker": f"{age}-{number}",
                        "age": age,
                        "sex": ("f", "m", None, "male")[number],
                        "duration_s": 0.8,
                        "language": "xx",
                        "licence": "CC0-1.0",
                        "split": SIDES[number],
                    }
                )
    table = pl.DataFrame(rows)
    table.select("id", "split").write_csv(folder / "sides.csv")
    table.drop("split").write_csv(folder / "manifest.csv")
    return folder / "manifest.csv"


def recipe(manifest: Path, **changes: Any) -> AgeRecipe:
    """On the voices, with a network of a moment."""
    branch = {"frontend": {"kind": "log_mel", "n_mels": 40}, "pooling": {"kind": "statistics"}}
    settings: dict[str, Any] = {
        "name": "pitch",
        "task": "age",
        "data": {"manifests": [str(manifest)], "split_file": str(manifest.parent / "sides.csv")},
        "audio": {"crop_s": 0.5, "trim_silence": False},
        "network": {"branches": [branch], "embedding": {"dim": 16}},
        "loss": {"kind": "svldl", "warmup_epochs": 1},
        "optimiser": {"kind": "adam", "lr": 0.03},
        "loop": {"epochs": 12, "batch_size": 16, "accelerator": "cpu", "select": {"metric": "mae"}},
        "windows": {"kind": "sliding", "length_s": 0.5, "hop_s": 0.5, "repeat": False},
    }
    return AgeRecipe.model_validate(settings | changes)
