"""The JSON of every kind of result: read with its schema checked, and turned into a type or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from earwitness.core.errors import DataError
from earwitness.core.plain_files import read_plain

RESULT_SCHEMA = "1.0"
T = TypeVar("T")


def read_as(path: str | Path, kind: TypeAdapter[T]) -> T:
    """A result file as a type. Raises `DataError` for another form, and naming the field that does not fit."""
    path = Path(path)
    data = _plain(path)
    schema = data.pop("schema", None) if isinstance(data, dict) else None
    if not isinstance(schema, str) or schema.split(".")[0] != RESULT_SCHEMA.split(".")[0]:
        fix = f"This version reads schema {RESULT_SCHEMA} of evaluate, compare and calibrate."
        raise DataError(f"is no result (its schema is {schema!r})", where=path, fix=fix)
    try:
        return kind.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"does not fit its schema: {place}: {first['msg']}"
        raise DataError(what, where=path, fix="Name a file of the right kind.") from None


def _plain(path: Path) -> Any:
    try:
        return json.loads(read_plain(path))
    except FileNotFoundError:
        raise DataError("there is no such result", where=path, fix="Check the path.") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path, fix="Name a result file.") from None
    except (ValueError, RecursionError) as error:
        what = f"cannot be read as JSON ({str(error).splitlines()[0]})"
        raise DataError(what, where=path, fix="Name a file that --json wrote.") from None
