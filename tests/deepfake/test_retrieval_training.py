"""From a recipe and an index to a RAD detector that scores files, is killed and resumed, and asks for its index."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from earwitness.core.errors import ModelError
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.retrieval.building import build_index
from earwitness.deepfake.retrieval.detecting import RetrievalNetwork
from earwitness.deepfake.retrieval.hearing import Hearing
from earwitness.deepfake.retrieval.layers import LayersConfig
from earwitness.deepfake.retrieval.training import RetrievalRecipe, train_retrieval
from earwitness.evaluation.assessing.runs import read_any_recipe, run_recipe


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A folder with an index of the corpus's genuine recordings, segments of half a second."""
    folder = tmp_path_factory.mktemp("rad")
    hearing = Hearing.begin(LayersConfig.of("log_mel"), tau=5, segment_s=0.5)
    build_index(Manifest.read(corpus), folder / "index", hearing)
    return folder


def recipe_of(home: Path, corpus: Path, **changes: Any) -> RetrievalRecipe:
    data = {
        "name": "tiny-rad",
        "task": "deepfake-retrieval",
        "index": str(home / "index"),
        "data": {"manifests": [str(corpus)]},
        "split": {"dev_families": ["f1"], "dev_share": 0.34},
        "neighbours": 3,
        "hidden": 8,
        "optimiser": {"kind": "adam", "lr": 0.003},
        "loop": {"epochs": 3, "batch_size": 8, "accelerator": "cpu", "select": {"metric": "eer"}},
    }
    (home / "recipe.yaml").write_text(yaml.safe_dump(data | changes))
    recipe = read_any_recipe(home / "recipe.yaml")
    assert isinstance(recipe, RetrievalRecipe)
    return recipe


@pytest.fixture(scope="module")
def model(home: Path, corpus: Path) -> Path:
    return train_retrieval(recipe_of(home, corpus), home / "run")


def test_a_detector_that_retrieves_scores_files(model: Path, corpus: Path) -> None:
    detector = Detector.load(model)
    assert isinstance(detector.network, RetrievalNetwork)
    assert detector.info.windows.name == "sliding 0.5 s / 0.5 s"
    score = detector.score_file(corpus.parent / "00.wav")
    assert len(score.windows) == 3
    assert score.llr is not None
    notes = detector.info.training["notes"]
    assert any("genuine segments" in str(note) for note in notes)  # type: ignore[union-attr]
    assert any("excluded as the asking recording itself" in str(note) for note in notes)  # type: ignore[union-attr]


def test_at_inference_too_a_recording_is_not_its_own_neighbour(model: Path, corpus: Path, monkeypatch: Any) -> None:
    detector = Detector.load(model)
    assert isinstance(detector.network, RetrievalNetwork)
    database = type(detector.network.index.database)
    seen = []

    def watched(self: Any, *given: Any, **named: Any) -> Any:
        found = retrieve(self, *given, **named)
        seen.extend(map(len, found.excluded))
        return found

    retrieve = database.retrieve
    monkeypatch.setattr(database, "retrieve", watched)
    detector.score_file(corpus.parent / "00.wav")  # genuine, and in the index with 3 segments
    detector.score_file(corpus.parent / "23.wav")  # a spoof
    assert seen == [3, 3, 3, 0, 0, 0]


def test_training_again_gives_the_same_and_hears_nothing_twice(
    home: Path, corpus: Path, model: Path, monkeypatch: Any
) -> None:
    shutil.copytree(home / "run" / "heard", home / "again" / "heard")
    monkeypatch.setattr(Hearing, "first", None)  # what was heard is kept
    again = train_retrieval(recipe_of(home, corpus), home / "again")
    first, second = Detector.load(model).info, Detector.load(again).info
    assert first.files["weights.safetensors"] == second.files["weights.safetensors"]


def test_without_retrieval_the_same_recipe_trains_the_classifier_alone(home: Path, corpus: Path) -> None:
    alone = train_retrieval(recipe_of(home, corpus, neighbours=0), home / "alone")
    detector = Detector.load(alone)
    assert isinstance(detector.network, RetrievalNetwork)
    assert type(detector.network.classifier).__name__ == "MfaClassifier"
    assert detector.score_file(corpus.parent / "00.wav").llr is not None


def test_a_model_asks_for_its_own_index(model: Path, tmp_path: Path, home: Path, corpus: Path) -> None:
    moved = tmp_path / "run" / "model"
    shutil.copytree(model, moved)
    with pytest.raises(ModelError, match="its index is no index"):
        Detector.load(moved)
    other = Hearing.begin(LayersConfig.of("log_mel"), tau=4, segment_s=0.5)
    build_index(Manifest.read(corpus), tmp_path / "index", other)
    with pytest.raises(ModelError, match=other.recipe.sha256[:16]):
        Detector.load(moved)


@pytest.mark.soak
def test_a_whole_run_is_tested_and_gets_its_card(home: Path, corpus: Path) -> None:
    recipe = recipe_of(home, corpus, split={"dev_families": ["f1"], "test_families": ["f2"], "test_share": 0.3})
    model = run_recipe(recipe, home / "whole")
    card = (model / "CARD.md").read_text(encoding="utf-8")
    assert "tiny-rad" in card
    notes = str(Detector.load(model).info.training["notes"])
    assert "of the test side are in the index; results are optimistic" in notes
