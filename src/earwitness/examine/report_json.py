"""The report as data: JSON with a versioned schema (docs/schema/), readable again as a `Report`.

A number that is not finite is written as null. A reader of version 1.x takes every 1.y: unknown fields are passed over.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from earwitness.core.errors import DataError
from earwitness.core.writing import write_atomically
from earwitness.examine.finding import SCHEMA_VERSION, Finding, Report

_REPORT = TypeAdapter(Report)
# Valid in JSON but harmful where it is shown: C1 controls, line separators, marks that reverse the reading direction.
_HARMFUL = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def report_to_json(report: Report) -> str:
    """One report as a JSON object."""
    return _dump(_plain(report))


def reports_to_json(reports: Sequence[Report]) -> str:
    """Several reports as a JSON array of such objects."""
    return _dump([_plain(report) for report in reports])


def report_from_json(text: str) -> Report:
    """The report that `report_to_json` wrote. Raises `DataError` for another format or a newer main version."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"the report is not valid JSON ({error})") from None
    version = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(version, str) or version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise DataError(
            f"the report has schema {version!r}",
            fix=f"This Earwitness reads schema {SCHEMA_VERSION}; update it, or examine again.",
        )
    try:
        return _REPORT.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"the report does not fit its schema: {place}: {first['msg']}") from None


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one report, made from the dataclasses."""
    schema = _REPORT.json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Earwitness report {SCHEMA_VERSION}",
        **{name: value for name, value in schema.items() if name != "title"},
    }


def write_json_schema(folder: str | Path) -> Path:
    """Write the schema document `report-VERSION.json` into a folder (docs/schema) and return its path."""
    path = Path(folder) / f"report-{SCHEMA_VERSION}.json"
    write_atomically(path, json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    return path


def _plain(report: Report) -> Any:
    """Plain data with finite numbers only."""
    findings = tuple(_with_finite_bound(finding) for finding in report.findings)
    return _finite(asdict(replace(report, findings=findings)))


def _with_finite_bound(finding: Finding) -> Finding:
    """A bound that is not finite bounds nothing: it is left out as a pair."""
    if finding.llr_bound is None or all(map(math.isfinite, finding.llr_bound)):
        return finding
    return replace(finding, llr_bound=None)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(name): _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):  # numpy's numbers too
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return value


def _text(text: str) -> str:
    """Bytes of a file name that are no UTF-8 are shown as escapes: JSON cannot hold them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _dump(data: Any) -> str:
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    return _HARMFUL.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"
