"""`earwitness reproduce`: a result runs again from its record, and what differs is printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.core.errors import printable

if TYPE_CHECKING:
    from earwitness.evaluation.results.reproducing import Difference, Reproduction

SHOWN = 20  # differences printed one by one; --json gives all


def reproduce(
    given: Annotated[
        Path, typer.Argument(metavar="RESULT.json", help="What evaluate, compare, calibrate or claim run wrote.")
    ],
    data_root: Annotated[Path | None, typer.Option(help="Folder of the files, where they were moved.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON.")] = False,
) -> None:
    """Run a result again: difference 0, or what differs (exit code 1).

    The files that the record names are looked for beside the result; their sha256 are compared too. A claim's manifest
    is looked for where the command runs; its frames are read from runs/claims where they are kept.

    Example: `earwitness reproduce results/test.json`
    """
    found = _run(given, data_root)
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps({"same": found.same, **asdict(found)}, indent=2, ensure_ascii=False))
    else:
        for line in _lines(found):
            typer.echo(printable(line))
    if not found.same:
        raise typer.Exit(1)


def _run(given: Path, data_root: Path | None) -> Reproduction:
    """A claim runs again with all its arms and seeds; anything else is judged again."""
    from earwitness.claims.reproducing import is_claim, reproduce_claim
    from earwitness.evaluation.results.reproducing import reproduce as run

    return reproduce_claim(given, data_root) if is_claim(given) else run(given, data_root)


def _lines(found: Reproduction) -> Iterator[str]:
    if found.same:
        yield f"difference 0: all {found.compared} values are the same"
    else:
        by = "" if found.largest is None else f", numbers by at most {found.largest:.3g}"
        yield f"{len(found.differences)} of {found.compared} values differ{by}"
        yield from (_line(difference) for difference in found.differences[:SHOWN])
        if len(found.differences) > SHOWN:
            yield f"and {len(found.differences) - SHOWN} more"
    for difference in found.inputs:
        yield f"input {_line(difference)}"
    for difference in found.versions:
        yield f"version {_line(difference)}"


def _line(found: Difference) -> str:
    return f"{found.place}: {_shown(found.before)} before, {_shown(found.after)} now"


def _shown(value: object) -> str:
    return "nothing" if value is None else str(value)
