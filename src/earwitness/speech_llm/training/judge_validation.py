"""Does a judge's score mean something? Validation on questions whose answer has a deterministic label.

After section IV and Table V of arXiv 2508.07273: free answers are turned into labels (`label_extraction`), and the
judge must agree with them: correct answers score higher, the ratio of correct to incorrect rises with the score, and
systems rank alike. An answer with no label, or several, counts as wrong and has a rate of its own. The values of the
paper's bins are not known; bins of 20 on 0..100 are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import DataError, MetricError
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.classification import confusion
from earwitness.metrics.regression import spearman
from earwitness.speech_llm.items import json_lines
from earwitness.speech_llm.label_extraction import Embed, extract_label, with_aliases

EDGES = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)
NONE = "(no label)"


@dataclass(frozen=True)
class JudgedAnswer:
    """An answer of `system` about a clip, its true label, and the judge's score, 0..100."""

    id: str
    answer: str
    label: str
    score: float
    clip_id: str
    system: str = ""


@dataclass(frozen=True)
class ScoreBin:
    """Answers with a score in [low, high) (the last bin holds its upper end too)."""

    low: float
    high: float
    correct: int
    incorrect: int

    @property
    def share(self) -> float | None:
        """Correct of all; None for an empty bin. It rises where the ratio correct:incorrect rises."""
        total = self.correct + self.incorrect
        return self.correct / total if total else None


@dataclass(frozen=True)
class SystemScore:
    """One system by the judge (mean score) and by labels."""

    system: str
    answers: int
    judge: float
    wa: float
    macro_f1: float


@dataclass(frozen=True)
class JudgeValidation:
    """`rank` is Spearman's correlation of the judge's score with correct (1) or not (0), over resampled clips. `order`
    is that of the systems' ranks by judge and by WA (None for fewer than three)."""

    answers: int
    wa: float
    ua: float
    macro_f1: float
    weighted_f1: float
    unmapped: float
    ambiguous: float
    rank: Interval
    bins: tuple[ScoreBin, ...]
    systems: tuple[SystemScore, ...]
    order: float | None

    @property
    def monotone(self) -> bool:
        """Whether the ratio of correct to incorrect never falls from one filled bin to the next, and rises over all."""
        shares = [one.share for one in self.bins if one.share is not None]
        steps = list(pairwise(shares))
        return bool(steps) and all(low <= high for low, high in steps) and shares[0] < shares[-1]

    @property
    def significant(self) -> bool:
        """Whether the interval of the correlation lies above 0."""
        return self.rank.low > 0

    @property
    def verdict(self) -> str:
        """In words."""
        shape = "monotone" if self.monotone else "not monotone"
        return f"the ratio of correct to incorrect is {shape} in the score; the correlation is " + (
            "significant" if self.significant else "not significant"
        )


def read_judged(path: str | Path) -> list[JudgedAnswer]:
    """Answers from JSONL: `id`, `answer`, `label`, `score` (0..100), and where known `clip_id` and `system`; further
    fields are passed over. Raises `DataError` naming the line."""
    found = [_judged(data, f"{path}, line {number}") for number, data in json_lines(path)]
    if not found:
        raise DataError("holds no judged answers", where=path, fix="Give one JSON object a line.")
    if len({(one.system, one.id) for one in found}) < len(found):
        raise DataError("an id stands there twice for one system", where=path, fix="Give each answer an id of its own.")
    return found


def validate_judge(
    answers: Sequence[JudgedAnswer],
    labels: Sequence[str] = (),
    *,
    embed: Embed | None = None,
    edges: Sequence[float] = EDGES,
    resamples: int = 1000,
    seed: int = 0,
) -> JudgeValidation:
    """Judge the judge. `labels` are those that an answer may name (default: all true labels of the file).

    Raises `MetricError` for fewer than two clips, `DataError` for a true label that is not among `labels`.
    """
    names = tuple(labels) or tuple(sorted({one.label for one in answers}))
    if strange := sorted({one.label for one in answers} - set(names)):
        raise DataError(f"the label '{strange[0]}' is not among those given", fix=f"Labels: {', '.join(names)}.")
    words = with_aliases(names)
    read = [extract_label(one.answer, words, embed) for one in answers]
    called = [found.label or NONE for found in read]
    truth = [one.label for one in answers]
    right = np.array([call == true for call, true in zip(called, truth, strict=True)], np.float64)
    scores = np.array([one.score for one in answers])
    matrix = confusion(truth, called, (*names, NONE) if NONE in called else names)
    systems = _systems(answers, called)
    return JudgeValidation(
        answers=len(answers),
        wa=matrix.wa,
        ua=matrix.ua,
        macro_f1=_macro_f1(truth, called),
        weighted_f1=matrix.weighted_f1,
        unmapped=float(np.mean([found.how == "unmapped" for found in read])),
        ambiguous=float(np.mean([found.how == "ambiguous" for found in read])),
        rank=_rank(scores, right, [one.clip_id for one in answers], resamples, seed),
        bins=_bins(scores, right, edges),
        systems=systems,
        order=spearman([one.judge for one in systems], [one.wa for one in systems]) if len(systems) > 2 else None,
    )


def _macro_f1(truth: Sequence[str], called: Sequence[str]) -> float:
    """Mean F1 of the classes of the truth; answers without a label are misses, not a class."""
    names = tuple(sorted({*truth, *called}))
    matrix = confusion(truth, called, names)
    return float(np.mean([matrix.f1s[place] for place, name in enumerate(names) if name in set(truth)]))


def _rank(
    scores: NDArray[np.float64], right: NDArray[np.float64], clips: Sequence[str], resamples: int, seed: int
) -> Interval:
    units = Units.of(list(clips), "clip")

    def statistic(counts: NDArray[np.float64]) -> list[float]:
        weights = units.weights(counts)
        found = spearman(right, scores, weights)
        if not np.isfinite(found):
            raise MetricError("all are right, all wrong, or all scores equal", where="judge validation")
        return [found]

    return bootstrap(statistic, units, resamples, seed)[0]


def _bins(scores: NDArray[np.float64], right: NDArray[np.float64], edges: Sequence[float]) -> tuple[ScoreBin, ...]:
    place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, len(edges) - 2)
    found = []
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = right[place == number]
        found.append(ScoreBin(low, high, int(inside.sum()), int(len(inside) - inside.sum())))
    return tuple(found)


def _systems(answers: Sequence[JudgedAnswer], called: Sequence[str]) -> tuple[SystemScore, ...]:
    """By the judge, best first."""
    found = []
    for name in sorted({one.system for one in answers}):
        rows = [row for row, one in enumerate(answers) if one.system == name]
        truth, calls = [answers[row].label for row in rows], [called[row] for row in rows]
        judge = float(np.mean([answers[row].score for row in rows]))
        found.append(SystemScore(name, len(rows), judge, confusion(truth, calls).wa, _macro_f1(truth, calls)))
    return tuple(sorted(found, key=lambda one: (-one.judge, one.system)))


def _judged(data: dict[str, Any], where: str) -> JudgedAnswer:
    for name in ("id", "answer", "label"):
        if not isinstance(data.get(name), str) or (name != "answer" and not data[name].strip()):
            raise DataError(f"'{name}' is missing or no text", where=where, fix="Add it.")
    score = data.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 100:
        raise DataError(f"'{score}' is no score", where=where, fix="Give the judge's score, 0 to 100.")
    clip, system = data.get("clip_id", data["id"]), data.get("system", "")
    if not isinstance(clip, str) or not isinstance(system, str):
        raise DataError("'clip_id' or 'system' is no text", where=where, fix="Give texts.")
    return JudgedAnswer(data["id"], data["answer"], data["label"], float(score), clip, system)
