"""From an emotion recipe to a model that estimates: a toy corpus of drawn voices, learnt, resumed, judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from emotion_runs import Run

from earwitness.core.errors import AudioError, DataError, LeakError, ModelError
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation import emotions
from earwitness.evaluation.assessing.runs import assess_run, run_recipe
from earwitness.evaluation.emotions import CALLS, COLUMNS, compared, figures, folds, read_answers, runs_in
from earwitness.evaluation.loading import load
from earwitness.metrics.classification import Confusion
from earwitness.paralinguistic.emotion import EmotionEstimator
from earwitness.paralinguistic.emotion_training import read_sides, train_emotion
from earwitness.paralinguistic.labels import CATEGORIES, Labels, read_labels
from earwitness.training.conflicts import conflict_shares
from toy_emotions import RATE, recipe, spoken, write_corpus

SHARED = "shared.branches.0.encoder"


@pytest.fixture(scope="module")
def estimator(emotion_run: Run) -> EmotionEstimator:
    return EmotionEstimator.load(emotion_run.model)


@pytest.fixture(scope="module")
def answers(emotion_run: Run, estimator: EmotionEstimator) -> pl.DataFrame:
    rows = Manifest.read(emotion_run.folder / "test.csv")
    return emotions.answer(estimator, read_labels(rows))


def test_held_out_speakers_are_heard_better_than_by_chance(answers: pl.DataFrame) -> None:
    found = figures(answers, resamples=50)
    assert found.whole.speakers == 2
    assert found.whole.matrix.ua > 0.6 > found.whole.matrix.chance_ua == 0.25
    assert [one.name for one in found.parts] == ["sex f", "sex m"]


@pytest.mark.shows("speecheq:6.9")
def test_of_two_strengths_the_stronger_is_estimated_higher_by_held_out_actors(answers: pl.DataFrame) -> None:
    """Drawn voices stand in for RAVDESS: pairs of actor, emotion and statement."""
    order = emotions.intensity_order(answers, resamples=50)
    assert order is not None
    assert order.pairs == 2 * 3 * 2  # actors, emotions other than neutral, statements
    assert order.right > 0.8
    assert order.difference > 0.02
    means = answers.group_by("intensity_hi").agg(pl.col("intensity").mean()).drop_nulls().sort("intensity_hi")
    assert means["intensity"][0] < means["intensity"][1]
    flipped = answers.with_columns(intensity=1 - pl.col("intensity"))
    assert emotions.intensity_order(flipped, resamples=50).right < 0.2  # type: ignore[union-attr]


def test_an_estimate_says_what_it_is_of(estimator: EmotionEstimator) -> None:
    rng = np.random.default_rng(5)
    sound = np.concatenate([spoken(1, "angry", 1.0, "aiuai", rng) for _ in range(6)])
    heard = estimator.estimate(sound, RATE)
    assert heard.classes == CATEGORIES
    assert heard.probabilities.sum() == pytest.approx(1)
    assert heard.course.shape == (len(heard.spans), 7)
    assert np.allclose(heard.course.sum(1), 1)
    assert len(heard.spans) > 1
    assert heard.seconds_used == pytest.approx(heard.seconds_total) == pytest.approx(len(sound) / RATE)
    assert heard.intensity is not None
    assert 0 < heard.intensity < 1
    assert heard.intensities is not None
    assert len(heard.intensities) == len(heard.spans)
    four = estimator.estimate(sound, RATE, "iemocap")
    assert four.classes == ("neutral", "happy", "sad", "angry")
    assert four.probabilities.sum() == pytest.approx(1)
    with pytest.raises(AudioError, match="of sound; an emotion needs"):
        estimator.estimate(np.zeros(RATE), RATE)
    with pytest.raises(DataError, match="no label map"):
        estimator.estimate(sound, RATE, "nowhere")


def test_no_answer_under_the_threshold(estimator: EmotionEstimator) -> None:
    sound = spoken(1, "angry", 1.0, "aiuai", np.random.default_rng(5))
    heard = estimator.estimate(sound, RATE)
    largest = float(heard.probabilities.max())
    assert replace(heard, threshold=largest).category == heard.likeliest
    assert replace(heard, threshold=largest + 1e-6).category is None


def test_the_run_counts_conflicts_of_each_task_with_the_category(emotion_run: Run) -> None:
    lines = [json.loads(line) for line in (emotion_run.folder / "fit" / "log.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["event"] == "epoch"]
    for line in epochs:
        notes = {name.removeprefix("gradient/"): value for name, value in line.items() if name.startswith("gradient/")}
        shares = conflict_shares(notes, "category", (SHARED,))
        assert set(shares) == {"intensity", "phonemes", "gender"}
        assert all(0 <= share <= 1 for share in shares.values())
    assert len({line[f"gradient/conflict/{SHARED}/category x gender"] for line in epochs}) > 1
    assert epochs[0]["note/labelled phonemes"] == 1.0
    assert 0 < epochs[0]["note/labelled intensity"] < 1  # neutral has none


def test_a_run_says_what_it_did(emotion_run: Run) -> None:
    model = load(emotion_run.model)
    assert isinstance(model, EmotionEstimator)
    notes = " ".join(str(note) for note in model.info.training["notes"])  # type: ignore[union-attr]
    assert "train: calm: drop; strength known of" in notes
    assert "transcripts in 3 symbols" in notes
    assert model.emotion.corpora == ("ravdess",)
    assert model.emotion.temperature != 1.0
    assert any("lie detection" in limit for limit in model.info.limits)
    with pytest.raises(ModelError, match="not 'emotion'"):
        EmotionEstimator.load(Path(__file__).parents[2] / "src" / "earwitness" / "models" / "speaker-small")


def test_a_run_is_tested_and_its_card_written(emotion_run: Run) -> None:
    info = assess_run(emotion_run.folder)
    card = (emotion_run.model / "CARD.md").read_text()
    assert "UA (mean recall), %" in card
    assert "always the most frequent class" in card
    assert "tested on 2 speaker(s) only" in card
    assert info.extra["inconclusive"] is False
    again = read_answers(runs_in(emotion_run.folder)[0])
    assert dict(again.schema) == COLUMNS
    assert figures(again, resamples=20).whole.matrix.ua == pytest.approx(
        float(next(row["value"] for row in info.extra["results"] if row["metric"].startswith("UA"))) / 100  # type: ignore
    )


# ---- data


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("small"), speakers=6, takes=1)


def changed(manifest: Path, name: str, **columns: pl.Expr) -> Path:
    pl.read_csv(manifest).with_columns(**columns).write_csv(manifest.parent / name)
    return manifest.parent / name


def test_a_speaker_on_two_sides_is_refused(small: Path) -> None:
    first = pl.int_range(pl.len()) == 0
    torn = changed(small, "torn.csv", split=pl.when(first).then(pl.lit("dev")).otherwise("split"))
    with pytest.raises(LeakError, match="speaker 'ravdess0'"):
        read_sides(recipe(torn))
    assert "speaker-dependent" in " ".join(read_sides(recipe(torn), allow_leak=True).notes)
    nameless = changed(small, "nameless.csv", speaker=pl.when(first).then(None).otherwise("speaker"))
    with pytest.raises(DataError, match="has no speaker"):
        read_sides(recipe(nameless))


def test_a_side_with_one_class_is_refused(small: Path) -> None:
    dev = pl.col("split") == "dev"
    one = changed(small, "one.csv", emotion=pl.when(dev).then(pl.lit("sad")).otherwise("emotion"))
    with pytest.raises(DataError, match=r"the side 'dev' has one category only \(sad\)"):
        read_sides(recipe(one))


def test_only_the_named_corpora_are_read(small: Path) -> None:
    mixed = changed(
        small, "mixed.csv", corpus=pl.when(pl.col("speaker") == "ravdess5").then(pl.lit("tts")).otherwise("corpus")
    )
    with pytest.raises(DataError, match="no label map for the corpus 'tts'"):
        read_sides(recipe(mixed))
    assert len(read_sides(recipe(mixed, corpora=("ravdess",))).test.manifest) == 7
    with pytest.raises(DataError, match="no row is of the corpus 'emodb'"):
        read_sides(recipe(mixed, corpora=("emodb",)))


def test_a_cut_item_is_no_item_with_a_transcript(small: Path) -> None:
    from earwitness.paralinguistic.emotion_task import KnownRows
    from earwitness.paralinguistic.emotion_training import spell_sides, train_side

    for crop_s, whole in ((None, True), (10.0, True), (0.5, False)):
        made = recipe(small, audio={"crop_s": crop_s, "trim_silence": False})
        sides = read_sides(made)
        batch = next(iter(train_side(made, sides.train).load(0, [0])))
        assert int(batch.lengths.max()) == (8000 if crop_s == 0.5 else 18_000)
        found = KnownRows.of((sides.train,), spell_sides(made, sides)[0].of_row).targets(batch)
        assert bool((found.phone_counts > 0).all()) is whole
        assert bool((found.gender >= 0).all())


def test_a_killed_run_goes_on_and_ends_alike(small: Path, tmp_path: Path) -> None:
    made = recipe(
        small, epochs=2, losses={"intensity": 1.0}, alignment={"rule": "pcgrad"}, spec_augment={"first_epoch": 1}
    )
    whole = train_emotion(made, tmp_path / "whole")

    class KilledError(Exception):
        pass

    from earwitness.training import loop

    judge, calls = loop._judge, 0

    def killed(run: Any) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KilledError
        return judge(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_judge", killed)
        with pytest.raises(KilledError):
            train_emotion(made, tmp_path / "torn")
    resumed = train_emotion(made, tmp_path / "torn", resume=True)
    name = "weights.safetensors"
    assert (whole / name).read_bytes() == (resumed / name).read_bytes()


def test_the_recipe_runs_from_a_file(small: Path, tmp_path: Path) -> None:
    from earwitness.evaluation.assessing.runs import read_any_recipe

    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe(small, epochs=1).model_dump(mode="json", exclude_none=True)))
    found = read_any_recipe(path, ["losses={intensity: 0, phonemes: 0, gender: 0}"])
    model = run_recipe(found, tmp_path / "run")
    assert EmotionEstimator.load(model).emotion.tasks == ("category",)
    assert (
        EmotionEstimator.load(model).estimate(0.1 * np.random.default_rng(0).normal(size=RATE), RATE).intensity is None
    )


def test_recordings_that_cannot_be_heard_count_as_wrong(estimator: EmotionEstimator, small: Path) -> None:
    rows = read_labels(Manifest.read(small))
    silent = small.parent / rows.manifest.table["path"][0]
    kept = silent.read_bytes()
    soundfile.write(silent, np.zeros(RATE), RATE)
    table = emotions.answer(
        estimator, Labels(rows.manifest.filter(pl.int_range(pl.len()) < 3), rows.intensity[:3], rows.config, {})
    )
    silent.write_bytes(kept)
    assert table["called"][0] == "unheard"
    assert "holds 0.00 s" in table["error"][0]
    assert figures(table, resamples=10).whole.matrix.counts[0, -1] == 1


# ---- figures


def answered(counts: list[list[int]], prefix: str = "", speakers: int = 2) -> pl.DataFrame:
    """Answers with this confusion of neutral and happy."""
    rows = []
    for truth, row in zip(("neutral", "happy"), counts, strict=True):
        for called, count in zip(("neutral", "happy"), row, strict=True):
            rows += [(truth, called)] * count
    table = [
        (
            f"{prefix}{place}",
            "emodb",
            f"{prefix}s{place % speakers}",
            "f",
            None,
            truth,
            called,
            0.9,
            True,
            None,
            None,
            None,
            None,
        )
        for place, (truth, called) in enumerate(rows)
    ]
    return pl.DataFrame(table, schema=COLUMNS, orient="row")


@pytest.mark.shows("speecheq:6.4")
def test_accuracies_of_the_sheets_confusion() -> None:
    found = figures(answered([[8, 2], [3, 1]]), resamples=100).whole
    assert found.matrix.wa == pytest.approx(9 / 14) == pytest.approx(0.642857, abs=1e-6)
    assert found.matrix.ua == pytest.approx(0.525)
    assert found.matrix.macro_f1 == pytest.approx((16 / 21 + 2 / 7) / 2) == pytest.approx(0.5238095, abs=1e-7)
    assert found.wa is not None
    assert found.wa.value == pytest.approx(9 / 14)
    assert found.wa.unit == "speaker"


@pytest.mark.shows("speecheq:6.5")
def test_folds_are_pooled_and_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The session sizes of IEMOCAP with accuracies .70 to .78: as near as whole recordings allow, and exactly."""
    sizes, accuracies = (1085, 1023, 1151, 1031, 1241), (0.70, 0.72, 0.74, 0.76, 0.78)
    exact = [
        Confusion(("a", "b"), np.array([[size * share, size * (1 - share)], [0.0, 0.0]]))
        for size, share in zip(sizes, accuracies, strict=True)
    ]
    from earwitness.metrics.classification import over_folds

    found = over_folds(exact)
    assert found.pooled.wa == pytest.approx(0.741157, abs=1e-6)
    assert found.wa.mean == pytest.approx(0.74)
    tables = []
    for number, (size, share) in enumerate(zip(sizes, accuracies, strict=True)):
        right, half = round(size * share), size // 2
        tables.append(answered([[half, 0], [size - right, right - half]], f"{number}-"))
        folder = tmp_path / f"fold{number}" / "results"
        folder.mkdir(parents=True)
        emotions.write_answers(tables[-1], folder / "test.csv")
    rounded = folds(tables)
    assert rounded.pooled.items == sum(sizes) == 5531
    assert rounded.pooled.wa == pytest.approx(0.741157, abs=5e-4)
    assert rounded.wa.mean == pytest.approx(0.74, abs=5e-4)
    from earwitness.cli.emotion import evaluate_runs

    evaluate_runs(tmp_path, resamples=20, seed=0)
    printed = capsys.readouterr().out
    assert f"WA pooled {rounded.pooled.wa:.4f}, mean over folds {rounded.wa.mean:.4f}" in printed
    assert "5531 recordings" in printed
    assert "neutral" in printed


def test_folds_that_share_speakers_or_recordings_are_refused() -> None:
    one, two = answered([[3, 1], [1, 3]], "a"), answered([[3, 1], [1, 3]], "b")
    assert folds([one, two]).pooled.items == 16
    with pytest.raises(DataError, match="tested in two folds"):
        folds([one, one])
    with pytest.raises(DataError, match="the speaker 'as0' is tested in two folds"):
        folds([one, two.with_columns(speaker=pl.lit("as0"))])
    with pytest.raises(DataError, match="fold 2 has one category only"):
        folds([one, two.with_columns(emotion=pl.lit("happy"))])


def test_two_models_are_compared_over_the_same_speakers() -> None:
    good, bad = answered([[30, 2], [3, 29]], speakers=8), answered([[30, 2], [3, 29]], speakers=8)
    bad = bad.with_columns(called=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("neutral")).otherwise("called"))
    found = compared(good, bad, resamples=200)
    assert found.difference.value == pytest.approx(found.first.value - found.second.value)
    assert found.difference.value > 0
    assert compared(good, good, resamples=50).difference.high == 0.0
    with pytest.raises(DataError, match="did not answer the same recordings"):
        compared(good, bad.head(10))
    assert CALLS[-1] == "unheard"


def test_the_stronger_of_a_pair_must_be_of_the_same_text() -> None:
    base: dict[str, Any] = dict.fromkeys(COLUMNS)
    rows = [
        base
        | {"id": "1", "corpus": "c", "speaker": "s", "text": "IEO", "emotion": "sad", "called": "sad"}
        | {"intensity": 0.4, "intensity_lo": 0.0, "intensity_hi": 0.3},
        base
        | {"id": "2", "corpus": "c", "speaker": "s", "text": "IEO", "emotion": "sad", "called": "sad"}
        | {"intensity": 0.7, "intensity_lo": 0.6, "intensity_hi": 1.0},
        base
        | {"id": "3", "corpus": "c", "speaker": "s", "text": "TIE", "emotion": "sad", "called": "sad"}
        | {"intensity": 0.1, "intensity_lo": 0.6, "intensity_hi": 1.0},
    ]
    order = emotions.intensity_order(pl.DataFrame(rows, schema=COLUMNS))
    assert order is not None
    assert (order.pairs, order.right, order.difference) == (1, 1.0, pytest.approx(0.3))
    assert order.interval is None
    assert emotions.intensity_order(pl.DataFrame(rows[1:], schema=COLUMNS)) is None
