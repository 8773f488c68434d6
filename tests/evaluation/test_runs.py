"""A speaker run from recipe to card: held-out pairs whole, short, over telephone, with and without the cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.core.errors import ModelError, RecipeError
from earwitness.evaluation.assessing import runs
from earwitness.evaluation.assessing.embedder import assess_embedder
from earwitness.evaluation.assessing.outcome import write_card
from earwitness.evaluation.judging.judge import JudgeOptions, judge
from earwitness.evaluation.judging.labelled import read_labelled
from earwitness.evaluation.results.evaluating import Evaluation
from earwitness.evaluation.results.files import read_result
from earwitness.evaluation.results.reproducing import reproduce
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.training.model_folder import read_model_info, revise_model, verify_model

QUICK = JudgeOptions(n_resamples=50)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, speechlike: Any) -> SpeakerRecipe:
    """Eight voices with three recordings each; three of them are held out."""
    home = tmp_path_factory.mktemp("voices")
    rows = []
    for speaker in range(8):
        sound = speechlike(7.8, seed=speaker)
        for part in range(3):
            name = f"s{speaker} {part}.wav"  # a blank in the name
            soundfile.write(home / name, sound[part * 41_600 :][:41_600], 16_000)
            rows.append(
                {"path": name, "speaker": f"s{speaker}", "language": "en", "duration_s": 2.6, "licence": "CC0-1.0"}
            )
    pl.DataFrame(rows).write_csv(home / "manifest.csv")
    network = {
        "branches": [
            {
                "frontend": {"kind": "fbank", "n_mels": 20},
                "encoder": {"kind": "lstm", "hidden": 8, "layers": 1},
                "pooling": {"kind": "mean"},
            }
        ],
        "embedding": {"dim": 6},
    }
    plan = {"epochs": 1, "batch_size": 4, "accelerator": "cpu", "select": {"metric": "eer"}}
    return SpeakerRecipe.model_validate(
        {
            "name": "voices",
            "task": "speaker",
            "data": {"manifests": [str(home / "manifest.csv")]},
            "split": {"dev_speakers": 3},
            "audio": {"crop_s": 0.5, "trim_silence": False},
            "network": network,
            "margin": {"kind": "aam"},
            "windows": {"kind": "sliding", "length_s": 1.0, "hop_s": 0.5},
            "cohort_top": 3,
            "draws": 8,
            "loop": plan,
        }
    )


@pytest.fixture(scope="module")
def run(recipe: SpeakerRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "voices"
    assert runs.run_recipe(recipe, folder) == folder / "model"
    return folder


def test_every_pair_is_a_trial(run: Path) -> None:
    lines = [line.split("\t") for line in (run / "results" / "dev.trials.txt").read_text().splitlines()]
    assert len(lines) == 9 * 8 // 2
    assert sum(label == "target" for *_, label in lines) == 3 * 3
    assert all((a.split()[0] == b.split()[0]) == (label == "target") for a, b, label in lines)


def test_figures_are_those_that_judging_gives(run: Path) -> None:
    info = verify_model(run / "model")
    rows = {row["source"]: row for row in reversed(info.extra["results"])}  # the first of each file
    for condition in ("full", "short", "telephone", "plain"):
        scores = read_labelled("speaker", run / "results" / f"dev.{condition}.scores.csv")
        eer = judge(scores).measure("EER").interval
        row = rows[f"results/dev.{condition}.json"]
        assert (row["value"], row["low"], row["high"]) == (100 * eer.value, 100 * eer.low, 100 * eer.high)
        assert (row["files"], row["unit"]) == (36, "speaker")
        written = read_result(run / row["source"])
        assert isinstance(written, Evaluation)
        assert written.judgement.measure("EER").interval == eer
        assert reproduce(run / row["source"]).same
    card = (run / "model" / "CARD.md").read_text()
    assert "both cut to 2 s" in card
    assert "used to choose epochs and to fit the calibration" in card
    assert info.tested.languages == ("en",)
    assert any("trained on 1 minutes: 15 recordings of 5 speakers" in note for note in info.tested.notes)


def test_conditions_are_heard(run: Path) -> None:
    tables = {
        name: pl.read_csv(run / "results" / f"dev.{name}.scores.csv")
        for name in ("full", "short", "telephone", "plain")
    }
    assert set(tables["full"]["seconds_used_test"]) == {2.6}
    assert set(tables["short"]["seconds_used_test"]) == {2.0}
    assert (tables["full"]["score"] - tables["telephone"]["score"]).abs().max() > 1e-3
    assert tables["plain"]["score"].is_between(-1, 1).all()  # a bare cosine
    assert tables["plain"]["llr"].null_count() == 36  # the calibration is not of it
    row = tables["full"].row(0, named=True)
    manifest = pl.read_csv(run / "results" / "dev.csv")
    paths = [run / "results" / manifest.filter(pl.col("id") == row[side])["path"][0] for side in ("enrol", "test")]
    embedder = Embedder.load(run / "model")
    enrol, test = (embedder.embed_file(path) for path in paths)
    assert row["score"] == pytest.approx(embedder.compare([enrol], test), abs=1e-5)


def test_a_model_that_may_be_chance_does_not_answer(run: Path) -> None:
    info = read_model_info(run / "model")
    full = next(row for row in info.extra["results"] if row["source"] == "results/dev.full.json")
    assert info.extra["inconclusive"] is (full["high"] >= 50)
    assert bool(info.extra["inconclusive_because"]) is info.extra["inconclusive"]


def test_results_of_other_weights_are_not_taken_over(run: Path) -> None:
    model, scored = run / "model", run / "results" / "dev.full.scores.csv"
    before = read_model_info(model)
    stamp = scored.stat().st_mtime_ns
    assess_embedder(model, run, QUICK)
    assert scored.stat().st_mtime_ns == stamp  # the same model: nothing is scored twice
    assert before.calibration is not None
    shifted = before.calibration.conditions[0].model_copy(update={"offset": 9.0})
    calibration = before.calibration.model_copy(update={"conditions": (shifted,)})
    revise_model(model, before.model_copy(update={"calibration": calibration}))
    try:
        assess_embedder(model, run, QUICK)
        assert scored.stat().st_mtime_ns != stamp
    finally:
        revise_model(model, before)


def test_no_held_out_pair_is_no_test(run: Path, tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text("path,speaker\na.wav,one\nb.wav,two\n")  # no trial of one speaker
    outcome = assess_embedder(run / "model", tmp_path)
    assert outcome.rows == ()
    assert "was not tested" in outcome.inconclusive[0]


def test_leaks_and_failures_reach_the_card(run: Path) -> None:
    model = run / "model"
    before, card = read_model_info(model), (model / "CARD.md").read_text()
    notes = [*before.training["notes"], "leak allowed by name: speaker 's1' (3 in train, 3 in dev)"]
    revise_model(model, before.model_copy(update={"training": {**before.training, "notes": notes}}))
    try:
        info = write_card(model, assess_embedder(model, run, QUICK))
        assert info.extra["inconclusive"] is True
        assert "1 leak(s)" in info.known_failures[0]
        assert "1 leak(s)" in (model / "CARD.md").read_text()
    finally:
        revise_model(model, before, card=card)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no model folder"):
        runs.assess_run(tmp_path)


def test_the_task_of_a_recipe_is_answered_with_the_allowed_ones(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("{name: x, task: deepfak}")
    with pytest.raises(RecipeError, match="Did you mean 'deepfake'"):
        runs.read_any_recipe(tmp_path / "r.yaml")


def test_nontargets_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from earwitness.corpora.manifest import Manifest
    from earwitness.evaluation.assessing import embedder as speaker_results

    monkeypatch.setattr(speaker_results, "MOST_NONTARGETS", 10)
    table = pl.DataFrame({"path": [f"{i}.wav" for i in range(20)], "speaker": [f"s{i // 4}" for i in range(20)]})
    table = table.with_columns(source_recording=pl.Series(["same", "same", *map(str, range(18))]))
    speaker_results.write_trial_list(Manifest.from_table(table, tmp_path), tmp_path / "t.txt")
    labels = [line.split("\t")[2] for line in (tmp_path / "t.txt").read_text().splitlines()]
    assert labels.count("nontarget") == 10
    assert labels.count("target") == 5 * 6 - 1  # a recording and its copy are no trial
    assert np.argmax(np.array(labels) == "nontarget") < len(labels) - 10
