"""Put every question under every condition to a model, and keep what comes back.

Each answer has a key: the sha256 of everything that can change it, the bytes of the audio among it. A run that was
killed asks exactly what is missing. An answer whose key is no longer that of its question (the audio has changed) is
set aside and asked anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from earwitness.core.errors import AudioError, UsageError
from earwitness.core.hashing import sha256_data, sha256_text
from earwitness.speech_llm.bench.at_once import work_through
from earwitness.speech_llm.bench.controls import other_clips, transcript_of
from earwitness.speech_llm.bench.recordings import Recordings, Stretch, silent
from earwitness.speech_llm.bench.records import ANSWERS, FAILURES, AnswerRecord, plain, set_aside
from earwitness.speech_llm.bench.settings import (
    CONTROLS,
    TEMPLATE,
    TRANSCRIPT_TEMPLATE,
    Condition,
    RunSettings,
    items_sha256,
    open_run,
)
from earwitness.speech_llm.clients.fencing import fenced
from earwitness.speech_llm.clients.interface import Answer, LimitsItself, Params, SpeechLLM
from earwitness.speech_llm.clients.length import under_policy
from earwitness.speech_llm.items import Item
from earwitness.speech_llm.kept import KeptRecords

Quietly = Callable[[], None]
READERS = 0.25  # threads more for each request at once: they read recordings while all requests are under way


@dataclass(frozen=True)
class Asked:
    """How a run asks: which controls beside the real audio, how often, how many requests at once."""

    controls: tuple[Condition, ...] = ()
    samples: int = 1
    concurrency: int = 8
    retry_failed: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a call of `ask` did: answers that were there, asked now, and failures among all."""

    there: int
    asked: int
    failed: int


@dataclass(frozen=True)
class _Cell:
    """One request: what is heard (None: nothing), what is asked, and why it cannot be (`refusal`)."""

    key: str
    item: Item
    condition: Condition
    sample: int
    heard: Stretch | None
    prompt: str
    refusal: str | None


def settings_of(client: SpeechLLM, items: list[Item], params: Params = Params(), **more: Any) -> RunSettings:
    """The settings of a run; `more` are fields of `RunSettings` (`system`, `length`, `shuffle_seed`)."""
    return RunSettings(
        items_sha256=items_sha256(items),
        client=client.id,
        temperature=params.temperature,
        top_p=params.top_p,
        max_tokens=params.max_tokens,
        seed=1 if params.seed is None else params.seed,
        **more,
    )


class Asking:
    """A run of the benchmark in a folder. `cells` is everything that it asks; `ask` asks what is missing.

    Raises `UsageError` for a model that hears nothing, for controls that cannot be made, and for a folder with other
    settings.
    """

    def __init__(
        self,
        folder: str | Path,
        client: SpeechLLM,
        items: list[Item],
        recordings: Recordings,
        settings: RunSettings,
        asked: Asked = Asked(),
    ) -> None:
        if client.max_audios == 0:
            raise UsageError("is a text model and hears nothing", where=client.id, fix="Give a model that hears.")
        if unknown := [control for control in asked.controls if control not in CONTROLS]:
            raise UsageError(f"'{unknown[0]}' is no control", where="--controls", fix=f"Use {', '.join(CONTROLS)}.")
        if "transcript" in asked.controls and not any(transcript_of(item) for item in items):
            fix = "Give the items a tag `transcript`, or leave the control out."
            raise UsageError("no item has a transcript", where="--controls transcript", fix=fix)
        self.folder = Path(folder)
        at_once = max(1, asked.concurrency)
        self._under_way: AbstractContextManager[object] = threading.BoundedSemaphore(at_once)
        if isinstance(client, LimitsItself):
            client, self._under_way = client.at_most(at_once), nullcontext()
        self.client = _by_length(client, settings.length)
        self.items = items
        self.recordings = recordings
        self.settings = settings
        self.asked = asked
        self._donors = other_clips(items, settings.shuffle_seed) if "shuffle" in asked.controls else {}
        open_run(self.folder, settings, items)

    def cells(self, step: Quietly = lambda: None) -> list[_Cell]:
        """All requests, the conditions of one item one after another. Reads every file once, for its hash; `step` is
        called once an item."""
        conditions: tuple[Condition, ...] = ("real", *self.asked.controls)
        cells = []
        for item in self.items:
            cells += [self._cell(item, name, sample) for name in conditions for sample in range(self.asked.samples)]
            step()
        return cells

    def ask(self, cells: Sequence[_Cell], step: Quietly = lambda: None) -> Outcome:
        """Ask what is not there yet; with `retry_failed` also what has failed."""
        path = self.folder / ANSWERS
        keys = {(cell.item.id, cell.condition, cell.sample): cell.key for cell in cells}

        def unwanted(record: dict[str, Any]) -> bool:
            place = (record.get("item_id"), record.get("condition"), record.get("sample"))
            stale = keys.get(place, record["key"]) != record["key"]  # type: ignore[arg-type]
            return stale or (self.asked.retry_failed and record.get("status") in FAILURES)

        set_aside(path, unwanted)
        with KeptRecords(path) as kept:
            missing = [cell for cell in cells if cell.key not in kept]
            there = len(cells) - len(missing)
            for _ in range(there):
                step()
            threads = self.asked.concurrency + int(READERS * self.asked.concurrency)
            work_through(missing, self._answered, kept, threads, step)
            failed = sum(kept.records[cell.key]["status"] in FAILURES for cell in cells)
        return Outcome(there, len(missing), failed)

    def _cell(self, item: Item, condition: Condition, sample: int) -> _Cell:
        heard = self._heard(item, condition)
        transcript = transcript_of(item) if condition == "transcript" else None
        prompt = TEMPLATE.format(question=item.question)
        refusal = None
        if condition == "transcript":
            prompt = TRANSCRIPT_TEMPLATE.format(
                transcript=fenced(transcript or "", "transcript"), question=item.question
            )
            refusal = None if transcript else "the item has no transcript"
        audio = None
        if heard is not None:
            try:
                audio = self.recordings.sha256(heard.audio)
            except AudioError as error:
                refusal = str(error)
        settings = self.settings
        key = sha256_data(
            {
                "audio": [audio, heard.start, heard.end] if heard is not None else None,
                "item": item.id,
                "question": item.question,
                "client": settings.client,
                "template": settings.template_sha256,
                "system": settings.system,
                "decoding": [settings.temperature, settings.top_p, settings.max_tokens, settings.seed],
                "transform": condition,
                "transcript": transcript,
                "length": settings.length,
                "sample": sample,
            }
        )
        return _Cell(key, item, condition, sample, heard, prompt, refusal)

    def _heard(self, item: Item, condition: Condition) -> Stretch | None:
        if condition in ("text-only", "transcript"):
            return None
        return self._donors[item.id] if condition == "shuffle" else Stretch.of(item)

    def _answered(self, cell: _Cell) -> dict[str, Any]:
        """What the model answers, or why it was not asked."""
        if cell.refusal is not None:
            return _record(cell, Answer(None, "error", error=cell.refusal), 0.0)
        audios = []
        if cell.heard is not None:
            try:
                recording = self.recordings.load(cell.heard)
            except AudioError as error:
                return _record(cell, Answer(None, "error", error=str(error)), 0.0)
            audios = [silent(recording) if cell.condition == "silence" else recording]
        params = self._params(cell.sample)
        with self._under_way:
            answer = self.client.answer(audios, cell.prompt, system=self.settings.system, params=params)
        return _record(cell, _honest(answer), sum(audio.duration_s for audio in audios))

    def _params(self, sample: int) -> Params:
        settings = self.settings
        return Params(settings.temperature, settings.top_p, settings.max_tokens, settings.seed + sample)


def _by_length(client: SpeechLLM, length: str) -> SpeechLLM:
    try:
        return under_policy(client, length)
    except ValueError as error:
        raise UsageError(f"'{length}' is no policy: {error}", where="--length") from None


def _honest(answer: Answer) -> Answer:
    """No text beside a failure, and no answer without text."""
    if answer.status in FAILURES:
        return replace(answer, text=None)
    if answer.status == "ok" and not (answer.text or "").strip():
        return replace(answer, text=None, status="empty", error=answer.error or "the reply holds no text")
    return answer


def _record(cell: _Cell, answer: Answer, seconds: float) -> dict[str, Any]:
    return plain(
        AnswerRecord(
            key=cell.key,
            item_id=cell.item.id,
            condition=cell.condition,
            sample=cell.sample,
            text=answer.text,
            status=answer.status,
            error=answer.error,
            finish_reason=answer.finish_reason,
            seconds_heard=round(answer.seconds_heard, 3),
            seconds_total=round(seconds, 3),
            latency_s=round(answer.latency_s, 4),
            prompt_tokens=answer.usage.prompt_tokens,
            completion_tokens=answer.usage.completion_tokens,
            model=answer.model,
            raw=answer.raw,
        )
    )


def controls_named(text: str) -> tuple[Condition, ...]:
    """`silence,shuffle` as conditions. Raises `UsageError`."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return tuple(_control(name) for name in dict.fromkeys(names))


def _control(name: str) -> Condition:
    for control in CONTROLS:
        if control == name:
            return control
    raise UsageError(f"'{name}' is no control", where="--controls", fix=f"Use {', '.join(CONTROLS)}.")


def answer_hash(text: str) -> str:
    """By which a judgement knows the text that it is about."""
    return sha256_text(text)


def distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    """Each once, in the order of the alphabet, None left out."""
    return tuple(sorted({value for value in values if value is not None}))
