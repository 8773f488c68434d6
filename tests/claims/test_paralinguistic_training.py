"""The claim of contextual-paralinguistic training: arms are taught and asked as they say; lines come from strangers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from earwitness.claims.asked import AskedMaterial, Frames
from earwitness.claims.detected import detected_lines
from earwitness.claims.emotions import EmotionFrames
from earwitness.claims.paralinguistic_training import CLAIM, TeachingClaim
from earwitness.claims.running import run_claim
from earwitness.claims.views import View
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.paralinguistic.labels import read_labels
from earwitness.speech_llm.training.prompt_reader import read_label
from earwitness.speech_llm.training.sentences import (
    BY_TOPIC,
    EMOTIONS,
    HELP,
    HELPING,
    QUESTIONS,
    SENTENCES,
    STIRRED,
    answer_to,
    told_clips,
)

WIDTH, FRAMES = 40, 60
RAW = ("neutral", "happiness", "sadness", "anger", "fear", "disgust")


class Drawn(AskedMaterial):
    """Frames are drawn: a channel for each sentence, and five for each emotion."""

    def kept(self, view: View = "clean") -> EmotionFrames:
        frames = 0.5 * np.random.default_rng(3).normal(size=(len(self.rows), FRAMES, WIDTH))
        places = list(BY_TOPIC)
        for row, (topic, emotion) in enumerate(zip(self.topics, self.emotions, strict=True)):
            frames[row, :, places.index(topic)] += 2
            frames[row, :, 10 + 5 * EMOTIONS.index(emotion) : 15 + 5 * EMOTIONS.index(emotion)] += 2
        counts = np.full(len(self.rows), FRAMES)
        return EmotionFrames(frames.astype(np.float16), counts, np.ones(len(self.rows), bool))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> AskedMaterial:
    """Ten speakers say five of the sentences each in six emotions."""
    texts = list(SENTENCES)
    rows = [
        {"id": f"{speaker}-{emotion}-{n}", "path": f"{speaker}-{emotion}-{n}.wav", "speaker": f"emodb:{speaker}"}
        | {"corpus": "emodb", "label": "bonafide", "licence": "CC0-1.0", "sex": "mf"[speaker % 2]}
        | {"emotion": emotion, "transcript": texts[(2 * n + speaker) % 10]}
        for speaker in range(10)
        for emotion in RAW
        for n in range(5)
    ]
    labels = read_labels(Manifest.from_table(pl.DataFrame(rows), "."))
    ids = tuple(labels.manifest.table["id"])
    return Drawn(labels, ids, "drawn", tmp_path_factory.mktemp("kept"))


def small() -> TeachingClaim:
    """The claim with a smaller decoder and fewer steps, and its main arms."""
    names = ("direct", "joint", "joint-silent", "joint-with")
    decoder: dict[str, Any] = {**CLAIM.decoder, "draws": 640, "decoder": {"width": 32, "layers": 2}}
    decoder |= {"text": {"kind": "sentences", "count": 400}, "loop": {**CLAIM.decoder["loop"], "epochs": 1}}
    network = {**CLAIM.recipe["network"], "encoder": {"kind": "kept", "dim": WIDTH}}
    recipe = {**CLAIM.recipe, "network": network, "draws": 320, "loop": {**CLAIM.recipe["loop"], "epochs": 1}}
    plan = replace(
        CLAIM.plan,
        arms=tuple(arm for arm in CLAIM.plan.arms if arm.name in names),
        expected=tuple(one for one in CLAIM.plan.expected if one.better in names and one.worse in names),
    )
    return replace(CLAIM, plan=plan, recipe=recipe, decoder=decoder)


def test_words_and_manner_are_both_needed() -> None:
    """Of the four answers each group of words leaves two, and so does each manner; answers name their own label."""
    for about in ("plan", "thing"):
        assert len({HELP[about, stirred] for stirred in (True, False)}) == 2  # type: ignore[index]
    for stirred in (True, False):
        assert len({HELP[about, stirred] for about in ("plan", "thing")}) == 2  # type: ignore[index]
    assert len(set(HELP.values())) == 4
    assert {sentence.about for sentence in BY_TOPIC.values()} == {"plan", "thing"}
    assert answer_to(HELPING, "karl", STIRRED[0]) == ("The speaker needs some more time.", "time")
    for question in QUESTIONS:
        for topic in BY_TOPIC:
            for emotion in EMOTIONS:
                words, label = answer_to(question, topic, emotion)
                named = [name for name in question.labels if f" {name}" in f" {words.lower()}"]
                assert named == [label]


def test_invented_clips_follow_from_the_seed() -> None:
    assert list(told_clips(20, 1)) == list(told_clips(20, 1)) != list(told_clips(20, 2))
    told = list(told_clips(400, 1))
    assert 0.3 < np.mean(["Detected" in one.instruction for one in told]) < 0.7


def test_frames_are_exchanged_within_the_rows() -> None:
    values = np.arange(12, dtype=np.float16).reshape(6, 2, 1)
    frames = Frames(values, np.array([1, 2, 1, 2, 1, 2]))
    found = frames.exchanged(np.array([0, 2, 4]), 1)
    assert sorted(found.values[[0, 2, 4], 0, 0].tolist()) == [0, 4, 8]
    assert not (found.values[[0, 2, 4]] == values[[0, 2, 4]]).any()
    assert (found.values[[1, 3, 5]] == values[[1, 3, 5]]).all()
    assert not frames.silent().values.any()


def test_lines_come_from_a_recogniser_that_did_not_learn_from_the_row(drawn: AskedMaterial) -> None:
    kept = drawn.kept()
    frames = Frames(kept.frames, kept.counts)
    lines = detected_lines(drawn, frames, 1)
    right = np.array([read_label(line) == emotion for line, emotion in zip(lines, drawn.emotions, strict=True)])
    assert right.mean() > 0.8
    assert all(line.startswith("Detected vocal emotion: 0.0-") and line.endswith(".") for line in lines)
    table = drawn.rows.table
    tested = drawn.sides(1).test
    wrong = table["emotion"].to_list()
    for row in tested:
        wrong[row] = "sad"
    poisoned = replace(drawn.labels, manifest=drawn.rows.with_table(table.with_columns(emotion=pl.Series(wrong))))
    other = Drawn(poisoned, drawn.hashes, drawn.source, drawn.folder)
    assert [detected_lines(other, frames, 1)[row] for row in tested] == [lines[row] for row in tested]


@pytest.mark.shows("paralinguistic-training:6.5")
def test_arms_are_taught_and_tell_of_direct_questions(drawn: AskedMaterial, tmp_path: Path) -> None:
    """The claim in small: direct figures stand beside the contextual one, and reading the prompt where it can be."""
    claim = small()
    assert [arm.name for arm in CLAIM.plan.arms] == list(CLAIM.ways)
    run = claim.run("joint-with", 1, drawn, tmp_path / "run")
    told = {figure.name: figure.value for figure in run.figures}
    assert {"contextual, right %", "direct: words, right %", "direct: emotion, right %"} <= set(told)
    assert told["direct: emotion, by reading the prompt alone, right %"] > 80
    assert len(run.scores) == len(drawn.sides(1).test) == 60
    assert told["contextual, right %"] == pytest.approx(100 * run.scores.mean())
    error = drawn.tested((1,)).error(0, run.scores)
    assert error(np.ones(2)) == pytest.approx(100 - told["contextual, right %"])


@pytest.mark.soak
@pytest.mark.shows("paralinguistic-training:6.6")
def test_the_claim_in_small_on_drawn_frames(drawn: AskedMaterial, tmp_path: Path) -> None:
    claim = small()
    longer = {**claim.recipe, "loop": {**claim.recipe["loop"], "epochs": 10}}
    decoder = {**CLAIM.decoder, "text": {"kind": "sentences", "count": 3000}}
    result = run_claim(replace(claim, recipe=longer, decoder=decoder), (1, 2, 3), drawn, tmp_path)
    errors = {arm.name: arm.error for arm in result.judgement.arms}
    assert errors["joint"] < 30
    assert errors["joint"] < errors["direct"] - 5
    assert errors["joint-silent"] > 55  # without sound at most the most frequent of four answers


@pytest.mark.soak
@pytest.mark.shows("paralinguistic-training:6.6")
def test_the_claim_on_real_recordings(shared_data: Path, tmp_path: Path) -> None:
    """One seed of the two main arms on EmoDB: speakers that were not learnt from."""
    everything = read_corpus("earwitness-data", shared_data).manifest
    everything.filter(pl.col("corpus") == "emodb").write(tmp_path / "emodb.csv")
    material = AskedMaterial.read(tmp_path / "emodb.csv", tmp_path / "kept")
    shares = {arm: CLAIM.run(arm, 1, material, tmp_path / arm).scores.mean() for arm in ("direct", "joint")}
    assert shares["joint"] > max(0.5, shares["direct"])
