"""From a name or a path to a model that answers: `load("deepfake")`, `load("runs/mine/model")`."""

from __future__ import annotations

from pathlib import Path

from earwitness.core.errors import ModelError
from earwitness.deepfake.detector import Detector
from earwitness.speaker.embedder import Embedder
from earwitness.training.model_folder import read_model_info
from earwitness.training.shipped import find_model


def load(name: str | Path) -> Detector | Embedder:
    """A shipped model by name, or a model folder by path. Raises `ModelError` (unknown, incomplete, altered)."""
    folder = find_model(name)
    task = read_model_info(folder).task
    if task == "deepfake":
        return Detector.load(folder)
    if task == "speaker":
        return Embedder.load(folder)
    raise ModelError(f"no room of this version answers '{task}'", where=folder)


def load_detector(name: str | Path) -> Detector:
    """A detector by name or path. Raises `ModelError` for a model of another task."""
    return Detector.load(find_model(name))


def load_embedder(name: str | Path) -> Embedder:
    """A speaker embedder by name or path. Raises `ModelError` for a model of another task."""
    return Embedder.load(find_model(name))
