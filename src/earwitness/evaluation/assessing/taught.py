"""Taught language models on the questions that their run held out: what is right by type, direct beside contextual.

    results/answers.jsonl     one answer a question and cell: kept as it comes, read where it was asked before
    results/questions.json    the figures over them

Only questions with a label are judged: the answer must name it. A model that was taught with metadata is asked with and
without it, and reading the prompt stands beside what it answers with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from earwitness.audio.reading import load
from earwitness.core.errors import AudioError
from earwitness.evaluation.assessing.outcome import Outcome, figure, leaks_of, results_folder, write_result
from earwitness.speech_llm.items import DIRECT
from earwitness.speech_llm.kept import KeptRecords
from earwitness.speech_llm.label_extraction import extract_label, with_aliases
from earwitness.speech_llm.training.features import RATE
from earwitness.speech_llm.training.folder import load_taught
from earwitness.speech_llm.training.model import SpeechLanguageModel
from earwitness.speech_llm.training.prompt import make_prompt, worded
from earwitness.speech_llm.training.prompt_reader import LeakCheck, leak_check, read_label
from earwitness.speech_llm.training.recipe import SpeechLlmConfig
from earwitness.speech_llm.training.records import Record, read_records
from earwitness.speech_llm.training.report import Marked, Share, TaughtReport, taught_report
from earwitness.speech_llm.training.teaching import RECORDS, on_side
from earwitness.training.card import ResultRow
from earwitness.training.model_folder import ModelInfo

Labels = Mapping[tuple[str, str], tuple[str, ...]]
"""Of each task and type of question, the labels that its answers may name."""
LONGEST = 64  # tokens of an answer that is read for its label


@dataclass(frozen=True)
class Asking:
    """A question of a record in a cell: with the record's line of metadata before it, or without."""

    record: Record
    with_metadata: bool

    @property
    def key(self) -> str:
        """Of the record and the cell."""
        return f"{self.record.id} {'with' if self.with_metadata else 'without'}"

    @property
    def instruction(self) -> str:
        """What is asked; neither the answer nor the label is looked at."""
        return worded(self.record.instruction, self.record.metadata_text if self.with_metadata else None)


def assess_taught(model: str | Path, run: str | Path, options: object = None) -> Outcome:
    """Ask what the run held out, and judge. Writes into `run/results`. Raises `ModelError` and `DataError`."""
    run = Path(run)
    taught, config, info = load_taught(model)
    every = read_records(run / RECORDS)
    records = [record for record in on_side(every, "test") or on_side(every, "dev") if record.label is not None]
    leaks = leaks_of(info)
    if not records:
        return Outcome(inconclusive=("It was not tested: no question with a label was held out.", *leaks))
    labels = _labels(every)
    folder, root = results_folder(run, info), _audio_root(info)
    rows: list[ResultRow] = []
    text: list[str] = []
    confounded: list[str] = []
    for with_metadata in (False, True) if config.metadata else (False,):
        cell = [Asking(one, with_metadata) for one in records if not with_metadata or one.metadata_text]
        answers = _answered(taught, config, cell, folder, root)
        report = _judged(cell, answers, labels, with_metadata)
        name = "held-out questions, metadata in the prompt" if with_metadata else "held-out questions"
        rows += [row for share in report.groups if (row := _row(name, share, folder)) is not None]
        text += [name, *report.lines()]
        confounded += [check.told for check in report.leaks if check.confounded]
    write_result(folder / "questions.json", "earwitness model card .", rows, report=text)
    return Outcome(rows=tuple(rows), inconclusive=tuple(leaks), known_failures=tuple(confounded))


def _labels(records: Sequence[Record]) -> Labels:
    """What may be answered to each kind of question: every label that a record of it has."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for one in records:
        if one.label is not None:
            found.setdefault((one.task, one.qtype), {})[one.label] = None
    return {kind: tuple(names) for kind, names in found.items()}


def _answered(
    model: SpeechLanguageModel, config: SpeechLlmConfig, cell: Sequence[Asking], folder: Path, root: Path
) -> dict[str, str]:
    """The model's answer to each question by its key; a recording that cannot be read has none."""
    with KeptRecords(folder / "answers.jsonl") as kept:
        missing = [one for one in cell if one.key not in kept]
        console = Console(stderr=True)
        for one in track(missing, "asking", console=console, disable=not console.is_terminal):
            kept.add({"key": one.key, **_answer(model, config, one, root)})
        return {one.key: str(kept.records[one.key].get("answer") or "") for one in cell}


def _answer(model: SpeechLanguageModel, config: SpeechLlmConfig, one: Asking, root: Path) -> dict[str, Any]:
    try:
        heard = load(root / one.record.audio, RATE, start_s=one.record.start, end_s=one.record.end)
        if heard.duration_s > config.max_seconds:
            raise AudioError(f"is longer than {config.max_seconds:g} s")
        prompt = make_prompt(config.prompt, model.decoder, one.instruction)
        samples = torch.from_numpy(heard.samples)[None]
        return {"answer": model.reply(samples, torch.tensor([samples.shape[1]]), [prompt], LONGEST)[0].text}
    except AudioError as error:
        return {"answer": None, "error": str(error)}


def _judged(cell: Sequence[Asking], answers: dict[str, str], labels: Labels, checked: bool) -> TaughtReport:
    right = []
    for one in cell:
        names = labels[one.record.task, one.record.qtype]
        right.append(extract_label(answers[one.key], with_aliases(names)).label == one.record.label)
    marked = [Marked(_clip(one.record), one.record.qtype, found) for one, found in zip(cell, right, strict=True)]
    return taught_report(marked, list(_leaks(cell, right)) if checked else [])


def _leaks(cell: Sequence[Asking], right: Sequence[bool]) -> Iterator[LeakCheck]:
    """Of the direct questions about emotion, where there are two clips of them."""
    asked = [(one, found) for one, found in zip(cell, right, strict=True) if one.record.qtype == DIRECT[0]]
    if len({_clip(one.record) for one, _ in asked}) > 1:
        read = [read_label(one.instruction) == one.record.label for one, _ in asked]
        clips = [_clip(one.record) for one, _ in asked]
        yield leak_check("direct questions about emotion", [found for _, found in asked], read, clips)


def _clip(record: Record) -> str:
    return f"{record.audio} {record.start} {record.end}"


def _row(name: str, share: Share, folder: Path) -> ResultRow | None:
    if share.value is None:
        return None
    found = share.value if share.interval is None else share.interval
    return figure(name, f"{share.name}, right %", found, share.asked, folder / "questions.json")


def _audio_root(info: ModelInfo) -> Path:
    """Where the records' audio lies, by the recipe of the run."""
    settings = info.training.get("settings")
    data = settings.get("data") if isinstance(settings, dict) else None
    return Path(str(data.get("audio_root", "."))) if isinstance(data, dict) else Path()
