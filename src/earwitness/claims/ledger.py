"""The ledger of claims, made from the results that were written: tables in Markdown, for the docs and the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.core.errors import DataError

FIELDS = ("name", "source", "statement", "notes", "seeds", "judgement", "minutes", "record")


def read_results(folder: str | Path) -> list[dict[str, Any]]:
    """The results in a folder, by name. Raises `DataError` for a file that is none."""
    return [read_result(path) for path in sorted(Path(folder).glob("*.json"))]


def read_result(path: str | Path) -> dict[str, Any]:
    """What `earwitness claim run` wrote, as plain data. Raises `DataError` for anything else."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        return {key: data[key] for key in FIELDS}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError("is no result of a claim", where=path, fix="Make it with `earwitness claim run`.") from None


def ledger(results: Iterable[dict[str, Any]]) -> str:
    """Every claim in one table: what is stated, what the difference was here, and the verdict."""
    lines = ["| claim | stated direction | difference here, points | of | could have shown | seeds | verdict |"]
    lines.append("|---|---|---|---|---|---|---|")
    for result in results:
        for found in result["judgement"]["differences"]:
            agree = sum(one > 0 for one in found["seeds"])
            words = f"{_cell(found['expected']['words'])}"
            unit = _Unit.of(result["judgement"]["measure"])
            value = unit.interval(found["difference"], found["low"], found["high"], "+")
            value += "" if unit.per_cent else f" {unit.name}"
            seeds = f"{agree} of {len(found['seeds'])} this way"
            lines.append(
                f"| {_cell(result['name'])} | {words} | {value} | {_cell(result['judgement']['measure'])} "
                f"| {unit.number(found['smallest'])} | {seeds} "
                f"| **{found['verdict']}** |"
            )
    return "\n".join(lines) + "\n"


def details(result: dict[str, Any]) -> str:
    """One claim: its statement, its arms, and what must be known to read them."""
    return "\n".join(_details(result)) + "\n"


def _details(result: dict[str, Any]) -> Iterator[str]:
    judged = result["judgement"]
    yield f"### {_cell(result['name'])}"
    yield ""
    yield f"{_cell(result['statement'])} ({_cell(result['source'])})"
    yield ""
    names = list(dict.fromkeys(figure["name"] for arm in judged["arms"] for figure in arm["figures"]))
    unit = _Unit.of(judged["measure"])
    measured = f"{_cell(judged['measure'])}{' %' if unit.per_cent else ''}"
    head = f"| arm | what it does | {measured} [95 % interval] | seeds, least to most |"
    yield head + "".join(f" {_cell(name)} |" for name in names)
    yield "|---|---|---|---|" + "---|" * len(names)
    for arm in judged["arms"]:
        figures = {figure["name"]: figure["value"] for figure in arm["figures"]}
        shown = "".join(f" {figures[name]:.4g} |" if name in figures else " - |" for name in names)
        error = unit.interval(arm["error"], arm["low"], arm["high"])
        spread = f"{unit.number(min(arm['seeds']))} to {unit.number(max(arm['seeds']))}"
        yield f"| `{_cell(arm['name'])}` | {_cell(arm['words'])} | {error} | {spread} |{shown}"
    yield ""
    yield (
        f"{_cell(judged['tested'])}; {len(result['seeds'])} seeds; {result['minutes']:g} minutes; "
        f"`earwitness claim run {_cell(result['name'])} --seeds {len(result['seeds'])}`."
    )
    if result["notes"]:
        yield ""
        yield from (f"- {_cell(note)}" for note in result["notes"])
    yield ""


@dataclass(frozen=True)
class _Unit:
    """What a measure is in: what follows " in " in its name ("MAE in years"), else per cent, with one decimal less."""

    name: str

    @classmethod
    def of(cls, measure: str) -> _Unit:
        return cls(_cell(measure.partition(" in ")[2]) or "%")

    @property
    def per_cent(self) -> bool:
        return self.name == "%"

    def number(self, value: float, sign: str = "") -> str:
        return f"{value:{sign}.{1 if self.per_cent else 2}f}"

    def interval(self, value: float, low: float, high: float, sign: str = "") -> str:
        return f"{self.number(value, sign)} [{self.number(low, sign)}, {self.number(high, sign)}]"


def _cell(text: str) -> str:
    """Text that cannot end a cell or a line."""
    return text.replace("|", "\\|").replace("\n", " ")
