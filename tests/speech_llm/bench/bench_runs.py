"""Folders of runs as the benchmark keeps them, written by hand for tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from earwitness.core.hashing import sha256_text
from earwitness.speech_llm.bench.asking import settings_of
from earwitness.speech_llm.bench.records import ANSWERS, JUDGEMENTS, AnswerRecord, Judgement, plain
from earwitness.speech_llm.bench.settings import Condition, open_run
from earwitness.speech_llm.bench.stand_ins import audio_blind
from earwitness.speech_llm.clients.interface import Status
from earwitness.speech_llm.items import Item, QuestionType, json_line


@dataclass(frozen=True)
class Row:
    """One question and what became of it; `ratings` one a run of the judge, None: unreadable."""

    type: QuestionType
    ratings: tuple[int | None, ...] = ()
    clip: str = ""
    text: str | None = "said"
    status: Status = "ok"
    condition: Condition = "real"
    item: Item | None = None
    model: str = "qwen2-audio"
    heard: float = 2.0


def item(number: int, kind: QuestionType, clip: str, **more: object) -> Item:
    made = Item(
        f"i{number}", clip or f"clip{number}", f"{clip or f'clip{number}'}.wav", f"q{number}?", f"a{number}", kind
    )
    return replace(made, **more)  # type: ignore[arg-type]


def write_run(folder: Path, rows: Sequence[Row], judge: str = "llama-judge") -> Path:
    """A run with these rows; rows of other conditions name the `item` that they are about."""
    items: dict[str, Item] = {}
    answers, judgements = [], []
    for number, row in enumerate(rows):
        one = row.item or item(number, row.type, row.clip)
        items.setdefault(one.id, one)
        key = sha256_text(f"{one.id} {row.condition}")
        answers.append(
            AnswerRecord(
                key, one.id, row.condition, 0, row.text if row.status == "ok" else None, row.status, None, "stop",
                row.heard, 2.0, 0.1, None, None, row.model, None,
            )
        )  # fmt: skip
        for run, rating in enumerate(row.ratings):
            judgements.append(
                Judgement(
                    sha256_text(f"{key} {run}"), key, sha256_text(row.text or ""), judge, "template", 0.7, run, rating,
                    None, "ok" if rating is not None else "unparsed", None, 1, "llama-3", None,
                )
            )  # fmt: skip
    questions = list(items.values())
    open_run(folder, settings_of(audio_blind(), questions), questions)
    (folder / ANSWERS).write_text("".join(json_line(plain(one)) for one in answers), encoding="utf-8")
    if judgements:
        (folder / JUDGEMENTS).write_text("".join(json_line(plain(one)) for one in judgements), encoding="utf-8")
    return folder


def shuffle_lines(path: Path, seed: int) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    random.Random(seed).shuffle(lines)
    path.write_text("".join(lines), encoding="utf-8")
