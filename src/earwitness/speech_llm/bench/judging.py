"""Have the answers of a run rated by a model, several times each.

Only answers are judged, never failures. A refusal is 0 by the rubric and needs no judge. A reply without a rating is
asked again with another seed, up to three times, and is missing data from then on: never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.core.hashing import sha256_data
from earwitness.speech_llm.bench.asking import answer_hash
from earwitness.speech_llm.bench.at_once import work_through
from earwitness.speech_llm.bench.records import (
    JUDGEMENTS,
    AnswerRecord,
    Judgement,
    JudgementStatus,
    plain,
    read_answers,
    set_aside,
)
from earwitness.speech_llm.bench.rubric import SCHEMA, SYSTEM, TEMPLATE_SHA256, judge_prompt
from earwitness.speech_llm.bench.settings import items_of
from earwitness.speech_llm.clients.interface import Answer, Params, SpeechLLM
from earwitness.speech_llm.items import Item
from earwitness.speech_llm.kept import KeptRecords
from earwitness.speech_llm.ratings import rating_in

RETRIES = 3
_SEED_DIGITS = 7  # hexadecimal: a seed that any server takes


@dataclass(frozen=True)
class Judged:
    """How a judge is asked. `temperature` None: 0.7 where `runs` shall differ, 0 for one run."""

    runs: int = 5
    temperature: float | None = None
    max_tokens: int = 512
    seed: int = 1
    concurrency: int = 8
    retry_failed: bool = False

    @property
    def heat(self) -> float:
        """The temperature that is used."""
        return (0.7 if self.runs > 1 else 0.0) if self.temperature is None else self.temperature


@dataclass(frozen=True)
class JudgeOutcome:
    """What a call of `judge_run` did: judgements that were there, made now, and those without a rating among all."""

    there: int
    made: int
    unparsed: int
    failed: int


@dataclass(frozen=True)
class _Cell:
    key: str
    item: Item
    answer: AnswerRecord
    run: int


class Judging:
    """The judgements of a run's folder. Raises `DataError` where that is none."""

    def __init__(self, folder: str | Path, judge: SpeechLLM, judged: Judged = Judged()) -> None:
        self.folder = Path(folder)
        self.judge = judge
        self.judged = judged
        self.items = {item.id: item for item in items_of(folder)}

    def cells(self) -> list[_Cell]:
        """Everything that is to be judged, the runs of one answer one after another."""
        answers = [one for one in read_answers(self.folder) if one.status == "ok" and one.item_id in self.items]
        return [self._cell(answer, run) for answer in answers for run in range(self.judged.runs)]

    def judge_all(self, cells: list[_Cell], step: Callable[[], None] = lambda: None) -> JudgeOutcome:
        """Judge what is not there yet; with `retry_failed` also what has no rating."""
        path = self.folder / JUDGEMENTS
        if self.judged.retry_failed:
            set_aside(path, lambda record: record.get("status") != "ok")
        with KeptRecords(path) as kept:
            missing = [cell for cell in cells if cell.key not in kept]
            for _ in range(len(cells) - len(missing)):
                step()
            work_through(missing, self._judged, kept, self.judged.concurrency, step)
            found = [kept.records[cell.key]["status"] for cell in cells]
        return JudgeOutcome(len(cells) - len(missing), len(missing), found.count("unparsed"), found.count("error"))

    def _cell(self, answer: AnswerRecord, run: int) -> _Cell:
        judged = self.judged
        key = sha256_data(
            {
                "answer": answer.key,
                "text": answer_hash(answer.text or ""),
                "judge": self.judge.id,
                "template": TEMPLATE_SHA256,
                "decoding": [judged.heat, judged.max_tokens, judged.seed],
                "run": run,
            }
        )
        return _Cell(key, self.items[answer.item_id], answer, run)

    def _judged(self, cell: _Cell) -> dict[str, Any]:
        text = cell.answer.text or ""
        prompt = judge_prompt(cell.item, text)
        for attempt in range(1 + RETRIES):
            reply = self.judge.answer([], prompt, system=SYSTEM, params=self._params(cell, attempt))
            if reply.status in ("error", "timeout", "too_long"):
                return self._record(cell, reply, "error", attempt + 1, error=reply.error or reply.status)
            rated = rating_in(reply.text, reply.finish_reason, text) if reply.status == "ok" else None
            if rated is not None and rated.rating is not None:
                return self._record(cell, reply, "ok", attempt + 1, rated.rating, rated.rationale)
        why = "the reply was cut off" if reply.finish_reason == "length" else "the reply holds no rating"
        return self._record(cell, reply, "unparsed", 1 + RETRIES, error=why)

    def _params(self, cell: _Cell, attempt: int) -> Params:
        """With a seed of its own for each judgement: under one seed a server would judge answers of the same words, to
        one question about many clips, by a single draw, and the noise of their mean would not shrink with them."""
        seed = int(cell.key[:_SEED_DIGITS], 16) + attempt
        return Params(self.judged.heat, 1.0, self.judged.max_tokens, seed, SCHEMA)

    def _record(
        self,
        cell: _Cell,
        reply: Answer,
        status: JudgementStatus,
        attempts: int,
        rating: int | None = None,
        rationale: str | None = None,
        error: str | None = None,
    ) -> dict[str, Any]:
        return plain(
            Judgement(
                key=cell.key,
                answer_key=cell.answer.key,
                answer_sha256=answer_hash(cell.answer.text or ""),
                judge=self.judge.id,
                template_sha256=TEMPLATE_SHA256,
                temperature=self.judged.heat,
                run=cell.run,
                rating=rating,
                rationale=rationale,
                status=status,
                error=error,
                attempts=attempts,
                model=reply.model,
                raw=reply.raw if reply.raw is not None else reply.text,
            )
        )
