"""The published JSON schemas change as docs/schema/README.md says: within a major version nothing is taken away."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schema"


def versions() -> dict[str, list[Path]]:
    """The documents of each kind and major version, oldest first."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in FOLDER.glob("*.json"):
        match = re.fullmatch(r"([a-z]+)-(\d+)\.(\d+)\.json", path.name)
        assert match, f"{path.name} is not KIND-MAJOR.MINOR.json"
        found.setdefault(f"{match[1]}-{match[2]}", []).append((int(match[3]), path))
    return {kind: [path for _, path in sorted(numbered)] for kind, numbered in found.items()}


def taken_away(old: Any, new: Any, where: str = "") -> list[str]:
    """What a reader of the old document could rely on and can no longer: fields, their types, that they are there."""
    lost = []
    for name, field in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            lost.append(f"{where}{name}")
        elif name != "schema" and narrowed(field, new["properties"][name]):
            lost.append(f"{where}{name}: another type")
    lost += [f"{where}{name}: may be absent" for name in set(old.get("required", ())) - set(new.get("required", ()))]
    for name, part in old.get("$defs", {}).items():
        found = new.get("$defs", {}).get(name)
        lost += [f"{where}{name}"] if found is None else taken_away(part, found, f"{where}{name}.")
    return lost


def narrowed(old: Any, new: Any) -> bool:
    """Whether the types of a field differ; descriptions, defaults and further allowed words may."""
    return bool(kinds(old) - kinds(new)) if "enum" in old else kinds(old) != kinds(new)


def kinds(field: Any) -> set[str]:
    names = {str(field[key]) for key in ("type", "$ref") if key in field} | {
        str(word) for word in field.get("enum", ())
    }
    return names.union(*(kinds(part) for key in ("anyOf", "oneOf") for part in field.get(key, ())))


@pytest.mark.parametrize("kind", sorted(versions()))
def test_a_minor_version_only_adds(kind: str) -> None:
    documents = versions()[kind]
    assert documents[0].stem.endswith(".0")
    for old, new in pairwise(documents):
        assert taken_away(json.loads(old.read_text()), json.loads(new.read_text())) == [], f"{old.name} -> {new.name}"


def test_the_comparison_sees_what_is_taken_away() -> None:
    old = {"properties": {"a": {"type": "string"}, "b": {"type": "number"}}, "required": ["a"]}
    new = {"properties": {"a": {"type": "number"}, "c": {"type": "string"}}}
    assert sorted(taken_away(old, new)) == ["a: another type", "a: may be absent", "b"]
    assert taken_away(old, {**old, "properties": {**old["properties"], "c": {"type": "string"}}}) == []


def test_the_rule_is_written_down() -> None:
    assert "fields may be added" in (FOLDER / "README.md").read_text(encoding="utf-8")
