"""The kept records as arrays: what each item was given by the judge under each condition, and what has no score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.core.errors import DataError
from earwitness.metrics.scores import Floats
from earwitness.speech_llm.bench.asking import answer_hash, distinct
from earwitness.speech_llm.bench.records import (
    BEST,
    FAILURES,
    AnswerRecord,
    Judgement,
    read_answers,
    read_judgements,
)
from earwitness.speech_llm.bench.settings import CONDITIONS, Condition, RunSettings, items_of, read_settings
from earwitness.speech_llm.items import Item

POINTS = 100 / BEST  # of one step of a rating, on the scale 0..100


@dataclass(frozen=True)
class Counts:
    """What became of the questions of one condition. `not_asked` have no answer record yet, `not_judged` are answers
    without any judgement; `unparsed` and `judge_errors` count judgements of `judgements`."""

    questions: int
    not_asked: int
    answered: int
    refused: int
    failed: Mapping[str, int]
    not_judged: int
    judgements: int
    unparsed: int
    judge_errors: int


@dataclass(frozen=True)
class Scored:
    """The items under one condition: `scores` float64 [N, R] on 0..100, NaN where there is none, in the order of items.

    Several samples of one question are averaged. `failed` [N] says where every sample of an item has failed or its
    judgements hold no rating: what a naive mean would call 0.
    """

    condition: Condition
    scores: Floats
    failed: np.ndarray[tuple[int], np.dtype[np.bool_]]
    answers: tuple[AnswerRecord, ...]
    counts: Counts

    @property
    def means(self) -> Floats:
        """s(q), the mean over the judge's runs, [N]; NaN where there is none."""
        return mean_there(self.scores)


@dataclass(frozen=True)
class JudgeUsed:
    """Who has rated: the client's id, the names that its server gave itself, and the wording."""

    id: str
    models: tuple[str, ...]
    template_sha256: str
    temperature: float
    runs: int


@dataclass(frozen=True)
class Run:
    """A run's folder as arrays. `judge` is None where nothing was judged yet."""

    settings: RunSettings
    items: tuple[Item, ...]
    models: tuple[str, ...]
    judge: JudgeUsed | None
    conditions: Mapping[Condition, Scored]

    @property
    def real(self) -> Scored:
        """With the items' own audio."""
        return self.conditions["real"]

    @property
    def clips(self) -> list[str]:
        """The clip of each item, [N]."""
        return [item.clip_id for item in self.items]


def mean_there(values: Floats) -> Floats:
    """The mean over the last axis of what is not NaN; NaN where nothing is."""
    there = np.isfinite(values)
    count = there.sum(-1)
    total = np.where(there, values, 0.0).sum(-1)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0), np.float64)


def read_run(folder: str | Path, judge: str | None = None) -> Run:
    """A run's records, whatever the order of their lines. `judge` is the begin of a judge's id, where several have
    judged. Raises `DataError`."""
    items = tuple(items_of(folder))
    known = {item.id for item in items}
    answers = [answer for answer in read_answers(folder) if answer.item_id in known]
    if not answers:
        raise DataError("holds no answers", where=folder, fix="Ask first: `earwitness bench run`.")
    judgements, used = _chosen(read_judgements(folder), judge, folder)
    by_answer: dict[str, list[Judgement]] = {}
    for one in judgements:
        by_answer.setdefault(one.answer_key, []).append(one)
    conditions = [name for name in CONDITIONS if any(one.condition == name for one in answers)]
    if "real" not in conditions:
        raise DataError("holds no answers to the real audio", where=folder, fix="Ask first: `earwitness bench run`.")
    return Run(
        settings=read_settings(folder),
        items=items,
        models=distinct(answer.model for answer in answers),
        judge=used,
        conditions={
            name: _scored(name, items, [one for one in answers if one.condition == name], by_answer, used)
            for name in conditions
        },
    )


def _chosen(
    judgements: list[Judgement], wanted: str | None, folder: str | Path
) -> tuple[list[Judgement], JudgeUsed | None]:
    """The judgements of one judge with one wording at one temperature. Raises `DataError` where that is not clear."""
    ways = sorted({(one.judge, one.template_sha256, one.temperature) for one in judgements})
    ways = [way for way in ways if wanted is None or way[0].startswith(wanted)]
    if not ways and wanted is not None:
        raise DataError(f"the judge '{wanted}' has judged nothing", where=folder, fix="Leave --judge out.")
    if not ways:
        return [], None
    if len(ways) > 1:
        names = ", ".join(dict.fromkeys(f"'{way[0]}'" for way in ways))
        fix = f"Choose with --judge: {names}; or remove the judgements in another wording or temperature."
        raise DataError("several judges, or wordings, have judged", where=folder, fix=fix)
    name, template, temperature = ways[0]
    mine = [one for one in judgements if (one.judge, one.template_sha256, one.temperature) == ways[0]]
    models = distinct(one.model for one in mine)
    return mine, JudgeUsed(name, models, template, temperature, 1 + max(one.run for one in mine))


def _scored(
    condition: Condition,
    items: Sequence[Item],
    answers: list[AnswerRecord],
    judgements: Mapping[str, list[Judgement]],
    judge: JudgeUsed | None,
) -> Scored:
    places = {item.id: place for place, item in enumerate(items)}
    samples = 1 + max(answer.sample for answer in answers)
    ratings = np.full((len(items), samples, judge.runs if judge else 1), np.nan)
    asked = np.zeros((len(items), samples), bool)
    judged: list[Judgement] = []
    not_judged = 0
    unscored = np.zeros(len(items), bool)
    for answer in answers:
        place = places[answer.item_id]
        if asked[place, answer.sample]:
            what = f"item '{answer.item_id}' has two answers under '{condition}'"
            raise DataError(what, fix="Run `earwitness bench run` again: it sets the outdated one aside.")
        asked[place, answer.sample] = True
        if answer.status == "refused":
            ratings[place, answer.sample] = 0
        found = _about(answer, judgements) if answer.status == "ok" else []
        for one in found:
            if one.rating is not None:
                ratings[place, answer.sample, one.run] = one.rating
        judged += found
        not_judged += answer.status == "ok" and not found
        unscored[place] |= answer.status in FAILURES or bool(found)
    scores = mean_there(np.moveaxis(ratings * POINTS, 1, 2))
    statuses = Counter(answer.status for answer in answers)
    outcome = Counter(one.status for one in judged)
    return Scored(
        condition=condition,
        scores=scores,
        failed=unscored & ~np.isfinite(scores).any(axis=1),
        answers=tuple(answers),
        counts=Counts(
            questions=asked.size,
            not_asked=int(asked.size - asked.sum()),
            answered=statuses["ok"],
            refused=statuses["refused"],
            failed={name: statuses[name] for name in FAILURES},
            not_judged=not_judged,
            judgements=len(judged),
            unparsed=outcome["unparsed"],
            judge_errors=outcome["error"],
        ),
    )


def _about(answer: AnswerRecord, judgements: Mapping[str, list[Judgement]]) -> list[Judgement]:
    """The judgements of exactly this text."""
    found = judgements.get(answer.key, [])
    if not found:
        return []
    text = answer_hash(answer.text or "")
    return [one for one in found if one.answer_sha256 == text]
