"""Results as JSON with a published schema (docs/schema/): written whole, read back checked, never guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from earwitness.core.config import parse_config
from earwitness.core.writing import write_atomically
from earwitness.evaluation.results.calibrating import CalibrationResult
from earwitness.evaluation.results.comparing import ComparisonResult
from earwitness.evaluation.results.evaluating import Evaluation
from earwitness.evaluation.results.json_form import RESULT_SCHEMA, read_as
from earwitness.evaluation.results.localising import Localisation
from earwitness.evaluation.results.requests import AnyRequest, Request, moved

Result = Evaluation | ComparisonResult | CalibrationResult | Localisation
_RESULT: TypeAdapter[Result] = TypeAdapter(Annotated[Result, Field(discriminator="kind")])


def result_to_json(result: Result) -> str:
    """As a JSON object that names its schema."""
    data = {"schema": RESULT_SCHEMA, **_RESULT.dump_python(result, mode="json")}
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_result_file(path: str | Path, result: Result) -> None:
    """Write whole or not at all; the paths of the request are written against the file's folder."""
    request: AnyRequest = parse_config(Request, result.record.settings)
    settings = moved(request, Path(), Path(path).parent).model_dump(mode="json")
    write_atomically(path, result_to_json(replace(result, record=replace(result.record, settings=settings))))


def read_result(path: str | Path) -> Result:
    """What `evaluate`, `compare` or `calibrate` wrote. Raises `DataError` for anything else."""
    return read_as(path, _RESULT)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a result, made from the dataclasses."""
    schema = _RESULT.json_schema(mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"Earwitness result {RESULT_SCHEMA}"}
    return {**head, **schema}


def write_json_schema(folder: str | Path) -> Path:
    """Write `result-VERSION.json` into a folder (docs/schema) and return its path."""
    path = Path(folder) / f"result-{RESULT_SCHEMA}.json"
    write_atomically(path, json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    return path


def figures(result: Result) -> dict[str, Any]:
    """Every value of a result by its place, without the record: what two runs are compared by."""
    found: dict[str, Any] = {}
    plain = _RESULT.dump_python(result, mode="json")
    _collect("", {name: value for name, value in plain.items() if name != "record"}, found)
    return found


def _collect(place: str, value: Any, found: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for name, part in value.items():
            _collect(f"{place}.{name}" if place else str(name), part, found)
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            name = part.get("name", number) if isinstance(part, dict) else number
            _collect(f"{place}[{name}]", part, found)
    else:
        found[place] = value
