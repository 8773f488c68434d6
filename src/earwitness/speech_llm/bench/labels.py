"""Direct questions without a judge: the label that an answer names, against the item's own.

The rubric gives partial credit where a question has one crisp answer, so both stand beside each other, and the judge is
compared with the labels for free (the validation of arXiv 2508.07273).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.core.errors import MetricError
from earwitness.core.writing import write_atomically
from earwitness.metrics.resampled import Resampling
from earwitness.metrics.scores import Floats
from earwitness.metrics.testing import bias_corrected_accuracy
from earwitness.speech_llm.bench.figures import Figure
from earwitness.speech_llm.bench.records import AnswerRecord
from earwitness.speech_llm.bench.scores import POINTS, Run
from earwitness.speech_llm.items import DIRECT, Item, QuestionType, json_line
from earwitness.speech_llm.label_extraction import extract_label, with_aliases

RIGHT = 3 * POINTS  # from this score on, the judge is taken to call an answer right


@dataclass(frozen=True)
class LabelFigures:
    """Exact accuracy of one type of direct question, 0..100; an answer that names no label, or several, is wrong.

    `judge` is the mean score that the judge gave the same items.
    """

    type: QuestionType
    items: int
    accuracy: Figure
    unmapped: float
    ambiguous: float
    judge: float | None


@dataclass(frozen=True)
class JudgeAgainstLabels:
    """The judge as a classifier of right and wrong, by labels: its sensitivity, specificity and agreement."""

    items: int
    agreement: float
    sensitivity: float | None
    specificity: float | None
    corrected: Figure | None


def lettered(item: Item) -> bool:
    """Whether the question lists its options with letters."""
    return all(f"({chr(ord('A') + place)})" in item.question for place in range(len(item.choices)))


def exact(item: Item, answer: AnswerRecord) -> tuple[float, str]:
    """1 or 0, and how the label was found. A refusal names none."""
    if answer.status != "ok":
        return 0.0, "unmapped"
    found = extract_label(answer.text or "", with_aliases(item.choices), lettered=lettered(item))
    return float(found.label is not None and found.label == item.label), found.how


def label_figures(run: Run, resampling: Resampling) -> tuple[LabelFigures, ...]:
    """For each type of direct question with labels."""
    right, hows = _exact(run)
    judged = run.real.means
    found = []
    for kind in DIRECT:
        mine = np.array([item.type == kind for item in run.items]) & np.isfinite(right)
        if mine.any():
            values = np.where(mine, right, np.nan)
            value = float(values[mine].mean())
            drawn = resampling.means(values[:, None])[:, 0]
            scores = judged[mine & np.isfinite(judged)]
            of_kind = [how for how, there in zip(hows, mine, strict=True) if there]
            found.append(
                LabelFigures(
                    type=kind,
                    items=int(mine.sum()),
                    accuracy=Figure.of(
                        100 * value, resampling.interval(100 * value, 100 * drawn, resampling.carrying(mine))
                    ),
                    unmapped=round(of_kind.count("unmapped") / len(of_kind), 6),
                    ambiguous=round(of_kind.count("ambiguous") / len(of_kind), 6),
                    judge=round(float(scores.mean()), 10) if len(scores) else None,
                )
            )
    return tuple(found)


def judge_against_labels(run: Run) -> JudgeAgainstLabels | None:
    """Over all direct questions that have a label and a score; None where there are none."""
    right, _ = _exact(run)
    there = np.isfinite(right) & np.isfinite(run.real.means)
    if not there.any():
        return None
    truth, called = right[there] > 0.5, run.real.means[there] >= RIGHT - 1e-9
    yes, no = int(truth.sum()), int((~truth).sum())
    sensitivity = float(called[truth].mean()) if yes else None
    specificity = float((~called[~truth]).mean()) if no else None
    corrected = None
    if sensitivity is not None and specificity is not None:
        corrected = _corrected(float(called.mean()), len(called), sensitivity, specificity, yes, no)
    agreement = round(float((truth == called).mean()), 6)
    return JudgeAgainstLabels(len(called), agreement, _short(sensitivity), _short(specificity), corrected)


def write_judged(path: str | Path, run: Run) -> int:
    """The labelled direct questions with their answers and scores as JSONL, which `bench validate` reads; how many."""
    right, _ = _exact(run)
    answers = {one.item_id: one for one in run.real.answers if one.sample == 0}
    system = ", ".join(run.models) or run.settings.client
    lines = [
        json_line(
            {
                "id": item.id,
                "clip_id": item.clip_id,
                "system": system,
                "answer": answers[item.id].text or "",
                "label": item.label,
                "score": score,
            }
        )
        for item, known, score in zip(run.items, right, run.real.means.tolist(), strict=True)
        if np.isfinite(known) and np.isfinite(score) and answers[item.id].status == "ok"
    ]
    write_atomically(path, "".join(lines))
    return len(lines)


def _exact(run: Run) -> tuple[Floats, Sequence[str]]:
    """Right or wrong [N], NaN where an item has no label or no answer; and how the label was found."""
    answers = {one.item_id: one for one in run.real.answers if one.sample == 0 and one.status in ("ok", "refused")}
    right, hows = np.full(len(run.items), np.nan), [""] * len(run.items)
    for place, item in enumerate(run.items):
        if item.type in DIRECT and item.label in item.choices and item.id in answers:
            right[place], hows[place] = exact(item, answers[item.id])
    return right, hows


def _corrected(rate: float, items: int, sensitivity: float, specificity: float, yes: int, no: int) -> Figure | None:
    """The share of right answers behind the judge's rate, with 1.96 standard errors; None for a useless judge."""
    try:
        found = bias_corrected_accuracy(
            rate, items, sensitivity=sensitivity, specificity=specificity, right=yes, wrong=no
        )
    except MetricError:
        return None
    reach = 1.96 * found.se
    ends = (max(0.0, found.value - reach), min(1.0, found.value + reach))
    return Figure(*(round(100 * value, 10) for value in (found.value, *ends)))


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
