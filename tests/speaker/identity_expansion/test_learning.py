"""Training with invented speakers: classes, shares, perturbation, and that real speakers alone are in the cohort."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from earwitness.core.errors import DataError, LeakError
from earwitness.corpora.batches import Vocabulary
from earwitness.corpora.manifest import Manifest
from earwitness.speaker import training
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.identities import COHORT_SPEAKERS, TRAINING_SPEAKERS, speaker_keys
from earwitness.speaker.identity_expansion import Expanded, ExpansionConfig, expand_identities
from earwitness.speaker.identity_expansion.learning import (
    ExpandedTraining,
    Expansion,
    always_perturbed,
    expanded_batches,
    share_of,
)
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import train_embedder
from earwitness.training.data import SplitData, read_split, utterance_options
from earwitness.training.model_folder import read_model_info

SPEEDS = (1.0, 0.9, 1.1)


def sides(corpus: Manifest) -> SplitData:
    parts = [corpus.filter(pl.col("split") == name) for name in ("train", "dev", "test")]
    return SplitData(*parts)


@pytest.fixture(scope="module")
def made(toy_corpus: Manifest, config: ExpansionConfig, tmp_path_factory: pytest.TempPathFactory) -> Expanded:
    return expand_identities(toy_corpus, tmp_path_factory.mktemp("made"), config)


@pytest.fixture(scope="module")
def anew(toy_corpus: Manifest, config: ExpansionConfig, tmp_path_factory: pytest.TempPathFactory) -> Expanded:
    control = config.model_copy(update={"control": "resynthesis"})
    return expand_identities(toy_corpus, tmp_path_factory.mktemp("anew"), control)


@pytest.fixture
def expanded_recipe(recipe: SpeakerRecipe, toy_corpus: Manifest, made: Expanded) -> SpeakerRecipe:
    """The tiny recipe of the speaker tests on the toy voices, with four identities more."""
    plain = recipe.model_dump()
    plain["data"] = {
        "manifests": [str(toy_corpus.root / "manifest.csv")],
        "split_file": str(toy_corpus.root / "sides.csv"),
    }
    plain["split"] = {"kind": "speaker"}
    plain["expansion"] = {"folder": str(made.manifest.root)}
    return SpeakerRecipe.model_validate({**plain, "speeds": SPEEDS, "draws": 40, "cohort_top": 3})


@pytest.mark.shows("inside:6.5")
def test_the_count_of_classes(toy_corpus: Manifest, made: Expanded, anew: Expanded) -> None:
    data, real = sides(toy_corpus), Vocabulary(tuple(sorted(f"v{number}" for number in range(12))))
    expansion = Expansion.read(made.manifest.root, data)
    assert len(expansion.classes(real, (1.0,))) == 12 + 4
    classes = expansion.classes(real, SPEEDS)
    assert len(classes) == 12 * 3 + 4
    assert sorted(expansion.class_of(classes).values()) == [36, 37, 38, 39]
    # real speakers made anew are no new classes
    again = Expansion.read(anew.manifest.root, data)
    same = again.classes(real, SPEEDS)
    assert len(same) == 12 * 3
    for pair in again.pairs:
        assert again.class_of(same)[pair.new_id] == real.index(pair.parent_a)


@pytest.mark.shows("inside:6.5")
def test_the_map_is_printed_saved_and_trained_with(
    expanded_recipe: SpeakerRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built: list[Any] = []
    start = training._trainee

    def watched(*arguments: Any) -> Any:
        built.append(start(*arguments))
        return built[-1]

    monkeypatch.setattr(training, "_trainee", watched)
    model = train_embedder(expanded_recipe, tmp_path)
    expected = "40 classes: 12 real (0 to 11), 24 speed-perturbed, 4 synthetic"
    assert expected in capsys.readouterr().err
    assert built[0][0].head.n_classes == 40
    lines = (tmp_path / "classes.tsv").read_text().splitlines()
    assert len(lines) == 41
    assert [line.split("\t")[1] for line in lines[1:]] == ["real"] * 12 + ["speed"] * 24 + ["synthetic"] * 4
    # the cohort holds real speakers only, and so do those who are named as learnt from
    info = read_model_info(model)
    real = speaker_keys(f"v{number}" for number in range(12))
    assert info.extra[COHORT_SPEAKERS] == info.extra[TRAINING_SPEAKERS] == real
    assert info.cohort is not None
    assert info.cohort.speakers == 12
    assert any(expected in note for note in info.training["notes"])  # type: ignore[union-attr]
    assert Embedder.load(model).comparator.cohort is not None


def test_draws_hold_their_share_and_batches_stay_as_many(
    expanded_recipe: SpeakerRecipe, toy_corpus: Manifest, made: Expanded
) -> None:
    data = sides(toy_corpus)
    expansion = Expansion.read(made.manifest.root, data)
    real = Vocabulary.of(data.train, "speaker")
    classes = expansion.classes(real, SPEEDS)
    batches = expanded_batches(expanded_recipe, data.train, expansion, classes, 0.3)
    assert batches.count(0) == 10  # 40 draws of 4, as without the identities
    drawn: list[tuple[str, int]] = []
    for batch in batches.load(0, range(10)):
        assert batch.targets.speaker is not None
        drawn += zip(batch.ids, batch.targets.speaker.tolist(), strict=True)
    synthetic = [(name, kind) for name, kind in drawn if name.startswith("ins_")]
    assert len(drawn) == 40
    assert len(synthetic) == round(40 * 4 / 16)
    assert {kind for _, kind in synthetic} <= set(range(36, 40))
    for name, kind in synthetic:
        assert kind == classes.index(name.split("/")[0])
    for name, kind in drawn:
        if not name.startswith("ins_"):
            assert kind % 12 == real.index(name.split("-")[0])
    again = [name for batch in batches.load(0, range(10)) for name in batch.ids]
    assert again == [name for name, _ in drawn]
    assert [name for batch in batches.load(1, range(10)) for name in batch.ids] != again


def test_shares() -> None:
    assert share_of(4, 12) == 0.25
    assert share_of(12, 12) == 0.3
    assert share_of(12, 12, 0.1) == 0.1
    with pytest.raises(ValidationError, match=r"less than or equal to 0\.3"):
        ExpandedTraining(folder=Path("x"), share=0.31)


def test_synthetic_utterances_are_always_perturbed(expanded_recipe: SpeakerRecipe, made: Expanded) -> None:
    options = utterance_options(expanded_recipe)
    always = always_perturbed(expanded_recipe, options)
    assert always.speeds == (1.0,)
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    assert options.perturbation is not None
    assert always.perturbation is not None
    changed: Counter[str] = Counter()
    for seed in range(20):
        for name, each in (("sometimes", options), ("always", always)):
            result = each.perturbation(sound, 16_000, np.random.default_rng(seed))  # type: ignore[misc]
            changed[name] += not np.array_equal(result, sound)
    assert changed["always"] == 20
    assert 2 < changed["sometimes"] < 18
    with pytest.raises(DataError, match="must be perturbed"):
        always_perturbed(expanded_recipe.model_copy(update={"perturbations": ()}), options)
    with pytest.raises(ValidationError, match="`perturbations` for the synthetic"):
        SpeakerRecipe.model_validate({**expanded_recipe.model_dump(), "perturbations": []})


@pytest.mark.shows("inside:6.4")
def test_a_parent_who_is_tested_on_stops_training(
    expanded_recipe: SpeakerRecipe, toy_corpus: Manifest, made: Expanded, tmp_path: Path
) -> None:
    parent = made.pairs[0].parent_a
    moved = toy_corpus.table.select(
        "id", split=pl.when(pl.col("speaker") == parent).then(pl.lit("test")).otherwise("split")
    )
    moved.write_csv(tmp_path / "sides.csv")
    data = expanded_recipe.data.model_copy(update={"split_file": tmp_path / "sides.csv"})
    with pytest.raises(LeakError, match=f"the test speaker '{parent}'"):
        train_embedder(expanded_recipe.model_copy(update={"data": data}), tmp_path / "run")


def test_a_folder_that_is_no_expansion_or_has_lost_its_marks(
    toy_corpus: Manifest, made: Expanded, tmp_path: Path
) -> None:
    data = sides(toy_corpus)
    with pytest.raises(DataError, match="holds no expansion"):
        Expansion.read(tmp_path, data)
    for name in ("manifest.json", "pairs.tsv"):
        (tmp_path / name).write_bytes((made.manifest.root / name).read_bytes())
    made.manifest.with_table(made.manifest.table.drop("synthetic")).write(tmp_path / "manifest.csv")
    with pytest.raises(DataError, match="not marked as synthetic"):
        Expansion.read(tmp_path, data)
    made.manifest.write(tmp_path / "manifest.csv")
    (tmp_path / "pairs.tsv").write_text((tmp_path / "pairs.tsv").read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match=r"has no parents in pairs\.tsv"):
        Expansion.read(tmp_path, data)


def test_the_recipe_reads_its_own_sides(expanded_recipe: SpeakerRecipe) -> None:
    data = read_split(expanded_recipe.data, expanded_recipe.split, "speaker")
    assert len(data.train) == 36
