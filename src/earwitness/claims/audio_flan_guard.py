"""The guard of varied instruction records (after arXiv 2502.16584, section 2.5) against variations spoilt on purpose.

The paper's validation compares audio ids and wants JSON; ours also compares what follows the labels and the answer, and
looks for the answer in the instruction. Which kinds of damage are planted decides the figure, so kinds that the guard
was not written for are planted too, and told by themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.core.errors import DataError, MetricError
from earwitness.core.hashing import sha256_data
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import exclude_licences
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.scores import Floats
from earwitness.speech_llm.flan.converting import Clips, ConvertOptions, converted
from earwitness.speech_llm.flan.instructions import written_instructions
from earwitness.speech_llm.flan.records import Record
from earwitness.speech_llm.flan.spans import audio_ids, core
from earwitness.speech_llm.flan.variation import judged

RECORDS = 60  # a kind and seed
TASKS = ("Emotion Recognition", "Gender Recognition", "Speaker Verification", "Automatic Speech Recognition")
Texts = tuple[str, str, str]
"""Instruction, input and output of a variation."""
ANOTHER = written_instructions()["Deepfake Detection"][1]
SYNONYMS = {"anger": "fury", "sadness": "grief", "fear": "dread", "happiness": "joy", "male": "a gentleman"}


def _id(texts: Texts, record: Record, other: Record) -> Texts:
    return texts[0], texts[1].replace(audio_ids(record.input)[0], audio_ids(other.input)[0] + "x"), texts[2]


def _leak(texts: Texts, record: Record, other: Record) -> Texts:
    return f"{texts[0]} (It is: {core(record.output)}.)", *texts[1:]


def _synonym(texts: Texts, record: Record, other: Record) -> Texts:
    told = core(record.output)
    return f"{texts[0]} (One could say: {SYNONYMS.get(told, f'{told[::-1]}, read backwards')}.)", *texts[1:]


SOUND: dict[str, Callable[[Texts, Record, Record], Texts]] = {
    "reworded": lambda texts, record, other: texts,
    "label renamed": lambda texts, record, other: (texts[0], re.sub(r"(?m)^audio", "recording", texts[1]), texts[2]),
    "lead-in": lambda texts, record, other: (texts[0], texts[1], f"This is what I hear. {texts[2]}"),
    "polite": lambda texts, record, other: (f"If you please: {texts[0]}", *texts[1:]),
}
FORESEEN: dict[str, Callable[[Texts, Record, Record], Texts]] = {
    "another id": _id,
    "a span lost": lambda texts, record, other: (texts[0], texts[1].replace("<|EOA|>", "", 1), texts[2]),
    "words after the span": lambda texts, record, other: (texts[0], f"{texts[1]} (spoken slowly)", texts[2]),
    "a line added": lambda texts, record, other: (texts[0], f"{texts[1]}\ntext: more", texts[2]),
    "another answer": lambda texts, record, other: (texts[0], texts[1], f"{texts[2].split(':')[0]}: something else"),
    "an answer after the answer": lambda texts, record, other: (*texts[:2], f"{texts[2]}, or so I think"),
    "the answer told": _leak,
    "an empty instruction": lambda texts, record, other: ("...", *texts[1:]),
}
UNFORESEEN: dict[str, Callable[[Texts, Record, Record], Texts]] = {
    "another task's instruction": lambda texts, record, other: (
        written_instructions()["Deepfake Detection"][1],
        *texts[1:],
    ),
    "the opposite asked": lambda texts, record, other: (f"Name what is NOT so: {texts[0]}", *texts[1:]),
    "the answer told in other words": _synonym,
    "a condition invented": lambda texts, record, other: (
        f"{texts[0]} Only answer about the second minute.",
        *texts[1:],
    ),
}
KINDS = {**SOUND, **FORESEEN, **UNFORESEEN}


@dataclass(frozen=True)
class GuardMaterial:
    """Records of some tasks, made from a manifest's labels; no audio is heard."""

    records: tuple[Record, ...]
    sha256: str
    source: str
    licences: tuple[str, ...]

    @classmethod
    def read(cls, manifest: str | Path, folder: str | Path) -> GuardMaterial:
        """Nothing is kept in `folder`. Raises `DataError` where labels give too few records of a task."""
        given = exclude_licences(Manifest.read(manifest))
        found = list(converted(Clips.of(given), ConvertOptions(TASKS)))
        for task in TASKS:
            if sum(record.minor == task for record in found) < RECORDS:
                raise DataError(f"has too few labels for {RECORDS} records of '{task}'", where=manifest)
        licences = tuple(sorted(set(given.table["licence"].drop_nulls())))
        return cls(tuple(found), given.sha256, str(manifest), licences)

    @property
    def key(self) -> str:
        """Of the table and the kinds."""
        return sha256_data([self.sha256, self.settings])

    @property
    def inputs(self) -> dict[str, str]:
        """The table."""
        return {"rows": self.sha256}

    @property
    def settings(self) -> dict[str, Any]:
        """What is planted."""
        return {"tasks": list(TASKS), "records": RECORDS, "kinds": list(KINDS)}

    def drawn(self, seed: int) -> list[tuple[str, Record, Texts]]:
        """Of each kind, `RECORDS` records (each task as often as the others) with their variation."""
        rng = np.random.default_rng([seed, 63])
        tasks = [[record for record in self.records if record.minor == task] for task in TASKS]
        found = []
        for kind, spoil in KINDS.items():
            for number in range(RECORDS):
                own = tasks[number % len(tasks)]
                record, other = (own[place] for place in rng.choice(len(own), 2, replace=False))
                wording = written_instructions()[record.minor][1 + int(rng.integers(4))]
                found.append((kind, record, spoil((wording, record.input, record.output), record, other)))
        return found

    def tested(self, seeds: Sequence[int]) -> TestedGuard:
        """The same kinds with each seed."""
        return TestedGuard(len(seeds))


@dataclass(frozen=True)
class TestedGuard:
    """`Tested`: a score is 1 where a variation is decided on rightly (sound: taken, spoilt: refused), else 0."""

    seeds: int
    measure: str = "wrong decisions"
    definition: str = "per cent: half the share of sound variations refused, half that of spoilt ones taken; over seeds"

    @property
    def words(self) -> str:
        """What was tested."""
        return (
            f"{RECORDS} variations of each of {len(KINDS)} kinds a seed: {len(SOUND)} sound, {len(FORESEEN)} spoilt as "
            f"the guard foresees, {len(UNFORESEEN)} spoilt otherwise"
        )

    @cached_property
    def units(self) -> Units:
        """Kinds: sound and spoilt ones are drawn by themselves."""
        codes = np.tile(np.repeat(np.arange(len(KINDS)), RECORDS), self.seeds)
        return Units("kind", codes, (len(SOUND), len(KINDS) - len(SOUND)))

    def count(self, place: int) -> int:
        """Variations of a seed."""
        return len(KINDS) * RECORDS

    def error(self, place: int, scores: Floats) -> Callable[[Floats], float]:
        """In per cent."""
        wrong = 1 - scores.reshape(len(KINDS), RECORDS).mean(axis=1)

        def rate(counts: Floats) -> float:
            parts = (slice(0, len(SOUND)), slice(len(SOUND), len(KINDS)))
            if any(counts[part].sum() <= 0 for part in parts):
                raise MetricError("a resample without sound or without spoilt variations")
            return float(np.mean([100 * (counts[part] * wrong[part]).sum() / counts[part].sum() for part in parts]))

        return rate


@dataclass(frozen=True)
class GuardClaim:
    """Arms differ in which variations they take."""

    plan: Plan

    read = GuardMaterial.read

    def run(self, arm: str, seed: int, material: GuardMaterial, folder: Path) -> ArmRun:
        """Decide on each variation."""
        drawn = material.drawn(seed)
        taken = np.array([ARMS[arm][1](record, texts) for _, record, texts in drawn], dtype=np.float64)
        sound = np.array([kind in SOUND for kind, *_ in drawn])
        shares = {
            "sound taken, %": 100 * taken[sound].mean(),
            **{
                f"{words} taken, %": 100 * taken[[kind in kinds for kind, *_ in drawn]].mean()
                for words, kinds in (("foreseen damage", FORESEEN), ("other damage", UNFORESEEN))
            },
        }
        figures = tuple(Figure(name, float(value)) for name, value in shares.items())
        return ArmRun(np.where(sound, taken, 1 - taken), figures)


def _by_ids(record: Record, texts: Texts) -> bool:
    """As the paper's validation: ids as before (all of this is JSON already)."""
    return [audio_ids(text) for text in texts[1:]] == [audio_ids(record.input), audio_ids(record.output)]


def _by_guard(record: Record, texts: Texts) -> bool:
    reply = {"number": 1, **dict(zip(("instruction", "input", "output"), texts, strict=True))}
    return judged([record], json.dumps({"records": [reply]}))[0].record is not None


ARMS: dict[str, tuple[str, Callable[[Record, Texts], bool]]] = {
    "none": ("everything is taken", lambda record, texts: True),
    "ids": ("audio ids and JSON, as the paper's validation", _by_ids),
    "guard": ("ids, payload, answer, lead-in and leak", _by_guard),
}

CLAIM = GuardClaim(
    Plan(
        name="audio-flan-guard",
        source="arXiv 2502.16584",
        statement="A check of audio ids and JSON keeps varied instruction records right; a guard that also compares "
        "payload and answer lets less damage through.",
        arms=tuple(Arm(name, words) for name, (words, _) in ARMS.items()),
        expected=(
            Expected("ids", "none", "comparing ids beats taking everything"),
            Expected("guard", "ids", "comparing payload and answer too beats ids alone"),
        ),
        notes=(
            "No language model wrote these variations: they are written by rule, and the damage is planted. How often "
            "a model does such damage is not known from this, only what gets through when it does.",
            "Foreseen damage is what the guard was written against; that it is caught is no discovery. The last column "
            "is: an instruction of another task, one that asks for the opposite, a synonym of the answer or an "
            "invented condition pass a guard that compares texts, and need a reader.",
            "Intervals are over the kinds, which are ours to choose: they say how much the figure hangs on the choice.",
        ),
    )
)
