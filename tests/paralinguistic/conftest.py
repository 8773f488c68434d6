"""One trained toy model of emotions, and its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from earwitness.paralinguistic.emotion_training import train_emotion
from toy_emotions import recipe, write_corpus


@dataclass(frozen=True)
class Run:
    """A finished run: its manifest, its folder, and the model in it."""

    manifest: Path
    folder: Path
    model: Path


@pytest.fixture(scope="session")
def emotion_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All tasks at once, their conflicts counted."""
    folder = tmp_path_factory.mktemp("emotions")
    manifest = write_corpus(folder)
    made = recipe(manifest, epochs=12, alignment={"rule": "none"}, losses={"intensity": 2.0})
    return Run(manifest, folder / "run", train_emotion(made, folder / "run"))
