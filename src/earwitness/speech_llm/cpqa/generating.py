"""Questions about a condensed set: a writer makes pairs for each clip, the post-filter sifts them (sections 2.9, 2.10
of the sheet on CPQA, arXiv 2505.13338).

    outcome = generate(folder, GenerateConfig(), ModelWriter(client, config))

Every reply is kept: a second run asks nothing, and writes the same bytes. A reply that cannot be read is asked for once
more and then counts as a failure; so does a server that does not answer, which the next run asks again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from earwitness.core.config import Config
from earwitness.core.hashing import sha256_data, sha256_text
from earwitness.core.writing import write_atomically
from earwitness.speech_llm.clients.interface import Params, SpeechLLM
from earwitness.speech_llm.cpqa.clips import Clip, read_clips, spoken
from earwitness.speech_llm.cpqa.forms import FAILURES, ITEMS, QA, QaRow, write_rows
from earwitness.speech_llm.cpqa.hearing import MILLISECONDS
from earwitness.speech_llm.cpqa.post_filter import Pair, PostFilter, Sifted, pair_of, sift
from earwitness.speech_llm.cpqa.prompt import SYSTEM, clip_prompt, reply_schema
from earwitness.speech_llm.cpqa.templates import template_pairs
from earwitness.speech_llm.items import Item, QuestionType, Tag, item_id, json_line, write_items
from earwitness.speech_llm.kept import KeptRecords
from earwitness.speech_llm.replies import json_object

REPLIES = "replies.jsonl"
SETTLED = ("ok", "refused", "empty", "too_long")  # what a server says of a question again and again
TRIES = 2


class GenerateConfig(Config):
    """How many pairs are asked for, how many of them in context, and how a model writes. Speakers are not counted by
    the condensation, so no questions about their number are asked for unless `types` names them."""

    pairs: int = Field(6, ge=1)
    contextual: int = Field(3, ge=0)
    types: tuple[QuestionType, ...] = Field(("C", "DE", "DG", "CE", "CG"), min_length=1)
    temperature: float = Field(0.7, ge=0)
    max_tokens: int = Field(2000, ge=1)
    seed: int = 42
    post_filter: PostFilter = PostFilter()
    at_once: int = Field(4, ge=1)


@dataclass(frozen=True)
class Written:
    """What a writer made of a clip; `failure` says why there is nothing, after `tries`."""

    pairs: tuple[Pair, ...]
    prompt_sha256: str
    failure: str | None = None
    tries: int = 1


class Writer(Protocol):
    """`id` names it, `params` are what its pairs depend on beside the clip."""

    @property
    def id(self) -> str: ...

    @property
    def params(self) -> dict[str, Any]: ...

    def write(self, clip: Clip, kept: KeptRecords) -> Written:
        """The pairs of one clip."""
        ...


class TemplateWriter:
    """`template`: no model at all."""

    id = "template"

    @property
    def params(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def write(self, clip: Clip, kept: KeptRecords) -> Written:
        """The same pairs every time."""
        return Written(tuple(template_pairs(clip)), sha256_text(self.id))


class ModelWriter:
    """A text model behind a client."""

    def __init__(self, client: SpeechLLM, config: GenerateConfig) -> None:
        self._client, self._config = client, config
        self.id = client.id
        self.params: dict[str, Any] = {
            "temperature": config.temperature,
            "max_tokens": config.max_tokens,
            "seed": config.seed,
            "pairs": config.pairs,
        }

    def write(self, clip: Clip, kept: KeptRecords) -> Written:
        """Asked until a reply can be read, at most twice; the second time with another seed."""
        prompt = clip_prompt(clip, self._config.pairs, self._config.contextual, self._config.types)
        digest = sha256_data([SYSTEM, prompt])
        why = ""
        for number in range(TRIES):
            text, why = self._reply(clip.id, prompt, number, kept)
            entries = None if text is None else _entries(text)
            if entries is not None:
                pairs = tuple(pair_of(entry, clip.duration) for entry in entries)
                return Written(pairs, digest, tries=number + 1)
            if text is None:
                return Written((), digest, why, number + 1)
        return Written((), digest, why, TRIES)

    def _reply(self, clip: str, prompt: str, number: int, kept: KeptRecords) -> tuple[str | None, str]:
        """The text of a reply, or None; and what is wrong where it cannot be used."""
        config = self._config
        params = Params(
            temperature=config.temperature,
            max_tokens=config.max_tokens,
            seed=config.seed + number,
            schema=reply_schema(config.types),
        )
        key = sha256_data([self._client.id, clip, SYSTEM, prompt, asdict(params), number])
        if key not in kept:
            answer = self._client.answer((), prompt, system=SYSTEM, params=params)
            record = {"key": key, "status": answer.status, "text": answer.text, "error": answer.error}
            if answer.status not in SETTLED:
                return None, f"{answer.status}: {answer.error}"
            kept.add(record)
        known = kept.records[key]
        if known["status"] != "ok":
            return None, f"{known['status']}: {known['error'] or known['text']}"
        return str(known["text"] or ""), "the reply holds no JSON with a list `qa`"


@dataclass(frozen=True)
class Failure:
    """A clip without pairs."""

    seg_id: str
    why: str
    tries: int


@dataclass(frozen=True)
class Generated:
    """All pairs, taken or not, and the clips for which there are none."""

    rows: tuple[QaRow, ...]
    failures: tuple[Failure, ...]

    @property
    def accepted(self) -> list[QaRow]:
        """The pairs that were taken."""
        return [row for row in self.rows if row.accepted]

    @property
    def rejected(self) -> Counter[str]:
        """How many pairs each rule rejected."""
        return Counter(row.reject_rule for row in self.rows if row.reject_rule is not None)


def generate(
    folder: Path, config: GenerateConfig, writer: Writer, step: Callable[[], None] = lambda: None
) -> Generated:
    """Write `qa.jsonl`, `items.jsonl` and `failures.jsonl` of the condensed set in `folder`.

    Raises `DataError` where it is none.
    """
    clips = read_clips(folder)

    with KeptRecords(folder / REPLIES) as kept, ThreadPoolExecutor(config.at_once) as pool:

        def written(clip: Clip) -> Written:
            found = writer.write(clip, kept)
            step()
            return found

        made = list(pool.map(written, clips))
    rows: list[QaRow] = []
    failures: list[Failure] = []
    for clip, found in zip(clips, made, strict=True):
        if found.failure is not None:
            failures.append(Failure(clip.id, found.failure, found.tries))
            continue
        sifted = sift(found.pairs, clip.emotions, config.types, config.post_filter)
        rows += [_row(clip, one, found, writer) for one in sifted]
    outcome = Generated(tuple(rows), tuple(failures))
    _write(folder, outcome, clips)
    return outcome


def as_item(row: QaRow, emotion: str | None, words: str = "") -> Item:
    """A pair that was taken, as the benchmark asks it; its tags say that the answer rests on guesses.

    `words` of the clip are the tag `transcript`, from which the benchmark makes its control of that name.
    """
    tags = [Tag("generator", row.generator), Tag("labels", "pseudo")]
    if emotion is not None:
        tags.append(Tag("emotion", emotion))
    if words:
        tags.append(Tag("transcript", words))
    return Item(
        id=row.qa_id,
        clip_id=row.seg_id,
        audio=row.audio,
        question=row.question,
        answer=row.answer,
        type=row.type,  # type: ignore[arg-type]
        start=row.start,
        end=row.end,
        tags=tuple(tags),
    )


def _entries(text: str) -> list[Any] | None:
    found = json_object(text)
    entries = None if found is None else found.get("qa")
    return entries if isinstance(entries, list) else None


def _row(clip: Clip, sifted: Sifted, written: Written, writer: Writer) -> QaRow:
    pair, offset = sifted.pair, clip.segment.start
    evidence = None if pair.evidence is None else [round(offset + time, MILLISECONDS) for time in pair.evidence]
    return QaRow(
        qa_id=item_id(clip.id, pair.question, pair.answer),
        seg_id=clip.id,
        audio=clip.segment.audio,
        start=clip.segment.start,
        end=clip.segment.end,
        question=pair.question,
        answer=pair.answer,
        type=pair.type,
        evidence=evidence,
        generator=writer.id,
        prompt_sha256=written.prompt_sha256,
        params=writer.params,
        accepted=sifted.rule is None,
        reject_rule=sifted.rule,
    )


def _write(folder: Path, outcome: Generated, clips: Sequence[Clip]) -> None:
    of = {clip.id: (clip.segment.emotion, spoken(clip.words)) for clip in clips}
    write_rows(folder / QA, outcome.rows)
    write_items(folder / ITEMS, (as_item(row, *of[row.seg_id]) for row in outcome.accepted))
    write_atomically(folder / FAILURES, "".join(json_line(asdict(one)) for one in outcome.failures))


def told(outcome: Generated) -> Iterator[str]:
    """Lines to print."""
    yield f"{len(outcome.rows)} pair(s), {len(outcome.accepted)} taken"
    for rule, count in sorted(outcome.rejected.items()):
        yield f"rejected, {rule}: {count}"
    types = Counter(row.type for row in outcome.accepted)
    yield "types: " + (", ".join(f"{name} {count}" for name, count in sorted(types.items())) or "none")
    if outcome.failures:
        yield f"{len(outcome.failures)} clip(s) without pairs, see {FAILURES}"
    yield "Answers rest on guesses of models; have people check them before anything is judged by them."
