"""A finding's table in the three forms: the same cells, numbers as bars, and every text escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from test_report_html import EVIL, Page

from earwitness.examine.delivery import COLUMNS, OF_REFERENCES
from earwitness.examine.finding import Report, Table
from earwitness.examine.report_html import render_html
from earwitness.examine.report_json import report_from_json, report_to_json
from earwitness.examine.report_text import TableText, print_report

SOUNDS = Table(
    title="Sounds that both recordings hold",
    columns=("sound", "times", "for the same voice"),
    rows=(("AA", 12, 0.5), ("S", 3, -1.0), (EVIL, 1, None)),
    drawn="for the same voice",
    note=f"Counted in seconds. {EVIL}",
)


@pytest.fixture
def report(make_report: Any) -> Report:
    made: Report = make_report()
    return replace(made, findings=(replace(made.findings[0], tables=(SOUNDS,)), *made.findings[1:]))


def test_the_page_shows_every_cell_and_draws_the_numbers(report: Report) -> None:
    text = render_html([report], [None])
    page = Page(text)
    assert "Sounds that both recordings hold" in page.text
    assert "AA120.5" in page.text.replace(" ", "")
    assert "−1" in page.text
    bars = re.findall(r'<rect x="([\d.]+)" y="2" width="([\d.]+)" height="10" class="bar (\w+)"', text)
    assert bars == [("80", "39", "first"), ("2", "78", "second")]  # half as long to the right, and to the left
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert "https://evil" not in text


def test_a_terminal_shows_them_too(report: Report) -> None:
    console = Console(file=StringIO(), width=100)
    print_report(report, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"AA\s+12\s+0\.5", shown)
    assert re.search(r"S\s+3\s+−1", shown)
    assert "\x1b[31m" not in shown


def test_json_gives_the_same_table_back(report: Report) -> None:
    again = report_from_json(report_to_json(report))
    assert again.findings[0].tables == (SOUNDS,)


@pytest.mark.parametrize("width", [66, 80, 120])
def test_lines_break_between_words_where_there_is_room(width: int) -> None:
    """Seven columns, as of how it is spoken beside references."""
    columns = (*COLUMNS, *OF_REFERENCES)
    rows = (("articulation rate, without pauses", 4.5, "syllables/s", 2.49, 4.7, 3.8, 3.9),)
    lines = drawn(Table("measured", columns, rows), width)
    words = [word for line in lines for word in line.split()]
    for text in (*columns, *map(str, rows[0])):
        assert set(text.split()) <= set(words)
    assert max(len(line.rstrip()) for line in lines) <= width


def test_a_narrow_terminal_loses_nothing() -> None:
    """Words are broken there."""
    lines = drawn(Table("measured", ("told", "here"), (("articulation", "syllables"),)), 12)
    assert sorted("".join("".join(lines).split())) == sorted("measuredtoldherearticulationsyllables")


def drawn(table: Table, width: int) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(TableText(table))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.splitlines()
