"""What can be answered without hearing anything: the majority answer, and an answerer that reads the instruction alone.

Both learn from records of the train split and are judged on the test split, task by task, for tasks whose answers are
classes. A model's predictions stand beside them: what does not beat them has not been heard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.errors import DataError, UsageError
from earwitness.speech_llm.flan.records import Record, by_task
from earwitness.speech_llm.flan.spans import core, without_spans
from earwitness.speech_llm.flan.taxonomy import find_minor, fold
from earwitness.speech_llm.items import json_lines


@dataclass(frozen=True)
class Judged:
    """One answerer on one task: of `count` test records `answered` were, and of these a share was right.

    `recall` is the mean over classes of the share of each that was right. None where nothing was answered.
    """

    answerer: str
    count: int
    answered: int
    accuracy: float | None
    recall: float | None


@dataclass(frozen=True)
class TaskBaselines:
    """All answerers on one task with `classes` different answers in the test."""

    task: str
    classes: int
    judged: tuple[Judged, ...]


def baselines(records: Iterable[Record], predictions: Mapping[str, str] | None = None) -> list[TaskBaselines]:
    """Of each task with classes. `predictions` are a model's answers by uuid.

    Raises `UsageError` where no such task has records in both train and test.
    """
    found = [
        _of_task(task, train, test, predictions)
        for task, part in by_task(records).items()
        if (known := find_minor(task)) is not None and known.answer == "class"
        if (train := _side(part, "train")) and (test := _side(part, "test"))
    ]
    if not found:
        fix = "Give records of train and test, of tasks whose answers are classes."
        raise UsageError("no task can be judged without audio", fix=fix)
    return found


def read_predictions(path: str | Path) -> dict[str, str]:
    """A model's answers: JSONL with `uuid` and `prediction`, null or missing where it failed. Raises `DataError`."""
    found: dict[str, str] = {}
    for number, data in json_lines(path):
        name, text = data.get("uuid"), data.get("prediction")
        if not isinstance(name, str) or not isinstance(text, str | None) or name in found:
            fix = 'Give {"uuid": "...", "prediction": "..."} a line, each uuid once.'
            raise DataError("is no prediction", where=f"{path}, line {number}", fix=fix)
        if text is not None and text.strip():
            found[name] = text
    return found


def answer_of(text: str, classes: Sequence[str]) -> str | None:
    """The class that a text names: it alone, after a label or in a sentence; None where it names none, or several."""
    plain = fold(core(text))
    folded = {fold(name): name for name in classes}
    if plain in folded:
        return folded[plain]
    padded = f" {plain} "
    named = [name for key, name in folded.items() if f" {key} " in padded]
    return named[0] if len(named) == 1 else None


def _of_task(
    task: str, train: Sequence[Record], test: Sequence[Record], predictions: Mapping[str, str] | None
) -> TaskBaselines:
    truth = [core(record.output) for record in test]
    majority = Counter(core(record.output) for record in train).most_common(1)[0][0]
    judged = [
        _judged("majority answer", truth, [majority] * len(test)),
        _judged("instruction only", truth, _by_instruction(train, test)),
    ]
    if predictions is not None:
        classes = sorted({*truth, *(core(record.output) for record in train)})
        given = [predictions.get(record.uuid) for record in test]
        judged.append(
            _judged("model", truth, [None if text is None else answer_of(text, classes) or "" for text in given])
        )
    return TaskBaselines(task, len(set(truth)), tuple(judged))


def _by_instruction(train: Sequence[Record], test: Sequence[Record]) -> list[str]:
    """Naive Bayes on the words of the instruction and of what else is text in the input."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    answers = [core(record.output) for record in train]
    if len(set(answers)) == 1:
        return [answers[0]] * len(test)
    words = CountVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    known = words.fit_transform([_read(record) for record in train])
    return [str(answer) for answer in MultinomialNB().fit(known, answers).predict(words.transform(map(_read, test)))]


def _read(record: Record) -> str:
    return f"{record.instruction}\n{without_spans(record.input)}"


def _judged(answerer: str, truth: Sequence[str], given: Sequence[str | None]) -> Judged:
    """An unanswered record is counted, and neither right nor wrong."""
    pairs = [(right, answer) for right, answer in zip(truth, given, strict=True) if answer is not None]
    if not pairs:
        return Judged(answerer, len(truth), 0, None, None)
    hits = [fold(right) == fold(answer) for right, answer in pairs]
    recalls = []
    for name in sorted({right for right, _ in pairs}):
        own = [hit for hit, (right, _) in zip(hits, pairs, strict=True) if right == name]
        recalls.append(sum(own) / len(own))
    return Judged(answerer, len(truth), len(pairs), sum(hits) / len(pairs), sum(recalls) / len(recalls))


def _side(records: Sequence[Record], split: str) -> list[Record]:
    return [record for record in records if split in record.split]
