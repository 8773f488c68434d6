"""The base of every configuration class, and refusals that help.

A configurable component has a small `Config` class beside it: a `kind` literal, its fields, and `build()`. A family is
an explicit discriminated union of such classes, so a typo in a recipe is answered with what is allowed and what is
nearest.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from earwitness.core.errors import RecipeError
from earwitness.core.plain_files import read_plain

T = TypeVar("T")


class Config(BaseModel):
    """Frozen, and strict about names: an unknown field is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse_config(kind: type[T] | Any, data: object, where: object = None) -> T:
    """Plain data as a config class or a union of them.

    Raises `RecipeError` naming the field, and the nearest allowed value or field where a name is unknown.
    """
    adapter: TypeAdapter[T] = TypeAdapter(kind)
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        raise RecipeError(_explain(error, data, _allowed_fields(adapter)), where=where) from None


def read_yaml(path: str | Path) -> object:
    """The plain data of a YAML file (safe loader: no objects are ever constructed). Raises `RecipeError`."""
    path = Path(path)
    try:
        return yaml.safe_load(read_plain(path).decode("utf-8"))
    except FileNotFoundError:
        raise RecipeError("there is no such file", where=path, fix="Check the path.") from None
    except OSError as error:
        raise RecipeError(f"cannot be read ({error.strerror})", where=path) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"is not valid YAML ({str(error).splitlines()[0]})", where=path) from None


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `name` was probably meant to be."""
    found = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return found[0] if found else None


def _explain(error: ValidationError, data: object, fields: set[str]) -> str:
    """The first problem in words; further ones are counted. A typo comes before the field that it leaves missing."""
    problems = error.errors()
    first = min(problems, key=lambda problem: problem["type"] == "missing")
    text = f"{_place(first['loc'], data) or 'the configuration'}: {_explain_one(dict(first), fields)}"
    return text if len(problems) == 1 else f"{text} (and {len(problems) - 1} more problem(s))"


def _place(loc: tuple[int | str, ...], data: object) -> str:
    """The field as it stands in the data: pydantic puts the kinds of unions between the names."""
    names: list[str] = []
    node: Any = data
    for number, part in enumerate(loc, start=1):
        if part in node if isinstance(node, dict) else isinstance(node, list | tuple) and isinstance(part, int):
            node = node[part]
        elif number < len(loc):
            continue
        names.append(str(part))
    return ".".join(names)


def _explain_one(problem: dict[str, Any], fields: set[str]) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "union_tag_invalid":
        allowed = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
        guess = nearest(context["tag"], allowed)
        hint = f" Did you mean '{guess}'?" if guess else ""
        name = context["discriminator"].strip("'")
        return f"unknown {name} '{context['tag']}'; allowed: {', '.join(allowed)}.{hint}"
    if kind == "union_tag_not_found":
        return "needs a `{}`".format(context["discriminator"].strip("'"))
    if kind == "extra_forbidden":
        guess = nearest(str(problem["loc"][-1]), fields)
        return "there is no such field" + (f"; did you mean '{guess}'?" if guess else "")
    if kind == "missing":
        return "is required"
    return f"{problem['msg'][0].lower()}{problem['msg'][1:]} (got {_shortened(repr(problem.get('input')))})"


def _shortened(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _allowed_fields(adapter: TypeAdapter[Any]) -> set[str]:
    """Every field name in the schema, to guess what a typo meant."""
    names: set[str] = set()

    def collect(node: object) -> None:
        if isinstance(node, dict):
            names.update(node.get("properties", {}))
            for value in node.values():
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(adapter.json_schema())
    return names
