"""What a run of the benchmark was asked with: kept in its folder, so that no two settings are mixed in one report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from earwitness.core.config import Config, parse_config
from earwitness.core.errors import DataError, UsageError
from earwitness.core.hashing import sha256_text
from earwitness.core.writing import write_atomically
from earwitness.speech_llm.clients.fencing import rule
from earwitness.speech_llm.items import Item, read_items, write_items

Condition = Literal["real", "silence", "shuffle", "text-only", "transcript"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
CONTROLS: tuple[Condition, ...] = CONDITIONS[1:]
DEAF: tuple[Condition, ...] = ("silence", "shuffle", "text-only")  # controls in which the clip itself is not heard

TEMPLATE = "{question}"  # of the prompt: the question alone, with no vocabulary of labels
TRANSCRIPT_TEMPLATE = f"""Transcript of a recording. {rule("transcript")}
{{transcript}}

Question about the recording: {{question}}

Answer from the transcript. Write the answer alone."""


class RunSettings(Config):
    """All that can change an answer besides the item and its audio. `client` is the id of the model's client."""

    version: Literal[1] = 1
    items_sha256: str
    client: str
    template_sha256: str = sha256_text(TEMPLATE + TRANSCRIPT_TEMPLATE)
    system: str | None = None
    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(256, ge=1)
    seed: int = 1
    length: str = "full"
    shuffle_seed: int = 1


def open_run(folder: str | Path, settings: RunSettings, items: list[Item]) -> None:
    """Make a run's folder, or check that what lies in it was asked with the same settings. Raises `UsageError`."""
    folder = Path(folder)
    path = folder / "run.json"
    if path.exists():
        there = read_settings(folder)
        different = [name for name in RunSettings.model_fields if getattr(there, name) != getattr(settings, name)]
        if "items_sha256" in different:
            fix = "Choose another folder: one report is about one set of questions."
            raise UsageError("holds answers to other questions", where=folder, fix=fix)
        if different:
            name = different[0]
            what = f"holds answers for {name} '{getattr(there, name)}', now it is '{getattr(settings, name)}'"
            raise UsageError(what, where=folder, fix="Choose another folder: one report is about one setting.")
        return
    write_items(folder / "items.jsonl", items)
    write_atomically(path, json.dumps(settings.model_dump(), indent=2, ensure_ascii=False) + "\n")


def read_settings(folder: str | Path) -> RunSettings:
    """The settings of a run's folder. Raises `DataError` where it is none, `RecipeError` for an altered file."""
    path = Path(folder) / "run.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("is no folder of a run", where=folder, fix="Make one with `earwitness bench run`.") from None
    except (OSError, ValueError, RecursionError):
        raise DataError("cannot be read as JSON", where=path, fix="Run again into another folder.") from None
    return parse_config(RunSettings, data, where=path)


def items_of(folder: str | Path) -> list[Item]:
    """The items of a run. Raises `DataError` where they are not those that were asked."""
    settings = read_settings(folder)
    path = Path(folder) / "items.jsonl"
    items = read_items(path)
    if items_sha256(items) != settings.items_sha256:
        raise DataError("was changed since the run", where=path, fix="Run the changed items into another folder.")
    return items


def items_sha256(items: list[Item]) -> str:
    """The hash of a set of questions: of their content, in their order."""
    return sha256_text(repr(items))
