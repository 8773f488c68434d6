"""Answers of models and ratings of judges, each asked once and kept: what `validating` makes its figures of.

A server that does not answer is asked again by the next run; what it answers again and again, a refusal too, is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from earwitness.audio.reading import RATE, load
from earwitness.core.errors import AudioError
from earwitness.core.hashing import sha256_data, sha256_file
from earwitness.core.paths import inside
from earwitness.speech_llm.clients.interface import Answer, Params, SpeechLLM
from earwitness.speech_llm.clients.pool import Ask, answers
from earwitness.speech_llm.cpqa.generating import SETTLED
from earwitness.speech_llm.cpqa.judging import SCHEMA, SYSTEM, judge_prompt
from earwitness.speech_llm.items import Item
from earwitness.speech_llm.kept import KeptRecords
from earwitness.speech_llm.ratings import rating_in

Step = Callable[[], None]
Record = Mapping[str, Any]
KEPT = ("status", "text", "error", "finish_reason", "seconds_heard", "model")
UNREAD = "the reply holds no rating that can be read"


@dataclass(frozen=True)
class Heard:
    """What a model answered to an item; `text` is None where there is nothing to rate. `seconds_heard` of `seconds` of
    the stretch reached it; 0 where it could not be read. `problem` says why there is no answer."""

    item: Item
    text: str | None
    refused: bool
    seconds_heard: float
    seconds: float
    problem: str | None = None


def ask_model(
    items: Sequence[Item],
    model: SpeechLLM,
    params: Params,
    data_root: Path,
    kept: KeptRecords,
    at_once: int = 4,
    step: Step = lambda: None,
) -> list[Heard]:
    """The answers to all items, by ear."""
    hashes = {audio: _hash(data_root, audio) for audio in {item.audio for item in items}}
    keys = [_key(model.id, hashes[one.audio], one.start, one.end, one.question, asdict(params)) for one in items]
    jobs = {key: partial(_answer, model, one, params, data_root) for key, one in zip(keys, items, strict=True)}
    found = _asked(jobs, kept, at_once, step)
    return [_heard(item, found[key]) for key, item in zip(keys, items, strict=True)]


@dataclass(frozen=True)
class Ratings:
    """Of one answer, by repeat: None for one that could not be had or read, and `problems` says why."""

    values: tuple[int | None, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judging:
    """How answers are rated; `repeats` with seeds one after the other."""

    prompt: str
    repeats: int
    tokens: int
    seed: int
    labels_visible: bool = False


def ask_judge(
    heard: Sequence[Heard],
    judge: SpeechLLM,
    how: Judging,
    kept: KeptRecords,
    at_once: int = 4,
    step: Step = lambda: None,
) -> list[Ratings]:
    """The ratings of each answer; none where there is no answer."""
    jobs: dict[str, Ask] = {}
    keys: list[list[str]] = []
    for one in heard:
        own = []
        for number in range(how.repeats if one.text is not None else 0):
            prompt = judge_prompt(how.prompt, one.item, one.text or "", how.labels_visible)
            params = Params(max_tokens=how.tokens, seed=how.seed + number, schema=SCHEMA)
            own.append(_key(judge.id, SYSTEM, prompt, asdict(params), number))
            jobs[own[-1]] = partial(judge.answer, (), prompt, system=SYSTEM, params=params)
        keys.append(own)
    found = _asked(jobs, kept, at_once, step)
    return [_ratings([found[key] for key in own], one.text or "") for own, one in zip(keys, heard, strict=True)]


def _ratings(replies: Sequence[Record], answer: str) -> Ratings:
    values = [rating_in(reply["text"], reply.get("finish_reason"), answer).rating for reply in replies]
    unread = [reply for reply, value in zip(replies, values, strict=True) if value is None]
    why = (f"{one['status']}: {one['error'] or one['text']}" if one["status"] != "ok" else UNREAD for one in unread)
    return Ratings(tuple(values), tuple(why))


def _asked(jobs: Mapping[str, Ask], kept: KeptRecords, at_once: int, step: Step) -> dict[str, Record]:
    """What came back to all questions; what is settled is kept."""
    unsettled: dict[str, Record] = {}
    missing = [key for key in jobs if key not in kept]
    for _ in range(len(jobs) - len(missing)):
        step()
    for place, answer in answers((jobs[key] for key in missing), at_once):
        told = {name: getattr(answer, name) for name in KEPT}
        if answer.status in SETTLED:
            kept.add({"key": missing[place], **told})
        else:
            unsettled[missing[place]] = {**told, "text": None}
        step()
    return {key: kept.records[key] if key in kept else unsettled[key] for key in jobs}


def _answer(model: SpeechLLM, item: Item, params: Params, data_root: Path) -> Answer:
    recording = load(inside(data_root, item.audio), RATE, None, item.start, item.end)
    return model.answer((recording,), item.question, params=params)


def _heard(item: Item, record: Record) -> Heard:
    seconds = (item.end or item.start) - item.start
    if record["status"] not in ("ok", "refused"):
        return Heard(item, None, False, 0.0, seconds, f"{record['status']}: {record['error']}")
    text = record["text"] or record["error"]
    return Heard(item, text, record["status"] == "refused", float(record["seconds_heard"]), seconds)


def _hash(data_root: Path, audio: str) -> str:
    try:
        return sha256_file(inside(data_root, audio))
    except (OSError, AudioError):
        return f"absent: {audio}"


def _key(*parts: Any) -> str:
    return sha256_data(list(parts))
