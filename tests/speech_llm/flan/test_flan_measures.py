"""What a set of records is worth: how its instructions differ, what is right without audio, and how tasks are drawn."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flan_records import MINIMAL

from earwitness.core.errors import DataError, UsageError
from earwitness.speech_llm.flan.balance import balanced_draw, task_weights
from earwitness.speech_llm.flan.baselines import answer_of, baselines, read_predictions
from earwitness.speech_llm.flan.describing import describe
from earwitness.speech_llm.flan.diversity import MOST_PAIRS, diversities, diversity
from earwitness.speech_llm.flan.records import Record, record_of


def record(number: int, split: str, answer: str, instruction: str = "Say which emotion is heard.") -> Record:
    changes: dict[str, Any] = {"uuid": f"u{number}", "split": [split], "output": f"Emotion: {answer}"}
    return record_of(MINIMAL | changes | {"instruction": instruction, "input": f"audio: <|SOA|>1_a_{number}<|EOA|>"})


@pytest.mark.shows("audio-flan:6.5")
def test_diversity_of_known_instructions() -> None:
    found = diversity("t", ["Say it now", "Say it now", "say it, NOW!", "Name the mood"])
    assert found.count == 4
    assert found.distinct_1 == pytest.approx(6 / 12)
    assert found.distinct_2 == pytest.approx(4 / 8)
    assert found.jaccard == pytest.approx(3 / 6)  # three pairs of equal words, three of none
    assert found.duplicates == pytest.approx(1 / 4)
    apart = diversity("t", ["a b", "b c", "c d"])
    assert apart.jaccard == pytest.approx((1 / 3 + 1 / 3 + 0) / 3)
    assert diversity("t", ["alone"]).jaccard is None
    rng = np.random.default_rng(0)
    words = [f"w{place}" for place in range(30)]
    many = [" ".join(rng.choice(words, 6, replace=False)) for _ in range(900)]
    assert len(set(many)) ** 2 > 2 * MOST_PAIRS
    sets = [set(text.split()) for text in many]
    exact = np.mean([len(a & b) / len(a | b) for place, a in enumerate(sets) for b in sets[:place]])
    assert diversity("t", many).jaccard == pytest.approx(exact, abs=0.002)


@pytest.mark.shows("audio-flan:6.5")
def test_the_report_tells_each_task_by_itself() -> None:
    same = [record(number, "train", "sad") for number in range(4)]
    kind = replace(same[0].task_type, minor=("Gender Recognition",))
    other = [replace(one, uuid=f"g{place}", task_type=kind, instruction=f"w{place}") for place, one in enumerate(same)]
    found = {part.task: part for part in diversities([*same, *other])}
    assert (found["Emotion Recognition"].duplicates, found["Emotion Recognition"].jaccard) == (0.75, 1.0)
    assert (found["Gender Recognition"].duplicates, found["Gender Recognition"].jaccard) == (0.0, 0.0)
    described = describe([*same, *other])
    assert described.tasks[0].diversity == found["Emotion Recognition"]
    assert (described.records, described.clips, described.tasks[0].majority) == (8, 4, 1.0)
    assert "Emotion Recognition  4" in str(described)


@pytest.mark.shows("audio-flan:6.6")
def test_what_is_right_without_hearing_stands_beside_a_model(tmp_path: Path) -> None:
    """Half of the instructions give their answer away; the others are the same for all."""
    answers = ["sad", "sad", "glad", "angry"]
    train = [record(n, "train", answers[n % 4], f"Is it {answers[n % 4]}?" if n % 8 < 4 else "Say.") for n in range(80)]
    test = [
        record(100 + n, "test", answers[n % 4], f"Is it {answers[n % 4]}?" if n % 8 < 4 else "Say.") for n in range(40)
    ]
    lines = [{"uuid": one.uuid, "prediction": "It is sad."} for one in test[:30]] + [{"uuid": "x", "prediction": None}]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (found,) = baselines([*train, *test], read_predictions(path))
    majority, instruction, model = found.judged
    assert (found.task, found.classes) == ("Emotion Recognition", 3)
    assert (majority.accuracy, majority.recall) == (0.5, pytest.approx(1 / 3))
    assert instruction.accuracy == pytest.approx(0.5 + 0.25)  # all that tell, and the majority of the others
    assert (model.count, model.answered) == (40, 30)
    assert model.accuracy == pytest.approx(sum(n % 4 < 2 for n in range(30)) / 30)


@pytest.mark.shows("audio-flan:6.6")
def test_the_reader_of_instructions_finds_nothing_where_there_is_nothing() -> None:
    rng = np.random.default_rng(1)
    records = [
        record(n, "train" if n < 300 else "test", str(rng.choice(["sad", "glad"])), f"Say it, form {n % 7}.")
        for n in range(600)
    ]
    (found,) = baselines(records)
    assert found.judged[1].accuracy == pytest.approx(0.5, abs=0.1)
    with pytest.raises(UsageError, match="no task can be judged"):
        baselines(record_ for record_ in records if record_.split == ("train",))


def test_answers_of_a_model_are_read_and_junk_refused(tmp_path: Path) -> None:
    classes = ["sad", "glad", "very sad"]
    assert answer_of("Emotion: sad", classes) == "sad"
    assert answer_of("I think she is GLAD.", classes) == "glad"
    assert answer_of("sad or glad", classes) is None
    path = tmp_path / "answers.jsonl"
    path.write_text('{"uuid": "a", "prediction": 3}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 1: is no prediction"):
        read_predictions(path)


@pytest.mark.shows("audio-flan:6.7")
@pytest.mark.parametrize("a", [0.0, 0.5, 1.0])
def test_tasks_are_drawn_as_the_exponent_says(a: float) -> None:
    counts = {"large": 900, "middle": 90, "small": 10}
    weights = task_weights(counts, a)
    expected = np.array([count**a for count in counts.values()]) / sum(count**a for count in counts.values())
    assert list(weights.values()) == pytest.approx(expected)
    if a in (0.0, 1.0):
        assert list(weights.values()) == pytest.approx([1 / 3] * 3 if a == 0 else [0.9, 0.09, 0.01])
    tasks = [task for task, count in counts.items() for _ in range(count)]
    size = 20_000
    drawn = Counter(tasks[place] for place in balanced_draw(tasks, size, a, seed=4).tolist())
    for task, p in weights.items():
        assert abs(drawn[task] - size * p) <= 3 * np.sqrt(size * p * (1 - p))


def test_no_record_comes_again_before_all_others_came() -> None:
    tasks = ["a"] * 7 + ["b"] * 3
    times = Counter(balanced_draw(tasks, 1000, 0.5, seed=1).tolist())
    for places in (range(7), range(7, 10)):
        assert max(times[place] for place in places) - min(times[place] for place in places) <= 1
    first, again, other = (balanced_draw(tasks, 50, 0.5, seed).tolist() for seed in (1, 1, 2))
    assert first == again != other
    with pytest.raises(UsageError, match=r"outside of \[0, 1\]"):
        task_weights({"a": 1}, 1.5)
    with pytest.raises(UsageError, match="no records"):
        task_weights({}, 1.0)
