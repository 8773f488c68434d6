"""One trained toy model of emotions, and its manifest."""

from __future__ import annotations

import pytest
from emotion_runs import Run

from earwitness.paralinguistic.emotion_training import train_emotion
from toy_emotions import recipe, write_corpus


@pytest.fixture(scope="session")
def emotion_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All tasks at once, their conflicts counted."""
    folder = tmp_path_factory.mktemp("emotions")
    manifest = write_corpus(folder)
    made = recipe(manifest, epochs=10, alignment={"rule": "none"}, losses={"intensity": 4.0})
    return Run(manifest, folder / "run", train_emotion(made, folder / "run"))
