"""FRAMI as a claim: speakers are held out, errors are counted by speaker, students learn what their names say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.claims.digits import FOLDS, DigitMaterial
from earwitness.claims.frami import CLAIM, INVERTED, FramiClaim, _over
from earwitness.claims.judging import judge
from earwitness.claims.plan import Arm, ArmRun, Expected, Plan
from earwitness.core.config import parse_config
from earwitness.core.errors import DataError
from earwitness.training.inversion import InversionRecipe

RATE, SPEAKERS, TAKES = 8000, 6, 2
TONES = {"zero": 300.0, "one": 900.0, "two": 2400.0}
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> DigitMaterial:
    """Words that are tones, each speaker's a little higher or lower; and noise of another corpus."""
    folder, rows = tmp_path_factory.mktemp("digits"), []
    time = np.arange(RATE // 2) / RATE
    for speaker in range(SPEAKERS):
        rng = np.random.default_rng(speaker)
        for word, hertz in TONES.items():
            for take in range(TAKES):
                name = f"{word}-{speaker}-{take}"
                tone = np.sin(2 * np.pi * hertz * rng.uniform(0.9, 1.1) * time) * np.hanning(len(time))
                soundfile.write(folder / f"{name}.wav", 0.3 * tone + 0.003 * rng.normal(size=len(time)), RATE)
                rows.append((name, f"{name}.wav", f"s{speaker}", "fsdd", word))
    for number in range(4):
        soundfile.write(folder / f"n{number}.wav", 0.1 * np.random.default_rng(number).normal(size=RATE), RATE)
        rows.append((f"n{number}", f"n{number}.wav", "other", "emodb", ""))
    table = pl.DataFrame(rows, schema=["id", "path", "speaker", "corpus", "transcript"], orient="row")
    table.with_columns(label=pl.lit("bonafide"), licence=pl.lit("CC0-1.0")).write_csv(folder / "all.csv")
    return DigitMaterial.read(folder / "all.csv", folder / "kept")


def tiny() -> FramiClaim:
    teacher = _over(CLAIM.teacher, {"loop": {"epochs": 8, "batch_size": 12}, "perturbations": []})
    student = _over(
        CLAIM.student, {"loop": {"rounds": 2, "steps": 6}, "contrast": {"bank": 24, "negatives": 6, "head": 8}}
    )
    student["synthesis"] = {**student["synthesis"], "batch_size": 12, "steps": 4, "width": 8}
    return replace(CLAIM, teacher=teacher, student=student)


def test_speakers_are_tested_by_one_seed_and_taught_by_the_others(digits: DigitMaterial) -> None:
    speakers = digits.rows.table["speaker"].to_numpy()
    for seed in SEEDS:
        train, test = digits.train(seed), digits.test(seed)
        assert not set(speakers[train]) & set(speakers[test])
        assert len(set(speakers[test])) == SPEAKERS // FOLDS
        assert len(train) + len(test) == len(digits.rows)
    every = np.concatenate([digits.test(seed) for seed in SEEDS])
    assert sorted(every.tolist()) == list(range(len(digits.rows)))
    assert np.array_equal(digits.test(1), digits.test(1 + FOLDS))
    assert set(digits.other.table["corpus"]) == {"emodb"}


def test_errors_are_shares_of_wrong_names_and_speakers_are_drawn(digits: DigitMaterial) -> None:
    tested = digits.tested(SEEDS)
    assert (tested.measure, tested.units.count) == ("error", SPEAKERS)
    right = np.ones(tested.count(0))
    right[:3] = 0
    assert tested.error(0, right)(np.ones(SPEAKERS)) == pytest.approx(100 * 3 / len(right))
    rng = np.random.default_rng(0)
    good, bad = (
        [ArmRun((rng.random(tested.count(k)) < share).astype(float)) for k in range(len(SEEDS))] for share in (0.9, 0.1)
    )
    plan = Plan("p", "s", "w", (Arm("a", ""), Arm("b", "")), (Expected("a", "b", "a is better"),))
    found = judge(plan, {"a": good, "b": bad}, tested, resamples=100)
    assert found.arms[0].error < 40 < 60 < found.arms[1].error
    assert found.differences[0].verdict == "seen"


def test_arms_that_invert_set_what_they_are_named_after() -> None:
    recipes: dict[str, InversionRecipe] = {
        arm: parse_config(InversionRecipe, _over(CLAIM.student, changes)) for arm, changes in INVERTED.items()
    }
    terms = {arm: recipe.weights for arm, recipe in recipes.items()}
    assert [name for name in ("bn", "oh", "adv", "cr") if getattr(terms["one-hot"], name)] == ["oh"]
    assert [name for name in ("bn", "oh", "adv", "cr") if getattr(terms["batch-norm"], name)] == ["bn", "oh"]
    assert terms["cmi"] == terms["full"]
    assert {arm for arm, recipe in recipes.items() if recipe.distillation.pre} == {"full"}
    assert recipes["deepinversion"].synthesis.kind == "inputs"
    steps = {(recipe.loop.rounds, recipe.loop.steps, recipe.distillation.batch_size) for recipe in recipes.values()}
    assert len(steps) == 1
    arms = [arm.name for arm in CLAIM.plan.arms]
    assert set(arms) == {"teacher", "recordings", "noise", "other-speech", *INVERTED}


def test_a_teacher_is_trained_once_and_its_students_answer_for_held_out_speakers(
    digits: DigitMaterial, tmp_path: Path
) -> None:
    claim = tiny()
    runs: dict[str, ArmRun] = {
        arm: claim.run(arm, 1, digits, tmp_path / arm)
        for arm in ("teacher", "recordings", "other-speech", "noise", "full")
    }
    assert (tmp_path / "teacher" / "teacher" / "run").is_dir()
    assert not (tmp_path / "full" / "teacher").exists()
    for run in runs.values():
        assert run.scores.shape == (len(digits.test(1)),)
        assert set(run.scores) <= {0.0, 1.0}
    assert runs["teacher"].scores.mean() > 0.6
    told: dict[str, Any] = {figure.name: figure.value for figure in runs["full"].figures}
    assert told["L_bn"] > 0
    assert 1 <= told["classes in the pool"] <= len(TONES)
    again = tiny().run("full", 1, digits, tmp_path / "again")
    assert np.array_equal(again.scores, runs["full"].scores)
    assert again.figures == runs["full"].figures


def test_a_manifest_without_digits_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["a"], "path": ["a.wav"], "speaker": ["s"], "corpus": ["emodb"]}).write_csv(
        tmp_path / "all.csv"
    )
    with pytest.raises(DataError, match="fsdd"):
        DigitMaterial.read(tmp_path / "all.csv", tmp_path)
