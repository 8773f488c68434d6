"""What others may build on: names, signatures, fields, errors, and the options of each command.

`tests/golden/api.txt` is the agreed text. Where a change is meant, write it anew and tell of it in the changelog:

    python tests/test_public_api.py > tests/golden/api.txt
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import earwitness
import earwitness.metrics

AGREED = Path(__file__).resolve().parent / "golden" / "api.txt"


def signature(named: str, function: Any) -> str:
    return f"{named}{inspect.signature(function)}".replace("'", "")


def members(owner: type) -> Iterator[str]:
    """Fields, methods and properties whose names have no underscore in front, also of bases of ours."""
    if dataclasses.is_dataclass(owner):
        for field in dataclasses.fields(owner):
            yield f"{owner.__name__}.{field.name}: {field.type}".replace("'", "")
    for name, value in inspect.getmembers_static(owner):
        if name.startswith("_") or not getattr(_function(value), "__module__", "").startswith("earwitness"):
            continue
        if isinstance(value, property):
            returned = inspect.signature(value.fget).return_annotation if value.fget else ""
            yield f"{owner.__name__}.{name}: {returned}".replace("'", "")
        else:
            yield signature(f"{owner.__name__}.{name}", _function(value))


def _function(value: Any) -> Any:
    return value.fget if isinstance(value, property) else getattr(value, "__func__", value)


def told_of(owner: type, seen: set[type]) -> Iterator[type]:
    """The class, and each dataclass of ours that its fields and methods return or hold."""
    if owner in seen:
        return
    seen.add(owner)
    yield owner
    hints = [typing.get_type_hints(owner)] if dataclasses.is_dataclass(owner) else []
    for name, value in inspect.getmembers_static(owner):
        if not name.startswith("_") and inspect.isfunction(_function(value)):
            found = {"return": typing.get_type_hints(_function(value)).get("return")}
            hints.append({key: hint for key, hint in found.items() if _function(value).__module__[:5] == "earwi"})
    for hint in (hint for known in hints for hint in known.values()):
        for part in _parts(hint):
            if dataclasses.is_dataclass(part) and part.__module__.startswith("earwitness"):
                yield from told_of(part, seen)


def _parts(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and not typing.get_args(hint):
        yield hint
    for inner in typing.get_args(hint):
        yield from _parts(inner)


def errors() -> Iterator[str]:
    module = importlib.import_module("earwitness.core.errors")
    for name, value in sorted(vars(module).items()):
        if isinstance(value, type) and issubclass(value, earwitness.EarwitnessError):
            yield f"{name}({', '.join(base.__name__ for base in value.__bases__)})"


def options(command: Any, words: str) -> Iterator[str]:
    """Each command with its arguments and options."""
    if hasattr(command, "commands"):
        for name, inner in sorted(command.commands.items()):
            yield from options(inner, f"{words} {name}")
        return
    given = (p.opts[0] if p.param_type_name == "option" else p.name.upper() for p in command.params)
    yield " ".join([words, *given])


def api_lines() -> list[str]:
    import typer.main

    from earwitness.cli.main import build_app

    load, examine = (
        getattr(importlib.import_module(f"earwitness.{module}"), name)
        for module, name in (("evaluation.loading", "load"), ("examine.examiner", "examine"))
    )
    seen: set[type] = set()
    loaded = _parts(typing.get_type_hints(load)["return"])
    reported = _parts(typing.get_type_hints(examine)["return"])
    owners = [owner for first in (*loaded, *reported) for owner in told_of(first, seen)]
    owners += [value for name in sorted(earwitness.metrics.__all__) for value in _classes(name) if value not in seen]
    functions = {name: getattr(earwitness.metrics, name) for name in sorted(earwitness.metrics.__all__)}
    return [
        f"names: {', '.join(sorted(earwitness.__all__))}",
        signature("earwitness.load", load),
        signature("earwitness.examine", examine),
        *(line for owner in owners for line in members(owner)),
        *(signature(f"metrics.{name}", one) for name, one in functions.items() if inspect.isfunction(one)),
        *errors(),
        *options(typer.main.get_command(build_app()), "earwitness"),
    ]


def _classes(name: str) -> list[type]:
    found = getattr(earwitness.metrics, name)
    return [found] if isinstance(found, type) else []


def test_the_public_face_is_as_agreed() -> None:
    """A failure shows the lines that differ; see the head of this file."""
    agreed = AGREED.read_text(encoding="utf-8").splitlines()
    now = api_lines()
    assert sorted(set(agreed) - set(now)) == [], "gone or changed"
    assert sorted(set(now) - set(agreed)) == [], "new or changed"
    assert now == agreed


if __name__ == "__main__":
    print("\n".join(api_lines()))
