"""A committee from recipe to tested model: left-out scores, calibration, and kept vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from earwitness.audio.perturb.suite import NamedPerturbation
from earwitness.core.errors import DataError, MissingPartError, RecipeError
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake import left_out
from earwitness.deepfake.committee import (
    ROWS,
    Tried,
    cross_applied,
    cross_fitted,
    drawn,
    left_out_scores,
    network_of,
    prepare,
    scores_path,
)
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.left_out import Finished, folds_of, judged_of, member, recipe_of, score_tested
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.task import bona_fide_score
from earwitness.deepfake.training import train_detector
from earwitness.evaluation.assessing.runs import assess_run
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.results.reproducing import reproduce
from earwitness.training.conditions import TESTED
from earwitness.training.model_folder import ABSTAIN, read_model_info
from earwitness.training.pooled import heard_in, pooled_vectors, require_frozen


@pytest.fixture(scope="module")
def plan(recipe: DetectionRecipe) -> DetectionRecipe:
    """The tiny recipe with a committee of three: each leaves out a family and a third of the speakers."""
    content = recipe.model_dump(mode="json")
    branch = {"frontend": {"kind": "fine_structure", "view": "level"}, "pooling": {"kind": "statistics"}}
    content["network"] = {"branches": [branch], "outputs": 2, "votes": {"hidden": 8, "copies": 3}}
    content["split"] = {"kind": "folds", "families": [["f0"], ["f1"], ["f2"]], "seed": 3}
    content["views"] = ["clean", 1]
    content["balance"] = ["label", "stratum"]
    content["draws"] = 160
    content["loop"] |= {"select": None, "batch_size": 32}
    return DetectionRecipe.model_validate(content)


@pytest.fixture(scope="module")
def committee(plan: DetectionRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("committee")
    assert train_detector(plan, folder) == folder / "model"
    return folder


def test_left_out_scores_tell_the_classes_apart_and_cover_what_is_judged(committee: Path) -> None:
    scores = pl.read_csv(committee / "left-out-clean.scores.csv")
    rows = Manifest.read(committee / ROWS).table
    assert set(scores["id"]) == set(rows.filter(pl.col("judged") == "yes")["id"])
    table = rows.join(scores.select("id", "score"), on="id")
    real, made = (table.filter(pl.col("label") == label)["score"] for label in ("bonafide", "spoof"))
    assert real.min() > made.max()  # type: ignore[operator]


def test_a_left_out_score_is_that_of_the_member_that_left_the_row_out(committee: Path, plan: DetectionRecipe) -> None:
    network = network_of(Detector.load(committee / "model"))
    rows = Manifest.read(committee / ROWS)
    vectors = pooled_vectors(network, plan, rows, ["clean"], committee / "pooled")[:, 0]
    fold = rows.table["fold"].cast(pl.Int64).to_numpy()
    before = left_out_scores(network, vectors, fold)
    votes = network.classifier.members[0]  # type: ignore[union-attr]
    votes.bias.data[1, 1] += 5  # type: ignore[union-attr]
    after = left_out_scores(network, vectors, fold)
    np.testing.assert_allclose(after - before, np.where(fold == 1, 5.0, 0.0), atol=1e-4)


def test_the_model_says_how_it_was_calibrated_and_answers(committee: Path, plan: DetectionRecipe) -> None:
    detector, rows = Detector.load(committee / "model"), Manifest.read(committee / ROWS)
    calibration = detector.info.calibration
    assert calibration is not None
    assert "left-out" in calibration.fitted_on
    assert [c.condition for c in calibration.conditions] == ["clean", "short", "narrow_band", "noisy"]
    answers = [detector.score_file(rows.resolve(row)).score for row in rows.rows()]
    human = (rows.table["label"] == "bonafide").to_numpy()
    assert min(np.array(answers)[human]) > max(np.array(answers)[~human])


def test_kept_vectors_are_not_computed_again(plan: DetectionRecipe, tmp_path: Path) -> None:
    prepared = prepare(plan, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert prepared.vectors.shape == (24, 2, 2 * 514)
    prepare(plan, tmp_path)
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    lost = next(iter(files))
    lost.unlink()
    again = prepare(plan, tmp_path)
    assert lost.is_file()
    np.testing.assert_array_equal(again.vectors, prepared.vectors)


def test_the_ratio_of_a_fold_does_not_depend_on_its_own_labels() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 60)
    scores, fold = rng.normal(2.0 * labels, 1), np.repeat([0, 1, 2], 40)
    before = cross_fitted(scores, labels, fold)
    turned = np.where(fold == 1, 1 - labels, labels)
    after = cross_fitted(scores, turned, fold)
    np.testing.assert_array_equal(before[fold == 1], after[fold == 1])
    assert not np.array_equal(before[fold != 1], after[fold != 1])


def test_branches_that_learn_are_refused(plan: DetectionRecipe) -> None:
    content = plan.model_dump(mode="json")["network"]
    content["branches"][0]["encoder"] = {"kind": "lstm", "hidden": 4}
    with pytest.raises(RecipeError, match="weights that are trained"):
        require_frozen(type(plan.network).model_validate(content).build())


def test_folds_need_as_many_members(plan: DetectionRecipe) -> None:
    content = plan.model_dump(mode="json")
    content["network"]["votes"]["copies"] = 2
    with pytest.raises(ValueError, match="3 folds needs"):
        DetectionRecipe.model_validate(content)


def test_ratios_of_other_rows_are_those_of_the_calibration_of_their_fold() -> None:
    rng = np.random.default_rng(1)
    labels, fold = np.tile([0, 1], 60), np.repeat([0, 1, 2], 40)
    scores = rng.normal(2.0 * labels, 1)
    tried = Tried(scores, labels, fold)
    some = np.array([3, 50, 110])
    np.testing.assert_array_equal(
        cross_applied(scores[some], fold[some], tried), cross_fitted(scores, labels, fold)[some]
    )


def test_what_is_drawn_is_judged_and_always_the_same() -> None:
    judged = np.random.default_rng(2).random(2000) < 0.6
    places = drawn(judged)
    assert len(places) == 600
    assert judged[places].all()
    assert (np.diff(places) > 0).all()
    np.testing.assert_array_equal(places, drawn(judged))
    np.testing.assert_array_equal(drawn(judged[:50]), np.flatnonzero(judged[:50]))


def test_a_finished_run_scores_as_its_training_did(committee: Path, plan: DetectionRecipe) -> None:
    finished = Finished.load(committee / "model", committee)
    assert finished.recipe == plan == recipe_of(finished.detector.info)
    known = pl.read_csv(committee / "left-out-short.scores.csv")
    places = np.array([finished.rows.table["id"].to_list().index(name) for name in known["id"]])
    np.testing.assert_allclose(finished.scores(places, "short"), known["score"], atol=1e-6)
    assert set(folds_of(finished.rows)) == {0, 1, 2}


def test_perturbed_scores_are_made_once_a_model(committee: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = committee / "model"
    lacking = score_tested(model, committee)
    paths = {name: scores_path(committee, name) for name in TESTED if name not in lacking}
    clean = pl.read_csv(scores_path(committee, "clean"))
    for path in paths.values():
        table = pl.read_csv(path)
        assert set(table["id"]) == set(clean["id"])
        assert set(table["model"]) == {read_model_info(model).reference}
        assert table["llr"].null_count() == table.height
    stamps = {path: path.stat().st_mtime_ns for path in paths.values()}
    gsm, room = paths["gsm"], paths["room"]
    gsm.write_text(gsm.read_text().replace("tiny 1", "other 1"))  # as if another model had made them
    room.write_text(room.read_text().rsplit("\n", 2)[0] + "\n")  # as if a row had come since
    broken = {gsm, room}
    score_tested(model, committee)
    assert {path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp} == broken
    assert "other 1" not in gsm.read_text()
    with monkeypatch.context() as patched:
        patched.setattr(Finished, "load", lambda *_: pytest.fail("nothing is missing"))
        score_tested(model, committee)


def test_a_perturbation_that_is_not_to_be_had_is_said(committee: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        def build(self) -> None:
            raise MissingPartError("codec gsm is missing")

    score_tested(committee / "model", committee)
    gone = NamedPerturbation("gsm", "an old call", Missing())  # type: ignore[arg-type]
    monkeypatch.setattr(left_out, "TESTED", {**TESTED, "gsm": gone})
    assert score_tested(committee / "model", committee)["gsm"] == "codec gsm is missing"
    assert not scores_path(committee, "gsm").exists()
    info = assess_run(committee, JudgeOptions(n_resamples=20))
    assert any(note.endswith("codec gsm is missing") for note in info.tested.notes)
    assert not any("GSM" in str(row) for row in info.extra["results"])  # type: ignore[union-attr]


def test_its_card_is_made_of_what_was_left_out(committee: Path) -> None:
    info = assess_run(committee, JudgeOptions(n_resamples=20))
    results = info.extra["results"]
    assert isinstance(results, list)
    shares = [row for row in results if isinstance(row, dict) and str(row["metric"]).endswith("%")]
    value = {str(row["data"]): row["value"] for row in shares}
    assert value["left out, all synthesis of families never heard"] == 0
    assert value["left-out real speech"] == 0
    assert value["left out, all answered"] == 0
    assert set(info.thresholds) == {"left-out EER", ABSTAIN}
    assert value["left out, MP3 at 32 kbit/s"] < 50
    perturbed = [row for row in shares if str(row["source"]).startswith("results/perturbed-")]  # type: ignore[index]
    lacking = sum("not tested under" in note for note in info.tested.notes)
    assert len(perturbed) == 4 + len(TESTED) - lacking  # with the conditions and clean
    assert {row["files"] for row in perturbed} == {24}
    assert all("over" in line for line in (committee / "model" / "CARD.md").read_text().splitlines() if "MP3" in line)
    assert reproduce(committee / "results" / "perturbed-clean.json").same
    assert "Examples to listen to" not in (committee / "model" / "CARD.md").read_text()  # none may be passed on
    assert info.extra["inconclusive"] is True
    assert any("no twins" in reason or "not shown to be better" in reason for reason in info.known_failures)


def test_a_member_alone_scores_as_it_does_for_what_it_left_out(committee: Path, plan: DetectionRecipe) -> None:
    """Each row's left-out score again, from the samples, by the member as a detector of its own."""
    finished = Finished.load(committee / "model", committee)
    places = np.flatnonzero(judged_of(finished.rows))[:6]
    wanted = finished.scores(places, "clean")
    data = heard_in("clean", plan, finished.rows)
    folds = folds_of(finished.rows)
    for place, score in zip(places, wanted, strict=True):
        alone = member(finished.detector, int(folds[place]))
        waveform = data[int(place)].samples[None]
        with torch.inference_mode():
            found = float(bona_fide_score(alone.network(torch.as_tensor(waveform), None)))
        assert found == pytest.approx(score, abs=2e-2)  # kept vectors are of half precision
        other = member(finished.detector, (int(folds[place]) + 1) % 2)
        with torch.inference_mode():
            assert float(bona_fide_score(other.network(torch.as_tensor(waveform), None))) != found
    assert member(finished.detector, 1).info.name.endswith("member 1")
    with pytest.raises(DataError, match="no fold 9"):
        member(finished.detector, 9)
