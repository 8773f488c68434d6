"""The report in the terminal."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from earwitness.audio.recording import Segment
from earwitness.examine.finding import Finding, Track
from earwitness.examine.report_text import (
    Timeline,
    column_values,
    print_report,
    print_summary,
    render_text,
    time_marks,
)


def printed(report, *, width=100, encoding="utf-8", **options):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_report(report, Console(file=out, width=width, **options))
    out.seek(0)
    return out.read()


def squeezed(text):
    return " ".join(text.split())


def test_everything_that_matters_is_there_in_order(make_report):
    text = squeezed(printed(make_report()))
    expected = [
        "call.m4a",
        "0:10.0",
        "abababababababab…",
        "refs/claimed one.wav",
        "1. Is the voice genuine or synthetic?",
        "The recording supports a genuine voice.",
        "moderately strong support (verbal scale of the ENFSI guideline, 2015)",
        "about 130 times more likely if the voice is genuine",
        "95 % interval: 33 to 400 times",
        "calibration support at most",
        "LLR +4.90",
        "9.4 s of 10.0 s (sliding windows of 2 s)",
        "0:04.0–0:06.5",
        "17 of 20 windows",
        "Newer synthesis may not be recognised.",
        "deepfake 1.0, licence Apache-2.0",
        "2. Is it the same voice as the reference?",
        "No answer: only 0.4 s of speech.",
        "Level −23.4 dBFS quiet",
        "It is not the probability that an explanation is true",
    ]
    at = [text.index(part) for part in expected]
    assert at == sorted(at)


def test_inconclusive_is_a_full_answer(make_report):
    text = squeezed(printed(make_report("inconclusive")))
    assert "Inconclusive: the recording fits both. Strength no support either way" in text
    assert "error" not in text.lower()
    assert "fail" not in text.lower()


def test_no_colour_when_piped_and_colour_on_a_terminal(make_report):
    assert "\x1b" not in printed(make_report())
    assert "\x1b[1;32mThe recording supports" in printed(make_report(), force_terminal=True, color_system="standard")


def test_names_cannot_drive_the_terminal_nor_the_markup(make_report):
    text = printed(make_report(path="x/\x1b]0;pwned\x07[red]\u202e\ngpj.wav"), width=200)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b]0;pwned\\x07[red]\\u202e\\ngpj.wav" in text


def test_plain_ascii_bar_where_blocks_cannot_be_shown(make_report):
    finding = make_report().findings[0]
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    Console(file=out, width=60).print(Timeline(finding.tracks[0], finding.stretches, 10.0))
    out.seek(0)
    bar, arrows, *_ = out.read().splitlines()
    assert set(bar) <= set("_.:-=+*# ")
    assert arrows.index("^") == 24  # 4 s of 10 s in 60 columns
    assert arrows.count("^") == 15


def test_the_bar_keeps_the_outlier_and_leaves_gaps():
    track = Track("s", "LLR", (0.0, 1.0, 2.0, 6.0), (1.0, 2.0, 3.0, 10.0), (1.0, -4.0, None, 0.5), "up", "down")
    assert column_values(track, 10.0, 10) == [1.0, -4.0, None, None, None, None, 0.5, 0.5, 0.5, 0.5]
    assert column_values(track, 10.0, 5) == [-4.0, None, None, 0.5, 0.5]


def test_the_bar_of_a_probability_spans_nought_to_one():
    track = Track("p", "probability", (0.0, 5.0), (5.0, 10.0), (0.0, 0.2), "alike", "unlike", neutral=0.17)
    out = io.StringIO()
    Console(file=out, width=10).print(Timeline(track, (), 10.0))
    assert out.getvalue().splitlines()[0] == "▁▁▁▁▁▂▂▂▂▂"


def test_without_a_neutral_value_the_bar_spans_the_values(capsys):
    track = Track("similarity", "", (0.0, 5.0), (5.0, 10.0), (0.2, 0.8), "alike", "unlike", neutral=None)
    Console(width=20, force_terminal=False).print(Timeline(track, (), 10.0))
    assert capsys.readouterr().out.splitlines()[0] == "▁" * 10 + "█" * 10


@pytest.mark.parametrize("values", [(), (None,), (math.nan,)])
def test_a_track_without_values_says_so(values, capsys):
    times = tuple(range(len(values)))
    Console().print(Timeline(Track("s", "", times, times, values, "", ""), (), 3.0))
    assert "no window could be judged" in capsys.readouterr().out


def test_time_marks_stand_at_their_times():
    marks = time_marks(60.0, 60)
    assert [marks.index(mark) for mark in ("|0:00", "|0:10", "|0:50")] == [0, 10, 50]
    assert time_marks(36_000.0, 80).startswith("|0:00")


def test_many_stretches_are_counted(make_report):
    finding = replace(make_report().findings[0], stretches=tuple(Segment(i / 10, i / 10 + 0.05) for i in range(40)))
    assert "and 28 more" in squeezed(printed(make_report(findings=(finding,))))


def test_findings_without_anything_but_an_answer(make_report):
    text = printed(make_report(findings=(Finding("How old?", None, "answer", "About 30."),), facts=(), references=()))
    assert "1. How old?" in text
    assert "About 30." in text
    assert "Strength" not in text


def test_width_is_kept(make_report):
    out = io.StringIO()
    Console(file=out, width=200).print(render_text(make_report(), width=60))
    assert max(len(line.rstrip()) for line in out.getvalue().splitlines()) <= 60


def test_summary_has_a_row_a_report_and_a_column_a_question(make_report):
    out = io.StringIO()
    reports = [make_report(), make_report("synthetic", path="b.wav"), make_report("genuine", path="c.wav", findings=())]
    print_summary(reports, Console(file=out, width=160))
    text = squeezed(out.getvalue())
    for part in (
        "call.m4a",
        "b.wav",
        "c.wav",
        "supports a genuine voice",
        "supports a synthetic voice",
        "LLR −5.20",
        "No answer",
    ):
        assert part in text
