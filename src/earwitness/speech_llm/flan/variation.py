"""Other words for a record's instruction, by a language model behind a guard (after arXiv 2502.16584, section 2.5).

A model is given records and example instructions of their task and rewrites instruction, labels and lead-in. It is not
trusted: audio ids, what follows the labels, and the answer must come back as they were, the answer must not be told in
the instruction, and a translation must keep its languages. What fails is asked again, then flagged for a person.

The prompt is our own; the paper's numbers (5 seeds a task) and what it leaves open (3 examples, temperature 0.9, top-p
0.95, 3 tries) are the options' defaults. Replies are kept, so that a second run asks nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from earwitness.audio.perturb.base import item_rng
from earwitness.core.hashing import sha256_data
from earwitness.speech_llm.clients.interface import Params, SpeechLLM
from earwitness.speech_llm.flan.instructions import written_instructions
from earwitness.speech_llm.flan.languages import languages_in
from earwitness.speech_llm.flan.records import Record, varied
from earwitness.speech_llm.flan.spans import audio_ids, core, delimiter_fault, payload
from earwitness.speech_llm.flan.taxonomy import fold
from earwitness.speech_llm.kept import KeptRecords
from earwitness.speech_llm.replies import json_object

REASONS = (
    "no reply",
    "broken JSON",
    "dropped record",
    "empty instruction",
    "audio ids",
    "payload",
    "answer",
    "lead-in",
    "leak",
    "language",
)
"""Why a variation is not taken, in the order in which it is looked at."""
LONGEST_INSTRUCTION, LONGEST_LEAD_IN = 600, 160  # characters
TRANSLATIONS = ("Speech to Text Translation", "Speech to Speech Translation")
ROUND = 64  # records between two looks at the pool: the same whatever the number of threads

SYSTEM = (
    "You rewrite instruction records for training audio language models. You change wording only, never meaning, "
    "never facts, never audio ids. You answer with one JSON object and nothing else."
)
_TASK = """Rewrite each of the {count} records below in other words. Their task is: {task}.

Rules:
1. "instruction": change the sentence structure, style and tone. Forms: a command, a polite request, a question, \
a suggestion, an emphatic wish. Do not give away the answer.
2. "input": only the label before a colon may change (such as "audio", "audio sample 1", "text"). What follows the \
label stays identical, character by character, and there are as many lines as before.
3. "output": the original output stays as it is, at the end. You may put a short phrase before it.
4. Audio spans such as <|SOA|>name<|EOA|> stay exactly as they are.
5. Give as many records as you were given, each with its "number".

Examples of instructions for this task:
{examples}

Records:
{records}

Answer in this form: {{"records": [{{"number": 1, "instruction": "...", "input": "...", "output": "..."}}]}}"""


@dataclass(frozen=True)
class VaryOptions:
    """`together` records of a task in one question, `examples` of the pool with them, `tries` in all, `threads` that
    ask at the same time (they don't change the result)."""

    together: int = 4
    examples: int = 3
    tries: int = 3
    temperature: float = 0.9
    top_p: float = 0.95
    max_tokens: int = 2048
    threads: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Failed:
    """A question without a reply, and why."""

    why: str


@dataclass(frozen=True)
class Verdict:
    """The varied record, or the reason why there is none; of a model that failed also its words."""

    record: Record | None
    reason: str | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one record: its variation (None: flagged for review), why each failed try failed, and how the
    model failed in the last one in which it did."""

    original: Record
    record: Record | None
    reasons: tuple[str, ...] = ()
    failure: str | None = None


@dataclass
class Tally:
    """How often variations were taken, and why not."""

    records: int = 0
    accepted: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.records += 1
        self.accepted += outcome.record is not None
        if outcome.record is None and outcome.failure is not None:
            self.failures[outcome.failure] += 1
        for reason in outcome.reasons:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def __str__(self) -> str:
        tried = self.accepted + sum(self.reasons.values())
        share = f"{100 * self.accepted / tried:.1f} % of {tried} tries" if tried else "no tries"
        why = "; ".join(f"{reason} {self.reasons[reason]}" for reason in REASONS if reason in self.reasons)
        return f"{self.accepted} of {self.records} records varied ({share} taken){f'; not taken: {why}' if why else ''}"


class Pool:
    """Example instructions by task: five that were written by hand, and what was taken since."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {task: list(texts) for task, texts in written_instructions().items()}

    def drawn(self, record: Record, count: int, seed: int) -> list[str]:
        """Up to `count` examples for a question that begins with this record."""
        found = self._found.get(record.minor, [])
        order = item_rng(seed, 0, f"pool/{record.uuid}").permutation(len(found))[:count]
        return [found[place] for place in order]

    def add(self, task: str, instruction: str) -> None:
        """Keep an instruction that was taken, once."""
        found = self._found.setdefault(task, [])
        if instruction not in found:
            found.append(instruction)


def vary(
    records: Sequence[Record], model: SpeechLLM, kept: KeptRecords, options: VaryOptions = VaryOptions()
) -> Iterator[Outcome]:
    """The outcome of each record, in order. A question whose reply is kept is not asked; a model's failure is a reason
    and is not kept, so that the next run asks again."""
    pool = Pool()
    for start in range(0, len(records), ROUND):
        part = records[start : start + ROUND]
        found: dict[int, Record] = {}
        reasons: dict[int, list[str]] = {place: [] for place in range(len(part))}
        failures: dict[int, str] = {}
        for attempt in range(options.tries):
            left = [place for place in range(len(part)) if place not in found]
            groups = _grouped(part, left, options.together)
            questions = [_question([part[place] for place in group], pool, options) for group in groups]
            ask = _Asker(model, kept, options, attempt)
            with ThreadPoolExecutor(options.threads) as threads:
                replies = list(threads.map(ask, questions))
            for group, reply in zip(groups, replies, strict=True):
                for place, verdict in zip(group, judged([part[place] for place in group], reply), strict=True):
                    if verdict.record is not None:
                        found[place] = verdict.record
                        pool.add(verdict.record.minor, verdict.record.instruction)
                    else:
                        reasons[place].append(verdict.reason or "")
                        if verdict.failure is not None:
                            failures[place] = verdict.failure
        for place, record in enumerate(part):
            yield Outcome(record, found.get(place), tuple(reasons[place]), failures.get(place))


def _grouped(part: Sequence[Record], left: Sequence[int], size: int) -> list[list[int]]:
    tasks: dict[str, list[int]] = {}
    for place in left:
        tasks.setdefault(part[place].minor, []).append(place)
    return [places[at : at + size] for places in tasks.values() for at in range(0, len(places), size)]


def _question(records: Sequence[Record], pool: Pool, options: VaryOptions) -> str:
    examples = pool.drawn(records[0], options.examples, options.seed)
    lines = [
        json.dumps(
            {"number": number, "instruction": record.instruction, "input": record.input, "output": record.output},
            ensure_ascii=False,
        )
        for number, record in enumerate(records, 1)
    ]
    return _TASK.format(
        count=len(records),
        task=records[0].minor,
        examples="\n".join(f"- {text}" for text in examples) or "- (none yet)",
        records="\n".join(lines),
    )


@dataclass(frozen=True)
class _Asker:
    model: SpeechLLM
    kept: KeptRecords
    options: VaryOptions
    attempt: int

    def __call__(self, question: str) -> str | Failed:
        """The reply, from the file where it is there."""
        options = self.options
        seed = options.seed + self.attempt
        params = Params(options.temperature, options.top_p, options.max_tokens, seed)
        key = sha256_data([self.model.id, SYSTEM, question, asdict(params), self.attempt])
        if key in self.kept:
            text = self.kept.records[key].get("text")
            return text if isinstance(text, str) else Failed("the kept reply holds no text")
        answer = self.model.answer((), question, system=SYSTEM, params=params)
        if answer.status != "ok" or answer.text is None:
            return Failed(f"{answer.status}: {answer.error or answer.text}")
        self.kept.add({"key": key, "text": answer.text, "model": answer.model})
        return answer.text


def judged(records: Sequence[Record], reply: str | Failed) -> list[Verdict]:
    """A reply to a question about these records, judged record by record."""
    if isinstance(reply, Failed):
        return [Verdict(None, "no reply", reply.why)] * len(records)
    data = json_object(reply)
    listed = data.get("records") if data is not None else None
    if not isinstance(listed, list):
        return [Verdict(None, "broken JSON")] * len(records)
    given: dict[int, Any] = {}
    for one in listed:
        if isinstance(one, dict) and isinstance(one.get("number"), int):
            given.setdefault(one["number"], one)
    return [guarded(record, given.get(number)) for number, record in enumerate(records, 1)]


def guarded(record: Record, given: object) -> Verdict:
    """The record in the words that a model gave, or why they are not taken."""
    if not isinstance(given, dict):
        return Verdict(None, "dropped record")
    texts = [given.get(name) for name in ("instruction", "input", "output")]
    if not all(isinstance(text, str) for text in texts):
        return Verdict(None, "broken JSON")
    instruction, input_, output = (str(text).strip() for text in texts)
    for reason, is_wrong in _CHECKS:
        if is_wrong(record, instruction, input_, output):
            return Verdict(None, reason)
    return Verdict(varied(record, instruction, input_, output))


def _bad_instruction(record: Record, instruction: str, input_: str, output: str) -> bool:
    return not fold(instruction) or len(instruction) > LONGEST_INSTRUCTION


def _other_ids(record: Record, instruction: str, input_: str, output: str) -> bool:
    pairs = ((record.instruction, instruction), (record.input, input_), (record.output, output))
    return any(audio_ids(was) != audio_ids(now) or delimiter_fault(now) for was, now in pairs)


def _other_payload(record: Record, instruction: str, input_: str, output: str) -> bool:
    return payload(input_) != payload(record.input.strip())


def _other_answer(record: Record, instruction: str, input_: str, output: str) -> bool:
    """The original output must end the new one, as words of its own."""
    was = record.output.strip()
    before = output[: len(output) - len(was)]
    return not output.endswith(was) or before[-1:].isalnum()


def _bad_lead_in(record: Record, instruction: str, input_: str, output: str) -> bool:
    """Too long, or it names an answer itself."""
    before = output[: len(output) - len(record.output.strip())]
    return len(before) > LONGEST_LEAD_IN or bool(_mentioned(record, before))


def _tells(record: Record, instruction: str, input_: str, output: str) -> bool:
    """The instruction names the answer, and not because it lists the same choices as before."""
    answer = core(record.output)
    if not fold(answer) or audio_ids(record.output):
        return False
    named = _names(instruction, answer)
    return named and not (
        _names(record.instruction, answer) and _mentioned(record, instruction) == _mentioned(record, record.instruction)
    )


def _other_languages(record: Record, instruction: str, input_: str, output: str) -> bool:
    return record.minor in TRANSLATIONS and languages_in(instruction) != languages_in(record.instruction)


_CHECKS: tuple[tuple[str, Callable[[Record, str, str, str], bool]], ...] = (
    ("empty instruction", _bad_instruction),
    ("audio ids", _other_ids),
    ("payload", _other_payload),
    ("answer", _other_answer),
    ("lead-in", _bad_lead_in),
    ("leak", _tells),
    ("language", _other_languages),
)


def _mentioned(record: Record, text: str) -> frozenset[str]:
    """Which of a record's choices a text names."""
    choices = record.facts().get("choices")
    return frozenset(
        str(choice)
        for choice in (choices if isinstance(choices, list) else ())
        if fold(str(choice)) and _names(text, str(choice))
    )


def _names(text: str, words: str) -> bool:
    """Whether a text has these words; a single letter only in its own case."""
    within, sought = (text, words) if len(words) == 1 else (fold(text), fold(words))
    return re.search(rf"(?<!\w){re.escape(sought)}(?!\w)", within) is not None
