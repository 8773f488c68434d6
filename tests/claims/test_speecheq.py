"""SpeechEQ's claim: nobody is tested who was learnt from, transcripts of cuts do not count, arms learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from earwitness.claims.emotions import EmotionFrames, EmotionMaterial, _drawn, _torn
from earwitness.claims.judging import judge
from earwitness.claims.material import ROTATIONS
from earwitness.claims.plan import Arm, ArmRun, Expected, Plan
from earwitness.claims.running import Result, run_claim
from earwitness.claims.speecheq import CLAIM, EmotionClaim
from earwitness.claims.views import View
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.corpora.splits import exclude_licences
from earwitness.paralinguistic.labels import CATEGORIES, Labels, read_labels

SEEDS = (1, 2, 3, 4, 5)
EMOTIONS = ("neutral", "happiness", "sadness", "anger")
WIDTH, FRAMES = 12, 40


class Felt(EmotionMaterial):
    """Frames are drawn: an emotion moves two channels; letters of the transcript stand in others, one after another."""

    def kept(self, view: View = "clean") -> EmotionFrames:
        rng = np.random.default_rng([3, 0 if view == "clean" else int(view)])
        frames = 0.5 * rng.normal(size=(len(self.rows), FRAMES, WIDTH))
        category, texts = self.labels.category, self.rows.table["transcript"].to_list()
        speakers, strengths = self.speakers, self.labels.intensity.mean(axis=1)
        for row, text in enumerate(texts):
            strength = 1.0 if np.isnan(strengths[row]) else 0.5 + strengths[row]
            frames[row, :, category[row]] += 1.5 * strength
            frames[row, :, 7] += 1.0 if speakers[row][-1] in "02468" else -1.0
            for place, letter in enumerate(text):
                frames[row, 8 * place : 8 * place + 6, 8 + "abcd".index(letter)] += 2
        whole = np.arange(len(self.rows)) % 3 > 0
        return EmotionFrames(frames.astype(np.float16), np.full(len(self.rows), FRAMES), whole)


def manifest(corpora: tuple[str, ...] = ("emodb",), **columns: Any) -> Manifest:
    rng = np.random.default_rng(0)
    rows = [
        {"id": f"{corpus}{speaker}-{emotion}-{take}", "path": f"{corpus}{speaker}-{emotion}-{take}.wav"}
        | {"speaker": f"{corpus}:{speaker}", "corpus": corpus, "label": "bonafide", "licence": "CC0-1.0"}
        | {"sex": "mf"[speaker % 2], "emotion": emotion, "transcript": "".join(rng.choice(list("abcd"), 4)), **columns}
        for corpus in corpora
        for speaker in range(10)
        for emotion in EMOTIONS
        for take in range(3)
    ]
    return Manifest.from_table(pl.DataFrame(rows), ".")


@pytest.fixture(scope="module")
def felt() -> EmotionMaterial:
    labels = read_labels(manifest())
    return Felt(labels, tuple(labels.manifest.table["id"]), "drawn", Path("nowhere"))


def small() -> dict[str, Any]:
    """A few steps of a tiny network on twelve channels."""
    recipe = {**CLAIM.recipe, "draws": 64, "heads": {"hidden": 16, "dropout": 0.0}}
    recipe["optimiser"] = {"kind": "adam", "lr": 0.02}
    recipe["loop"] = {**recipe["loop"], "epochs": 2}
    encoder = {"kind": "conv_transformer", "dim": 16, "strides": [1], "blocks": 1, "heads": 2, "dropout": 0.0}
    branch = {"frontend": {"kind": "kept", "dim": WIDTH}, "encoder": encoder, "pooling": {"kind": "mean"}}
    return {**recipe, "network": {"branches": [branch]}}


def test_speakers_are_tested_once_and_never_learnt_from(felt: EmotionMaterial) -> None:
    tested = np.concatenate([felt.sides(seed).test for seed in range(1, ROTATIONS + 1)])
    assert sorted(tested.tolist()) == list(range(len(felt.rows)))
    for seed in SEEDS:
        sides = felt.sides(seed)
        train, dev, test = (set(felt.speakers[places]) for places in (sides.train, sides.dev, sides.test))
        assert not train & (dev | test)
        assert not dev & test
        assert {"mf"[int(name[-1]) % 2] for name in test} == {"m", "f"}  # a fold has both sexes


def test_only_corpora_of_emotions_that_may_be_used_are_read() -> None:
    rows = manifest(("emodb", "nemo_nc", "tts-kokoro"))
    table = rows.table.with_columns(
        label=pl.when(pl.col("corpus") == "tts-kokoro").then(pl.lit("spoof")).otherwise("label")
    )
    assert _drawn(rows.with_table(table)).corpora == ("emodb", "nemo_nc")
    nc = pl.when(pl.col("corpus") == "nemo_nc").then(pl.lit("CC-BY-NC-SA-4.0")).otherwise("licence")
    assert _drawn(exclude_licences(rows.with_table(table.with_columns(licence=nc)))).corpora == ("emodb",)
    with pytest.raises(DataError, match="no corpus of emotions"):
        _drawn(manifest(("speechocean762",)))


def test_a_cut_is_told_from_a_sentence_that_ended() -> None:
    sound = 0.1 * np.ones(32_000, np.float32)
    ended = sound.copy()
    ended[-400:] = 0
    assert _torn(sound, 16_000, "emodb")
    assert not _torn(ended, 16_000, "emodb")
    assert not _torn(sound[:-1], 16_000, "emodb")
    assert not _torn(sound, 16_000, "crema-d")


def test_the_error_is_one_minus_the_mean_recall(felt: EmotionMaterial) -> None:
    tested = felt.tested(SEEDS)
    assert "10 speakers, 4 categories" in tested.words
    truth = felt.labels.category
    ones = np.ones(tested.units.count)
    right = truth[felt.sides(1).test].astype(np.float64)
    assert tested.error(0, right)(ones) == 0.0
    constant = np.full(len(right), CATEGORIES.index("sad"), np.float64)
    assert tested.error(0, constant)(ones) == pytest.approx(75.0)
    runs = {
        "good": [ArmRun(truth[felt.sides(seed).test].astype(np.float64)) for seed in SEEDS],
        "poor": [ArmRun(np.full(len(felt.sides(seed).test), 2.0)) for seed in SEEDS],
    }
    plan = Plan("p", "s", "w", (Arm("good", ""), Arm("poor", "")), (Expected("good", "poor", ""),))
    found = judge(plan, runs, tested, resamples=60)
    assert found.differences[0].verdict == "seen"
    assert found.differences[0].difference == pytest.approx(75)


def judged(claim: EmotionClaim, seeds: Sequence[int], material: EmotionMaterial, folder: Path, most: float) -> Result:
    """Run and check what every arm must tell: its error, WA, UA by sex, and how often its tasks went against it."""
    result = run_claim(claim, seeds, material, folder)
    assert result.judgement.measure == "100 - UA"
    for arm in result.judgement.arms:
        told = {figure.name: figure.value for figure in arm.figures}
        assert arm.error < most < 100 - told["UA of any constant call, %"]
        assert {"WA, %", "UA of women, %", "UA of men, %"} <= set(told)
        learnt = {name.split(": ")[1].split(",")[0] for name in told if name.startswith("steps against")}
        phonemes, gender = arm.name.startswith(("ctc", "all")), arm.name.startswith(("gender", "all"))
        assert learnt == {name for name, there in (("phonemes", phonemes), ("gender", gender)) if there}
        assert all(0 <= value <= 100 for name, value in told.items() if name.startswith("steps"))
    for one in result.judgement.differences:
        assert one.low <= one.difference <= one.high
        assert one.difference == pytest.approx(np.mean(one.seeds))
        assert one.verdict in ("seen", "not seen", "undecided")
    return result


@pytest.mark.shows("speecheq:6.7")
@pytest.mark.shows("speecheq:6.8")
def test_arms_learn_and_tell_of_their_conflicts(felt: EmotionMaterial, tmp_path: Path) -> None:
    """The claim in small: the category alone, with gender, with CTC of the largest weight, and aligned."""
    assert [arm.name for arm in CLAIM.plan.arms] == list(CLAIM.arms)
    weights = [float(name.removeprefix("ctc-")) for name in CLAIM.arms if name.startswith("ctc")]
    assert weights == [0.001, 0.01, 0.1]  # and 0: the category alone
    names = ("category", "gender", "ctc-0.1", "all-aligned")
    plan = replace(
        CLAIM.plan,
        arms=tuple(arm for arm in CLAIM.plan.arms if arm.name in names),
        expected=tuple(one for one in CLAIM.plan.expected if one.better in names and one.worse in names),
    )
    claim = replace(CLAIM, recipe=small(), plan=plan)
    result = judged(claim, (1, 2, 3), felt, tmp_path, most=60)
    assert [one.expected.better for one in result.judgement.differences] == ["gender", "ctc-0.1"]
    again = run_claim(claim, (1, 2, 3), felt, tmp_path)  # kept: nothing is learnt twice
    assert again.judgement == result.judgement


@pytest.mark.soak
@pytest.mark.shows("speecheq:6.7")
@pytest.mark.shows("speecheq:6.8")
def test_the_whole_claim_on_real_recordings(shared_data: Path, tmp_path: Path) -> None:
    """Every arm with five seeds on EmoDB: each speaker is tested once. No direction is asserted: it is asked."""
    everything = read_corpus("earwitness-data", shared_data).manifest
    everything.filter(pl.col("corpus") == "emodb").write(tmp_path / "emodb.csv")
    material = EmotionMaterial.read(tmp_path / "emodb.csv", tmp_path / "frames")
    judged(CLAIM, SEEDS, material, tmp_path / "runs", most=75)


def test_intensity_and_mixed_corpora_take_part_where_there_are_any(tmp_path: Path) -> None:
    levels = ["normal", "strong"] * 120
    table = manifest(("ravdess", "emodb")).table.with_columns(intensity_level=pl.Series(levels))
    table = table.with_columns(
        intensity_level=pl.when((pl.col("corpus") == "ravdess") & (pl.col("emotion") != "neutral")).then(
            "intensity_level"
        )
    )
    labels: Labels = read_labels(Manifest.from_table(table, "."))
    assert np.isfinite(labels.intensity).all(1).sum() == 90
    mixed = Felt(labels, tuple(table["id"]), "drawn", Path("nowhere"))
    claim = replace(
        CLAIM,
        recipe=small(),
        arms={"mixed": ("losses={intensity: 1.0, phonemes: 0.1, gender: 0.1}", "alignment={rule: none}")},
    )
    run = claim.run("mixed", 1, mixed, tmp_path / "mixed")
    assert len(run.scores) == len(mixed.sides(1).test) == 48
    assert mixed.tested((1,)).error(0, run.scores)(np.ones(4)) < 60
    assert any(figure.name == "steps against the category: intensity, %" for figure in run.figures)
