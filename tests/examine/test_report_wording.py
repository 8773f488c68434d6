"""The sentences about strength: right side, right size, and never a probability of a hypothesis."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.audio.recording import Segment
from earwitness.examine import wording
from earwitness.metrics.calibration import verbal_scale


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.0"), (12.34, "0:12.3"), (59.96, "1:00.0"), (3725, "1:02:05.0"), (36_000, "10:00:00.0")],
)
def test_clock(seconds, text):
    assert wording.clock(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1.0"),
        (9.94, "9.9"),
        (9.96, "10"),
        (333, "330"),
        (2_345, "2,300"),
        (2_345_678, "2.3 million"),
        (1e12, "more than a billion"),
    ],
)
def test_ratio_is_rounded_to_two_digits_on_either_side(value, text):
    assert wording.ratio(math.log(value)) == wording.ratio(-math.log(value)) == text


@given(st.floats(-2000, 2000))
def test_ratio_never_overflows(llr):
    assert wording.ratio(llr)


@pytest.mark.parametrize(
    ("kind", "likely", "other"), [("genuine", "genuine", "synthetic"), ("synthetic", "synthetic", "genuine")]
)
def test_the_favoured_side_comes_first(make_report, kind, likely, other):
    finding = make_report(kind).findings[0]
    count = wording.ratio(finding.llr)
    assert wording.likelihood_sentence(finding) == (
        f"What was measured is about {count} times more likely if the voice is {likely} than if the voice is {other}."
    )


def test_no_difference_is_called_as_likely(make_report):
    finding = replace(make_report().findings[0], llr=0.01)
    assert "about as likely if the voice is genuine as if the voice is synthetic" in wording.likelihood_sentence(
        finding
    )


def test_interval_names_one_side_or_both(make_report):
    finding = replace(make_report().findings[0], llr_low=math.log(12), llr_high=math.log(900))
    assert wording.interval_sentence(finding) == "95 % interval: 12 to 900 times more likely if the voice is genuine."
    finding = replace(finding, llr_low=-math.log(900), llr_high=-math.log(12))
    assert wording.interval_sentence(finding) == "95 % interval: 12 to 900 times more likely if the voice is synthetic."
    finding = replace(finding, llr_low=-math.log(3), llr_high=math.log(10))
    assert wording.interval_sentence(finding) == (
        "95 % interval: from 3.0 times more likely if the voice is synthetic "
        "to 10 times more likely if the voice is genuine."
    )


def test_the_bound_is_told_and_reaching_it_too(make_report):
    assert "stands at that bound" in wording.bound_sentence(make_report("synthetic").findings[0])
    inside = wording.bound_sentence(make_report("genuine").findings[0])
    assert "270 times for “the voice is genuine”" in inside
    assert "180 times for “the voice is synthetic”" in inside
    assert "stands at" not in inside


@pytest.mark.parametrize("llr", [None, math.nan, math.inf])
def test_without_a_finite_ratio_nothing_is_said(make_report, llr):
    finding = replace(make_report().findings[0], llr=llr)
    assert wording.likelihood_sentence(finding) == wording.bound_sentence(finding) == wording.llr_line(finding) == ""


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.5, "no support either way"),
        (5, "weak support"),
        (50, "moderate support"),
        (500, "moderately strong support"),
        (5_000, "strong support"),
        (500_000, "very strong support"),
        (5e6, "extremely strong support"),
    ],
)
def test_enfsi_steps_on_both_sides(ratio, words):
    assert verbal_scale(math.log(ratio)) == verbal_scale(-math.log(ratio)) == words


def test_shown_escapes_what_could_mislead():
    assert wording.shown("a\x1b[31m\n\u202egpj\x9b.wav") == "a\\x1b[31m\\n\\u202egpj\\x9b.wav"
    assert wording.shown("95\u00a0% Ünïcode 電話") == "95 % Ünïcode 電話"


def test_small_words(make_report):
    report = make_report(path="/a/b c.wav", channel=1, channels=2)
    assert wording.title(report) == "b c.wav · channel 2 of 2"
    assert wording.reproduce_command(report) == "earwitness examine '/a/b c.wav' --reference 'refs/claimed one.wav'"
    assert wording.reproduce_command(replace(report, command="earwitness examine x")) == "earwitness examine x"
    assert wording.stretch(Segment(4, 6.5)) == "0:04.0–0:06.5"
    assert wording.date("2026-11-20T10:12:13+00:00") == "2026-11-20 10:12 UTC"
    assert wording.date("once") == "once"
