"""The report as data."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earwitness.core.errors import DataError
from earwitness.examine.finding import SCHEMA_VERSION, Track
from earwitness.examine.report_json import (
    json_schema,
    report_from_json,
    report_to_json,
    reports_to_json,
    write_json_schema,
)

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schema"


def refuse(name):
    raise AssertionError(f"{name} is not JSON")


@pytest.mark.parametrize("kind", ["genuine", "synthetic", "inconclusive"])
def test_round_trip(make_report, kind):
    report = make_report(kind)
    assert report_from_json(report_to_json(report)) == report


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(text=st.text(max_size=40))
def test_any_text_survives(make_report, text):
    report = make_report(path=text, facts=())
    assert report_from_json(report_to_json(report)).path == text.encode("utf-8", "backslashreplace").decode()


def test_what_is_not_finite_is_null(make_report):
    track = Track("s", "", (0.0, 1.0), (1.0, 2.0), (math.nan, 1.0), "", "")
    finding = replace(
        make_report().findings[0],
        llr=math.inf,
        llr_low=-math.inf,
        llr_bound=(-math.inf, 3.0),
        score=math.nan,
        tracks=(track,),
    )
    data = json.loads(report_to_json(make_report(findings=(finding,))), parse_constant=refuse)["findings"][0]
    assert (data["llr"], data["llr_low"], data["llr_bound"], data["score"]) == (None, None, None, None)
    assert data["tracks"][0]["values"] == [None, 1.0]
    again = report_from_json(report_to_json(make_report(findings=(finding,))))
    assert again.findings[0].tracks[0].values == (None, 1.0)


def test_numpy_numbers_are_numbers(make_report):
    finding = replace(make_report().findings[0], llr=np.float32(1.5), score=np.float64(2.5))
    data = json.loads(report_to_json(make_report(findings=(finding,), native_rate=np.int64(8000))))
    assert (data["findings"][0]["llr"], data["findings"][0]["score"], data["native_rate"]) == (1.5, 2.5, 8000)


def test_harmful_characters_are_escaped(make_report):
    text = report_to_json(make_report(path="\x1b[31m\x9b\u202egpj\ud8ff.wav"))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert json.loads(text)["path"] == "\x1b[31m\x9b\u202egpj\\ud8ff.wav"


def test_the_published_schema_is_that_of_the_code(tmp_path):
    published = SCHEMAS / f"report-{SCHEMA_VERSION}.json"
    assert write_json_schema(tmp_path).read_text(encoding="utf-8") == published.read_text(encoding="utf-8"), (
        "the schema changed: see docs/schema/README.md"
    )


def test_the_schema_lists_every_field_that_is_written(make_report):
    schema = json_schema()
    data = json.loads(report_to_json(make_report()))
    assert set(data) == set(schema["properties"])
    assert set(data["findings"][0]) == set(schema["$defs"]["Finding"]["properties"])
    assert data["schema"] == SCHEMA_VERSION


def test_a_newer_minor_version_is_read_and_a_newer_major_refused(make_report):
    data = json.loads(report_to_json(make_report()))
    assert report_from_json(json.dumps({**data, "schema": "1.7", "mood": "calm"})).path == "evidence/call.m4a"
    with pytest.raises(DataError, match=r"schema '2\.0'"):
        report_from_json(json.dumps({**data, "schema": "2.0"}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": "1.0"}', "nonsense"])
def test_other_data_is_refused_in_one_line(text):
    with pytest.raises(DataError) as caught:
        report_from_json(text)
    assert "\n" not in str(caught.value)


def test_a_wrong_field_is_named(make_report):
    data = json.loads(report_to_json(make_report()))
    data["findings"][0]["verdict"] = "guilty"
    with pytest.raises(DataError, match=r"findings\.0\.verdict"):
        report_from_json(json.dumps(data))


def test_several_reports_are_an_array(make_report):
    data = json.loads(reports_to_json([make_report(), make_report("synthetic")]))
    assert [report["findings"][0]["tone"] for report in data] == ["good", "bad"]
