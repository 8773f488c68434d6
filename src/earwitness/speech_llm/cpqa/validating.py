"""Does a generated set of questions rank answers as another does? (Section 2.12 of the sheet, arXiv 2505.13338.)

    outcome = validate([QaSet("generated", items), QaSet("human", others)], models, judges, config, data_root, folder)

Models answer every item by ear, judges rate every answer by two prompts. Each set's score is told with its interval,
resampling clips (questions about one clip are not independent), and how far two sets agree: over the models where there
are three or more, and over the clips that both have. Everything asked is kept; a second run asks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from pydantic import Field

from earwitness.core.config import Config
from earwitness.core.errors import DataError, MetricError, UsageError
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.regression import pearson, spearman
from earwitness.metrics.scores import Floats
from earwitness.speech_llm.clients.interface import Params, SpeechLLM
from earwitness.speech_llm.cpqa.asking import Heard, Judging, Step, ask_judge, ask_model
from earwitness.speech_llm.cpqa.forms import QaRow, read_rows
from earwitness.speech_llm.cpqa.generating import as_item
from earwitness.speech_llm.cpqa.judging import PROMPTS, SCALE
from earwitness.speech_llm.items import Item, json_lines, read_items
from earwitness.speech_llm.kept import KeptRecords

ANSWERS, RATINGS = "answers.jsonl", "ratings.jsonl"
FEWEST_MODELS, FEWEST_CLIPS = 3, 3


class ValidateConfig(Config):
    """`repeats` ratings of each answer are averaged; `labels_visible_to_judge` shows a judge the labels behind the
    reference, which is circular."""

    prompts: tuple[str, ...] = Field(tuple(PROMPTS), min_length=1)
    repeats: int = Field(3, ge=1)
    labels_visible_to_judge: bool = False
    answer_tokens: int = Field(256, ge=1)
    judge_tokens: int = Field(500, ge=1)
    seed: int = 42
    at_once: int = Field(4, ge=1)
    resamples: int = Field(1000, ge=1)


@dataclass(frozen=True)
class QaSet:
    """Items under a name."""

    name: str
    items: tuple[Item, ...]

    @property
    def generators(self) -> set[str]:
        """Who wrote them, as far as their tags say."""
        return {tag.value for item in self.items for tag in item.tags if tag.name == "generator"}


@dataclass(frozen=True)
class By:
    """Whose answers, rated by whom, with which prompt."""

    model: str
    judge: str
    prompt: str


@dataclass(frozen=True)
class Score:
    """Of one set: the mean rating from 0 to 100 with its interval over clips (None: too few).

    Of `items`, `missing` have no answer and `refused` are refusals, which are rated; `unrated` have answers of which no
    rating could be read. `parsed` is the share of all ratings that could be. `seconds_heard` of `seconds` reached the
    model.
    """

    set_name: str
    by: By
    value: float | None
    interval: Interval | None
    items: int
    missing: int
    refused: int
    unrated: int
    parsed: float | None
    seconds_heard: float
    seconds: float


@dataclass(frozen=True)
class Agreement:
    """How far two sets agree: over the clips that both have, with intervals and the difference of the means (first less
    second); or over models, where `by.model` is empty, without. None: not known, or one side is constant."""

    sets: tuple[str, str]
    by: By
    count: int
    pearson: float | None
    spearman: float | None
    intervals: tuple[Interval, ...] = ()
    difference: Interval | None = None


@dataclass(frozen=True)
class Validation:
    """All figures, what must be known to read them, and why answers or ratings are missing (each reason once)."""

    scores: tuple[Score, ...]
    agreements: tuple[Agreement, ...]
    warnings: tuple[str, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rated:
    """The items of a set with their ratings, one list an item."""

    heard: tuple[Heard, ...]
    ratings: tuple[tuple[int | None, ...], ...]
    problems: tuple[str, ...] = ()

    @property
    def means(self) -> list[tuple[str, float]]:
        """Clip and mean rating from 0 to 100 of each item that has one."""
        found = []
        for one, ratings in zip(self.heard, self.ratings, strict=True):
            known = [value for value in ratings if value is not None]
            if known:
                found.append((one.item.clip_id, SCALE * float(np.mean(known))))
        return found

    @property
    def clips(self) -> dict[str, float]:
        """Mean score by clip."""
        of: dict[str, list[float]] = {}
        for clip, value in self.means:
            of.setdefault(clip, []).append(value)
        return {clip: float(np.mean(values)) for clip, values in of.items()}


def read_set(path: Path) -> QaSet:
    """Items, or the pairs of a `qa.jsonl` that were taken. Raises `DataError`."""
    first = next(json_lines(path), None)
    if first is None or "qa_id" not in first[1]:
        return QaSet(path.stem, tuple(read_items(path)))
    items = {row.qa_id: as_item(row, None) for row in read_rows(path, QaRow) if row.accepted}
    if not items:
        raise DataError("holds no pair that was taken", where=path, fix="Generate again, or give other items.")
    return QaSet(path.stem, tuple(items.values()))


def requests_of(sets: Sequence[QaSet], models: int, judges: int, config: ValidateConfig) -> int:
    """At most so many questions are asked."""
    items = sum(len(one.items) for one in sets)
    return items * models * (1 + judges * len(config.prompts) * config.repeats)


def validate(
    sets: Sequence[QaSet],
    models: Sequence[SpeechLLM],
    judges: Sequence[SpeechLLM],
    config: ValidateConfig,
    data_root: Path,
    folder: Path,
    step: Step = lambda: None,
) -> Validation:
    """Ask what is not kept in `folder` yet, and judge all. Raises `UsageError` for unknown prompts or equal names."""
    _check(sets, models, judges, config)
    rated: dict[By, dict[str, Rated]] = {}
    for model in models:
        heard = _heard(sets, model, config, data_root, folder, step)
        for judge in judges:
            for prompt in config.prompts:
                rated[By(model.id, judge.id, prompt)] = _rated(heard, judge, prompt, config, folder, step)
    scores = tuple(_score(name, by, one, config) for by, found in rated.items() for name, one in found.items())
    pairs = list(combinations([one.name for one in sets], 2))
    over_clips = [_over_clips(pair, by, found, config) for by, found in rated.items() for pair in pairs]
    ways = [(judge.id, prompt) for judge in judges for prompt in config.prompts]
    over_models = [_over_models(pair, judge, prompt, scores) for judge, prompt in ways for pair in pairs]
    agreements = tuple(one for one in (*over_models, *over_clips) if one is not None)
    problems = dict.fromkeys(why for found in rated.values() for one in found.values() for why in one.problems)
    return Validation(scores, agreements, tuple(_warnings(sets, models, judges, config)), tuple(problems))


def told(found: Validation) -> Iterator[str]:
    """Lines to print."""
    for warning in found.warnings:
        yield f"warning: {warning}"
    for one in found.scores:
        told_of = "no rating" if one.value is None else f"{one.value:.1f}{_range(one.interval)}"
        yield f"{one.set_name} | {_by(one.by)}: {told_of}"
        parsed = "-" if one.parsed is None else f"{100 * one.parsed:.1f} %"
        yield (
            f"  {one.items} items, {one.missing} without an answer, {one.refused} refused, {one.unrated} unrated; "
            f"ratings read {parsed}; {one.seconds_heard:.0f} of {one.seconds:.0f} s heard"
        )
    for pair in found.agreements:
        over = f"{pair.count} clips" if pair.by.model else f"{pair.count} models"
        intervals = [_range(one) for one in pair.intervals] or ["", ""]
        yield f"{pair.sets[0]} and {pair.sets[1]} over {over} | {_by(pair.by)}"
        yield f"  Pearson {_number(pair.pearson)}{intervals[0]}, Spearman {_number(pair.spearman)}{intervals[-1]}"
        if pair.difference is not None:
            yield f"  difference {pair.difference.value:+.1f}{_range(pair.difference)}"


def _check(
    sets: Sequence[QaSet], models: Sequence[SpeechLLM], judges: Sequence[SpeechLLM], config: ValidateConfig
) -> None:
    named = {
        "sets": [one.name for one in sets],
        "models": [one.id for one in models],
        "judges": [one.id for one in judges],
    }
    for what, names in named.items():
        if not names:
            raise UsageError(f"there are no {what}", fix="Name at least one.")
        if len(set(names)) < len(names):
            raise UsageError(f"two {what} are called '{max(names, key=names.count)}'", fix="Name each once.")
    if unknown := [name for name in config.prompts if name not in PROMPTS]:
        raise UsageError(f"there is no prompt '{unknown[0]}'", where="prompts", fix=f"Use {', '.join(PROMPTS)}.")


def _heard(
    sets: Sequence[QaSet], model: SpeechLLM, config: ValidateConfig, data_root: Path, folder: Path, step: Step
) -> dict[str, list[Heard]]:
    params = Params(max_tokens=config.answer_tokens, seed=config.seed)
    with KeptRecords(folder / ANSWERS) as kept:
        return {one.name: ask_model(one.items, model, params, data_root, kept, config.at_once, step) for one in sets}


def _rated(
    heard: dict[str, list[Heard]], judge: SpeechLLM, prompt: str, config: ValidateConfig, folder: Path, step: Step
) -> dict[str, Rated]:
    how = Judging(prompt, config.repeats, config.judge_tokens, config.seed, config.labels_visible_to_judge)
    found = {}
    with KeptRecords(folder / RATINGS) as kept:
        for name, own in heard.items():
            ratings = ask_judge(own, judge, how, kept, config.at_once, step)
            problems = [f"{name}, {one.item.id}: no answer: {one.problem}" for one in own if one.problem is not None]
            problems += [
                f"{name}, {one.item.id}: no rating: {why}"
                for one, rating in zip(own, ratings, strict=True)
                for why in rating.problems
            ]
            found[name] = Rated(tuple(own), tuple(rating.values for rating in ratings), tuple(problems))
    return found


def _score(name: str, by: By, rated: Rated, config: ValidateConfig) -> Score:
    means = rated.means
    values = np.array([value for _, value in means])
    everything = [value for ratings in rated.ratings for value in ratings]
    return Score(
        set_name=name,
        by=by,
        value=float(values.mean()) if len(values) else None,
        interval=_interval(values, [clip for clip, _ in means], config),
        items=len(rated.heard),
        missing=sum(one.text is None for one in rated.heard),
        refused=sum(one.refused for one in rated.heard),
        unrated=sum(bool(own) and not any(v is not None for v in own) for own in rated.ratings),
        parsed=float(np.mean([value is not None for value in everything])) if everything else None,
        seconds_heard=sum(one.seconds_heard for one in rated.heard),
        seconds=sum(one.seconds for one in rated.heard),
    )


def _interval(values: Floats, clips: Sequence[str], config: ValidateConfig) -> Interval | None:
    if len(set(clips)) < 2:
        return None
    units = Units.of(clips, "clip")

    def mean(counts: Floats) -> list[float]:
        weights = units.weights(counts)
        if not weights.any():
            raise MetricError("no clip was drawn")
        return [float(weights @ values / weights.sum())]

    return bootstrap(mean, units, config.resamples, config.seed)[0]


def _over_clips(pair: tuple[str, str], by: By, found: dict[str, Rated], config: ValidateConfig) -> Agreement | None:
    """Over the clips that both sets have ratings of; None where there are too few."""
    first, second = (found[name].clips for name in pair)
    shared = sorted(first.keys() & second.keys())
    if len(shared) < FEWEST_CLIPS:
        return None
    one, two = (np.array([side[clip] for clip in shared]) for side in (first, second))
    correlations = (pearson(one, two), spearman(one, two))
    units = Units.each(len(shared), "clip")
    difference = bootstrap(lambda counts: [float(counts @ (one - two) / counts.sum())], units, config.resamples)[0]
    intervals: tuple[Interval, ...] = ()
    if not any(math.isnan(value) for value in correlations):

        def both(counts: Floats) -> list[float]:
            drawn = [measure(one, two, counts) for measure in (pearson, spearman)]
            if any(math.isnan(value) for value in drawn):
                raise MetricError("the clips that were drawn are all alike")
            return drawn

        intervals = bootstrap(both, units, config.resamples)
    return Agreement(pair, by, len(shared), _known(correlations[0]), _known(correlations[1]), intervals, difference)


def _over_models(pair: tuple[str, str], judge: str, prompt: str, scores: Sequence[Score]) -> Agreement | None:
    values = {
        (one.set_name, one.by.model): one.value for one in scores if (one.by.judge, one.by.prompt) == (judge, prompt)
    }
    models = [
        model
        for name, model in values
        if name == pair[0] and values[name, model] is not None and values.get((pair[1], model)) is not None
    ]
    if len(models) < FEWEST_MODELS:
        return None
    one, two = (np.array([values[name, model] for model in models], np.float64) for name in pair)
    return Agreement(pair, By("", judge, prompt), len(models), _known(pearson(one, two)), _known(spearman(one, two)))


def _warnings(
    sets: Sequence[QaSet], models: Sequence[SpeechLLM], judges: Sequence[SpeechLLM], config: ValidateConfig
) -> Iterator[str]:
    for judge in judges:
        for one in sets:
            if any(_name(judge.id) == _name(writer) for writer in one.generators):
                yield f"'{_name(judge.id)}' wrote the references of {one.name} and judges by them: it may prefer itself"
        if any(_name(judge.id) == _name(model.id) for model in models):
            yield f"'{_name(judge.id)}' judges its own answers: it may prefer itself"
    if config.labels_visible_to_judge:
        yield "judges see the labels from which the references were made: that is circular"
    if len(models) < FEWEST_MODELS:
        yield f"{len(models)} model(s): no agreement over models can be told, it needs {FEWEST_MODELS}"


def _name(client: str) -> str:
    """The readable part of a client's id, before the hash of its settings."""
    head, dash, tail = client.rpartition("-")
    return head if dash and len(tail) == 12 and all(letter in "0123456789abcdef" for letter in tail) else client


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _by(by: By) -> str:
    return " | ".join(part for part in (by.model and f"answers of {by.model}", f"judge {by.judge}", by.prompt) if part)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _range(found: Interval | None) -> str:
    return "" if found is None else f" [{found.low:.2f}, {found.high:.2f}]"
