"""Structured files with one value of another kind: a typed error in one line, or rows, and never anything else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_formats_audformat import HEADER, TABLES, database
from test_formats_json import CUTS, NEMO, RECORDINGS, SUPERVISIONS, put

from earwitness.core.errors import EarwitnessError
from earwitness.corpora.readers import READERS

OTHERS: list[Any] = [None, 5, -1.5, 1e300, True, "x", "", [], ["x"], [[1]], {}, {"a": [1]}]


def places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in nested data."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*at, key)
        yield from places(value, (*at, key))


def variants(data: Any, others: int = 3) -> Iterator[Any]:
    """The data with one value replaced, in every place by some of the other kinds, by turns."""
    kinds = cycle(OTHERS)
    for place in places(data):
        for other in islice(kinds, others):
            changed = copy.deepcopy(data)
            node = changed
            for key in place[:-1]:
                node = node[key]
            node[place[-1]] = other
            yield changed


def survives(name: str, path: Path) -> bool:
    """Whether it could be read. Fails for any error that is not ours, and for one of several lines."""
    try:
        return len(READERS[name](path).manifest) > 0
    except EarwitnessError as error:
        if "\n" in str(error):
            raise
        return False


def tally(name: str, path: Path, files: Iterator[str]) -> tuple[int, int]:
    """How many variants were read, and how many refused."""
    read = refused = 0
    for text in files:
        path.write_text(text, encoding="utf-8")
        good = survives(name, path.parent if name == "audformat" else path)
        read, refused = read + good, refused + (not good)
    return read, refused


@pytest.mark.parametrize(("name", "data"), [("lhotse", CUTS[3]), ("lhotse", RECORDINGS[1]), ("nemo", NEMO[1])])
def test_json_lines_of_another_kind(name: str, data: dict[str, Any], tmp_path: Path) -> None:
    read, refused = tally(name, tmp_path / "m.jsonl", (json.dumps(changed) + "\n" for changed in variants(data)))
    assert min(read, refused) > 3


def test_supervisions_of_another_kind(tmp_path: Path) -> None:
    put(tmp_path / "recordings.jsonl", RECORDINGS)
    outcomes = []
    for changed in variants(SUPERVISIONS[2], 3):
        put(tmp_path / "supervisions.jsonl", [changed])
        outcomes.append(survives("lhotse", tmp_path))
    assert set(outcomes) == {True, False}


def test_headers_of_another_kind(tmp_path: Path) -> None:
    header = yaml.safe_load(HEADER)
    folder = database(tmp_path / "db", **TABLES)
    short = {name: header[name] for name in ("media", "splits", "schemes", "tables", "misc_tables")}
    files = (yaml.safe_dump(changed) for changed in variants(short, 1))
    read, refused = tally("audformat", folder / "db.yaml", files)
    assert min(read, refused) > 3
