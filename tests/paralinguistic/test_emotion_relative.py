"""Emotions heard as a difference from the speaker's other speech: learnt, scored, and refused where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.audio.facts import file_facts
from earwitness.core.config import parse_config
from earwitness.core.errors import AudioError, DataError, ModelError, RecipeError, UsageError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import read_table
from earwitness.evaluation.assessing.runs import AnyRecipe, run_recipe
from earwitness.evaluation.loading import load_emotions
from earwitness.evaluation.scoring.manner import score_emotions
from earwitness.examine.delivery import COLUMNS, OF_REFERENCES, Delivery
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.questions import Channel
from earwitness.examine.sounding_emotion import OWN_LIMIT, SoundingEmotion
from earwitness.paralinguistic.emotion import EmotionEstimator
from earwitness.training.left_out import LEFT_OUT, less_own

RATE = 16_000
SPEAKERS, TAKES = 6, 6


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of buzzes: above 3 kHz anger is half as much again as the speaker's own, which spans a factor 50."""
    folder = tmp_path_factory.mktemp("voices")
    rng = np.random.default_rng(0)
    rows = []
    time = np.arange(RATE) / RATE
    for speaker in range(SPEAKERS):
        own = 0.01 * 50 ** (speaker / (SPEAKERS - 1))
        for take in range(TAKES):
            high = own * (1.5 if take % 2 else 1.0)
            wave = 0.2 * np.sin(2 * np.pi * 300 * time) + high * np.sin(2 * np.pi * 3000 * time)
            name = f"{speaker}-{take}.wav"
            soundfile.write(folder / name, (wave + rng.normal(0, 1e-4, RATE)).astype(np.float32), RATE)
            emotion = "anger" if take % 2 else "neutral"
            rows.append({"path": name, "speaker": f"s{speaker}", "emotion": emotion, "corpus": "emodb"})
    table = pl.DataFrame(rows).with_columns(licence=pl.lit("CC0-1.0"))
    Manifest.from_table(table, folder, folder / "m.csv").write(folder / "m.csv")
    return folder / "m.csv"


def recipe_of(voices: Path, **more: object) -> object:
    data = {
        "name": "tiny",
        "task": "emotion",
        "data": {"manifests": [str(voices)]},
        "network": {
            "branches": [
                {"frontend": {"kind": "fbank", "n_mels": 16, "mean_norm": False}, "pooling": {"kind": "statistics"}}
            ],
            "embedding": {"dim": 8},
        },
        "left_out": {"folds": 3},
        "audio": {"crop_s": 1.0, "trim_silence": False},
        "windows": {"kind": "sliding", "length_s": 1.0, "hop_s": 1.0},
        "heads": {"hidden": 0, "dropout": 0.0},
        "losses": {"gender": 0, "phonemes": 0, "intensity": 0},
        "balance": ["emotion"],
        "loop": {"epochs": 12, "batch_size": 12, "accelerator": "cpu"},
        "optimiser": {"kind": "adamw", "lr": 0.05},
        **more,
    }
    return parse_config(AnyRecipe, data)


def right(run: Path) -> float:
    table = read_table(run / LEFT_OUT)
    called = np.array([int(np.argmax(row)) for row in table["probabilities"]])
    return float((called == table["category"].to_numpy()).mean())


@pytest.fixture(scope="module")
def run(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run_recipe(recipe_of(voices, relative=True), folder)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> EmotionEstimator:
    return load_emotions(run / "model")


def test_what_differs_from_the_own_is_heard_across_speakers(run: Path, voices: Path, tmp_path: Path) -> None:
    run_recipe(recipe_of(voices), tmp_path)  # type: ignore[arg-type]
    assert right(run) > 0.95
    assert right(tmp_path) < 0.8  # the level alone, without the speaker's own, says less


def test_the_mean_of_each_speaker_is_taken_away_view_by_view() -> None:
    vectors = np.arange(24, dtype=np.float16).reshape(4, 2, 3)
    found = less_own(vectors, ["a", "b", "a", "b"])
    np.testing.assert_array_equal(found[:, 0, 0], [-6, -6, 6, 6])
    np.testing.assert_array_equal(found[[0, 2]].mean(axis=0), np.zeros((2, 3)))


def test_rows_are_scored_against_their_own_speaker(model: EmotionEstimator, voices: Path, tmp_path: Path) -> None:
    rows = Manifest.read(voices)
    tally = score_emotions(rows, model, tmp_path / "out.csv")
    assert (tally.done, tally.failed) == (SPEAKERS * TAKES, 0)
    table = read_table(tmp_path / "out.csv").cast({"p_angry": pl.Float64, "p_neutral": pl.Float64})
    angry = (table["p_angry"] > table["p_neutral"]).to_numpy()
    assert (angry == (rows.table["emotion"] == "anger").to_numpy()).mean() > 0.9
    part = rows.filter(pl.col("speaker").is_in(["s0"]) | pl.col("path").is_in(["1-0.wav", "1-1.wav"]))
    tally = score_emotions(part, model, tmp_path / "few.csv")
    table = read_table(tmp_path / "few.csv")
    assert (tally.done, tally.failed) == (TAKES + 2, 2)
    assert (
        table.filter(pl.col("error").str.contains("too few to hear this one against"))["score"].to_list() == [None] * 2
    )


def test_rows_without_a_speaker_are_refused(model: EmotionEstimator, voices: Path, tmp_path: Path) -> None:
    rows = Manifest.read(voices)
    nameless = rows.with_table(rows.table.with_columns(speaker=pl.lit(None, pl.String)))
    with pytest.raises(DataError, match="does not say who speaks"):
        score_emotions(nameless, model, tmp_path / "out.csv")


def test_without_other_speech_there_is_no_answer(model: EmotionEstimator, voices: Path) -> None:
    path = voices.parent / "0-0.wav"
    with pytest.raises(UsageError, match="against the speaker's other speech, and was told of none"):
        model.estimate_file(path)
    vector = model.vector_of_file(path)
    with pytest.raises(AudioError, match=r"2 audible recording\(s\) of the speaker are too few"):
        model.beside([vector, vector])
    with pytest.raises(ModelError, match="does not hear a speaker against"):
        load_emotions("emotion").beside([vector] * 3)


def test_a_model_that_is_relative_needs_kept_vectors(voices: Path) -> None:
    with pytest.raises(RecipeError, match="`relative` needs `left_out`"):
        recipe_of(voices, relative=True, left_out=None)


@pytest.fixture(scope="module")
def channel(samples_folder: Path) -> Channel:
    path = samples_folder / "caller.flac"
    return Channel(path, None, file_facts(path))


def enrolled(samples_folder: Path, count: int) -> Enrolment:
    paths = [str(samples_folder / f"reference-{1 + place % 2}.flac") for place in range(count)]
    return Enrolment((), tuple((path, "0" * 64) for path in paths), (), ())


def test_examine_hears_against_three_references(channel: Channel, samples_folder: Path) -> None:
    question = SoundingEmotion.by("emotion")
    (against,) = question.answer(channel, enrolled(samples_folder, 3))
    (alone,) = question.answer(channel, enrolled(samples_folder, 2))
    assert against.answer.startswith("Heard against 3 references of the voice.")
    assert OWN_LIMIT in against.limits
    assert against.model is not None
    assert alone.model is not None
    assert (against.model.name, alone.model.name) == ("emotion-relative", "emotion")
    assert OWN_LIMIT not in alone.limits
    assert against.tables[0].rows != alone.tables[0].rows


def test_delivery_stands_beside_that_of_the_references(channel: Channel, samples_folder: Path) -> None:
    (finding,) = Delivery().answer(channel, enrolled(samples_folder, 2))
    table = finding.tables[0]
    assert table.columns == (*COLUMNS, *OF_REFERENCES)
    pitch = next(row for row in table.rows if row[0] == "pitch, median")
    assert isinstance(pitch[-2], float)
    assert isinstance(pitch[-1], float)
    assert 60 < pitch[-2] <= pitch[-1] < 400
    (finding,) = Delivery().answer(channel, None)
    assert finding.tables[0].columns == COLUMNS


def test_the_quality_of_listening_is_estimated_where_its_package_is(channel: Channel) -> None:
    pytest.importorskip("speechmos")
    (finding,) = Delivery.of_installed().answer(channel, None)
    (row,) = [row for row in finding.tables[0].rows if str(row[0]).startswith("quality of listening")]
    assert isinstance(row[1], float)
    assert 1 <= row[1] <= 5
