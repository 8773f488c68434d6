"""The report of a run: a pure function of the kept files, which asks no network and no clock."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.metrics.resampled import Resampling
from earwitness.speech_llm.bench.alarms import (
    Heard,
    IdenticalAnswers,
    LengthBias,
    SameAsControl,
    heard,
    identical_answers,
    length_bias,
    same_as_controls,
)
from earwitness.speech_llm.bench.figures import ConditionFigures, condition_figures
from earwitness.speech_llm.bench.gains import Difference, audio_gain, beyond_transcript, model_difference
from earwitness.speech_llm.bench.labels import JudgeAgainstLabels, LabelFigures, judge_against_labels, label_figures
from earwitness.speech_llm.bench.people import HumanAgreement, human_agreement, suspects
from earwitness.speech_llm.bench.scores import JudgeUsed, Run, read_run
from earwitness.speech_llm.bench.settings import RunSettings

SCHEMA = "1.0"
RESAMPLES = 2000


@dataclass(frozen=True)
class Asked:
    """What a report is made of beside the run: ratings by people, other runs to compare with, a judge by its id."""

    human: Path | None = None
    compare: tuple[Path, ...] = ()
    judge: str | None = None
    resamples: int = RESAMPLES
    seed: int = 1


@dataclass(frozen=True)
class Report:
    """All that is said of a run. Scores are on 0..100, intervals 95 % over clips.

    `judge_like_model` and `judge_like_generator` name the family that the judge shares with the tested model, and with
    the model that wrote the questions (the tag `generator`). `pseudo_labelled` items have labels that a model gave (the
    tag `labels` is "pseudo").
    """

    settings: RunSettings
    models: tuple[str, ...]
    judge: JudgeUsed | None
    items: int
    clips: int
    resamples: int
    seed: int
    conditions: tuple[ConditionFigures, ...]
    audio_gain: Difference | None
    beyond_transcript: Difference | None
    identical: tuple[IdenticalAnswers, ...]
    same_as_controls: tuple[SameAsControl, ...]
    heard: Heard
    labels: tuple[LabelFigures, ...]
    judge_against_labels: JudgeAgainstLabels | None
    length_bias: LengthBias | None
    judge_like_model: str | None
    judge_like_generator: str | None
    pseudo_labelled: int
    human: HumanAgreement | None
    comparisons: tuple[Difference, ...]
    suspects: tuple[str, ...]

    @property
    def real(self) -> ConditionFigures:
        """The figures with the items' own audio."""
        return self.conditions[0]

    def plain(self) -> dict[str, Any]:
        """As plain data, for JSON; what is not defined is null. What it says in words stands first."""
        from earwitness.speech_llm.bench.statements import statements

        data = asdict(self) | {"settings": self.settings.model_dump()}
        said = [asdict(one) for one in statements(self)]
        return {"schema": SCHEMA, "statements": said, **_without_nan(data)}

    def json(self) -> str:
        """The same files give the same bytes."""
        return json.dumps(self.plain(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def make_report(folder: str | Path, asked: Asked = Asked()) -> Report:
    """The report of a run's folder. Raises `DataError` for files that are not those of a run."""
    run = read_run(folder, asked.judge)
    others = [read_run(other) for other in asked.compare]
    resampling = _resampling(run, asked)
    names = [_name(path, other) for path, other in zip(asked.compare, others, strict=True)]
    return Report(
        settings=run.settings,
        models=run.models,
        judge=run.judge,
        items=len(run.items),
        clips=len(set(run.clips)),
        resamples=asked.resamples,
        seed=asked.seed,
        conditions=tuple(condition_figures(one, run.items, resampling) for one in run.conditions.values()),
        audio_gain=audio_gain(run, resampling),
        beyond_transcript=beyond_transcript(run, resampling),
        identical=identical_answers(run.real, run.items),
        same_as_controls=same_as_controls(run),
        heard=heard(run.real),
        labels=label_figures(run, resampling),
        judge_against_labels=judge_against_labels(run),
        length_bias=length_bias(run, resampling),
        judge_like_model=_family_in_common(run, (*run.models, run.settings.client)),
        judge_like_generator=_family_in_common(run, _tagged(run, "generator")),
        pseudo_labelled=_tagged(run, "labels").count("pseudo"),
        human=human_agreement(asked.human, run, resampling) if asked.human else None,
        comparisons=tuple(
            model_difference(run, other, name, resampling) for other, name in zip(others, names, strict=True)
        ),
        suspects=suspects([run, *others]),
    )


def family(model: str) -> str:
    """The family of a model by its name: "Qwen/Qwen2-Audio-7B" is "qwen". A guess, good for a warning."""
    last = model.split("/")[-1].casefold()
    found = re.match(r"[a-z]+", last)
    return found[0] if found else last


def _family_in_common(run: Run, names: Sequence[str]) -> str | None:
    """The family that some models and the judge share, by their names; None where they differ."""
    if run.judge is None:
        return None
    judged = {family(name) for name in (*run.judge.models, run.judge.id)}
    return min(judged & {family(name) for name in names}, default=None)


def _tagged(run: Run, name: str) -> list[str]:
    """What a tag says, of each item that has it."""
    return [tag.value for item in run.items for tag in item.tags if tag.name == name]


def _resampling(run: Run, asked: Asked) -> Resampling:
    """Over clips; with one clip there is a single draw, from which no interval is made."""
    if len(set(run.clips)) < 2:
        return Resampling(np.ones((1, 1)), np.zeros(len(run.items), np.int64), "clip")
    return Resampling.over(run.clips, asked.resamples, asked.seed)


def _name(path: Path, run: Run) -> str:
    return f"{path.name}: {', '.join(run.models) or run.settings.client}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
