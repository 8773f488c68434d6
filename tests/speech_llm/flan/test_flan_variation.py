"""Other words by a model that is not trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from flan_records import MINIMAL

from earwitness.speech_llm.clients.interface import Answer, Params
from earwitness.speech_llm.flan.records import Record, line_of, record_of
from earwitness.speech_llm.flan.validation import validate_files
from earwitness.speech_llm.flan.variation import ROUND, Tally, VaryOptions, guarded, vary
from earwitness.speech_llm.flan.writing import write_records
from earwitness.speech_llm.kept import KeptRecords

Lines = list[dict[str, Any]]


def record(number: int, **changes: Any) -> Record:
    data = MINIMAL | {"uuid": f"u{number}", "input": f"audio: <|SOA|>1_a_{number}<|EOA|>"}
    return record_of(data | {"other": {"choices": ["angry", "glad", "sad"]}} | changes)


def asked_records(prompt: str) -> Lines:
    part = prompt[prompt.index("Records:") : prompt.index("Answer in this form")]
    return [json.loads(line) for line in part.splitlines() if line.startswith("{")]


def reworded(lines: Lines, times: int = 0) -> Lines:
    words = ("Please name the feeling you notice", "Which feeling do you notice", "I would love to hear the feeling")
    return [
        line
        | {
            "instruction": f"{words[(line['number'] + times) % 3]} ({times})?",
            "input": line["input"].replace("audio:", "recording:"),
            "output": f"What I notice: {line['output']}",
        }
        for line in lines
    ]


@dataclass
class FakeModel:
    """Answers by a function of the records and of how often it was asked."""

    reply: Callable[[Lines, int], str]
    id: str = "fake"
    max_seconds: float | None = None
    max_audios: int = 0
    prompts: list[tuple[str, Params]] = field(default_factory=list)

    def answer(self, audios: object, prompt: str, *, system: str | None = None, params: Params = Params()) -> Answer:
        self.prompts.append((prompt, params))
        return Answer(self.reply(asked_records(prompt), len(self.prompts)), "ok", model="fake-1")


def as_reply(lines: Lines) -> str:
    return "Here they are:\n```json\n" + json.dumps({"records": lines}) + "\n```"


CORRUPTIONS: dict[str, tuple[str, Callable[[Lines], str]]] = {
    "a corrupted id": (
        "audio ids",
        lambda lines: as_reply(patched(lines, "input", lambda t: t.replace("1_a_", "1_b_"))),
    ),
    "an id added to the output": (
        "audio ids",
        lambda lines: as_reply(patched(lines, "output", lambda t: f"<|SOA|>x<|EOA|> {t}")),
    ),
    "a dropped record": ("dropped record", lambda lines: as_reply(lines[1:])),
    "a changed payload": ("payload", lambda lines: as_reply(patched(lines, "input", lambda t: f"{t} slowly"))),
    "a changed answer": (
        "answer",
        lambda lines: as_reply(patched(lines, "output", lambda t: t.replace("sad", "glad"))),
    ),
    "an answer within a word": (
        "answer",
        lambda lines: as_reply(patched(lines, "output", lambda t: "NonEmotion: sad")),
    ),
    "another answer before it": (
        "lead-in",
        lambda lines: as_reply(patched(lines, "output", lambda _: "Glad. Emotion: sad")),
    ),
    "a leaked answer": ("leak", lambda lines: as_reply(patched(lines, "instruction", lambda _: "Say that it is sad."))),
    "broken JSON": ("broken JSON", lambda lines: as_reply(lines)[:-30]),
    "no object": ("broken JSON", lambda lines: json.dumps(lines[0]["instruction"])),
    "an empty instruction": (
        "empty instruction",
        lambda lines: as_reply(patched(lines, "instruction", lambda _: " ?")),
    ),
    "a missing field": ("broken JSON", lambda lines: as_reply([{"number": line["number"]} for line in lines])),
}


def patched(lines: Lines, name: str, change: Callable[[str], str]) -> Lines:
    return [line | {name: change(line[name])} for line in lines]


@pytest.mark.shows("audio-flan:6.4")
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_a_model_spoils_is_caught_asked_again_and_set_aside(name: str, tmp_path: Path) -> None:
    reason, spoil = CORRUPTIONS[name]
    originals = [record(0)]
    with KeptRecords(tmp_path / "kept.jsonl") as kept:
        spoiling = FakeModel(lambda lines, _: spoil(reworded(lines)))
        (outcome,) = vary(originals, spoiling, kept, VaryOptions(threads=1))
    assert (outcome.record, set(outcome.reasons)) == (None, {reason})
    assert len(spoiling.prompts) == 3
    with KeptRecords(tmp_path / "other.jsonl") as kept:
        once = FakeModel(
            lambda lines, times: spoil(reworded(lines)) if times == 1 else as_reply(reworded(lines, times))
        )
        (outcome,) = vary(originals, once, kept, VaryOptions(threads=1))
    assert outcome.reasons == (reason,)
    assert outcome.record is not None
    assert outcome.record.audio_ids() == originals[0].audio_ids()


@pytest.mark.shows("audio-flan:6.4")
def test_the_acceptance_rate_and_the_reasons_are_printed(tmp_path: Path) -> None:
    """Of each four records of a question one has another id, one is dropped, one leaks, and one is well."""

    def reply(lines: Lines, _: int) -> str:
        good = reworded(lines)
        bad = [patched([line], "input", lambda t: t.replace("1_a_", "2_a_"))[0] for line in good[:1]]
        leaking = patched(good[2:3], "instruction", lambda _: "It sounds sad, doesn't it?")
        return as_reply([*bad, *leaking, *good[3:]])

    tally = Tally()
    with KeptRecords(tmp_path / "kept.jsonl") as kept:
        for outcome in vary([record(number) for number in range(4)], FakeModel(reply), kept, VaryOptions(tries=1)):
            tally.add(outcome)
    assert (tally.records, tally.accepted) == (4, 1)
    assert tally.reasons == {"audio ids": 1, "dropped record": 1, "leak": 1}
    assert str(tally) == (
        "1 of 4 records varied (25.0 % of 4 tries taken); not taken: dropped record 1; audio ids 1; leak 1"
    )


def test_variations_are_valid_records_and_a_second_run_asks_nothing(tmp_path: Path) -> None:
    originals = [record(number) for number in range(ROUND + 6)]
    model = FakeModel(lambda lines, times: as_reply(reworded(lines, times)))
    with KeptRecords(tmp_path / "kept.jsonl") as kept:
        first = [outcome.record for outcome in vary(originals, model, kept, VaryOptions(threads=1))]
    assert len(model.prompts) == -(-ROUND // 4) + 2
    write_records(tmp_path / "varied.jsonl", [one for one in first if one is not None])
    report = validate_files([tmp_path / "varied.jsonl"])
    assert (report.records, report.faulty) == (len(originals), 0)
    assert all(one is not None and one.uuid != was.uuid for one, was in zip(first, originals, strict=True))
    silent = FakeModel(lambda lines, times: pytest.fail("asked again"))
    for threads in (1, 3):
        with KeptRecords(tmp_path / "kept.jsonl") as kept:
            again = [outcome.record for outcome in vary(originals, silent, kept, VaryOptions(threads=threads))]
        assert again == first
    prompts = [prompt for prompt, _ in model.prompts]
    taken = first[0].instruction if first[0] is not None else ""
    assert taken not in prompts[0]
    assert any(one.instruction in prompts[-1] for one in first[:ROUND] if one is not None)  # the pool has grown
    assert model.prompts[0][1] == Params(0.9, 0.95, 2048, 0)


def test_a_model_that_fails_is_not_remembered(tmp_path: Path) -> None:
    class Down(FakeModel):
        def answer(
            self, audios: object, prompt: str, *, system: str | None = None, params: Params = Params()
        ) -> Answer:
            return Answer(None, "timeout", "no answer in 3 s")

    with KeptRecords(tmp_path / "kept.jsonl") as kept:
        (outcome,) = vary([record(0)], Down(lambda *_: ""), kept)
        assert outcome.reasons == ("no reply",) * 3
        (outcome,) = vary([record(0)], FakeModel(lambda lines, _: as_reply(reworded(lines))), kept)
    assert outcome.record is not None


def test_listing_the_same_choices_as_before_is_no_leak() -> None:
    listing = replace(record(0), instruction="Is it angry, glad or sad?")
    given = {"input": listing.input, "output": listing.output}
    assert guarded(listing, given | {"instruction": "Choose: glad, sad or angry?"}).record is not None
    assert guarded(listing, given | {"instruction": "Choose: sad?"}).reason == "leak"
    assert guarded(record(0), given | {"instruction": "Is it saddening?"}).record is not None
    letters = replace(record(0), output="Speaker: A", other={"choices": ["A", "B"]})
    given = {"input": letters.input, "output": "Here is a try: Speaker: A"}
    assert guarded(letters, given | {"instruction": "find a speaker"}).record is not None
    assert guarded(letters, given | {"instruction": "Is it A?"}).reason == "leak"


def test_a_translation_keeps_its_languages() -> None:
    kind = {
        "major": ["Spoken Language Understanding"],
        "minor": ["Speech to Text Translation"],
        "U/G": ["understanding"],
    }
    original = record(
        0,
        instruction="Translate the German speech into English.",
        output="Text: hello",
        task_type=kind | {"unseen": False},
    )
    given = {"input": original.input, "output": original.output}
    kept = guarded(original, given | {"instruction": "Could you put this German speech into English?"})
    assert kept.record is not None
    assert guarded(original, given | {"instruction": "Translate the German speech into French."}).reason == "language"
    assert guarded(original, given | {"instruction": "Translate the speech into English."}).reason == "language"
    assert re.search("English", line_of(kept.record))
