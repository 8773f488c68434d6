"""JSON lines of other tools, gzipped or not, and how a field of any kind stands in a column of text."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from earwitness.core.errors import DataError
from earwitness.core.plain_files import read_plain, unzipped
from earwitness.core.writing import write_atomically

Fields = dict[str, Any]
MOST = 1e12  # no time and no rate is longer, and sums and products stay finite


def read_objects(path: Path) -> Iterator[tuple[int, Fields]]:
    """Line number and fields of each line. Raises `DataError`: no JSON, no object, a name twice, NaN or infinity."""
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_once, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            fix = "Expected: one JSON object a line."
            raise DataError(f"line {number} is not JSON ({error})", where=path, fix=fix) from None
        if not isinstance(value, dict):
            fix = "Expected: one JSON object a line (not one list of all)."
            raise DataError(f"line {number} is a {type(value).__name__}, not an object", where=path, fix=fix)
        yield number, value


def write_objects(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """One object a line, gzipped where the name ends in `.gz` (without a time in it: same rows, same bytes)."""
    data = "".join(json.dumps(fields, ensure_ascii=False) + "\n" for fields in objects).encode("utf-8")
    write_atomically(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def as_text(value: Any) -> str | None:
    """A value as a cell: texts as they are, all else as JSON.

    >>> as_text([1, "a"])
    '[1, "a"]'
    """
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_values(texts: Sequence[str | None]) -> list[Any]:
    """The way back: where every text of a column is JSON as `as_text` writes it, its value, else the texts.

    >>> as_values(["10", None, "2.5"]), as_values(["007", "8"])
    ([10, None, 2.5], ['007', '8'])
    """
    values = [None if text is None else _value(text) for text in texts]
    whole = all(text is None or value is not None for text, value in zip(texts, values, strict=True))
    return values if whole else list(texts)


def quoted_numbers(values: Sequence[Any]) -> bool:
    """Whether `as_values` will give other values back: texts such as "7" that all look like JSON of another kind."""
    return as_values([as_text(value) for value in values]) != list(values)


def number_of(fields: Fields, name: str, path: Path, line: int) -> float | None:
    """A number from 0 to `MOST`, or None where the field is not there. Raises `DataError` for anything else."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        raise DataError(f"line {line}: `{name}` is {as_text(value)}", where=path, fix="Expected: a number, 0 or more.")
    return float(value)


def text_of(fields: Fields, name: str, path: Path, line: int) -> str:
    """A text that must be there. Raises `DataError`."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise DataError(f"line {line}: `{name}` is {as_text(value)}", where=path, fix=f"Expected: a text in `{name}`.")
    return value


def _text(path: Path) -> str:
    try:
        data = read_plain(path)
        return (unzipped(data, path) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError("there is no such file", where=path, fix="Check the path.") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=path) from None
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text (byte {error.start})", where=path, fix="Save it as UTF-8.") from None


def _once(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"`{next(name for name in names if names.count(name) > 1)}` stands there twice")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _value(text: str) -> Any:
    """The value of a JSON text that is no text itself, and None for what `as_text` would not write so."""
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return None if isinstance(value, str) or json.dumps(value, ensure_ascii=False) != text else value
