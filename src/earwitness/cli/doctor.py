"""`earwitness doctor`: what works on this machine, and what is missing."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print as data.")] = False) -> None:
    """Say what works on this machine, what is missing, and what to do about it.

    Example: `earwitness doctor`
    """
    from rich.console import Console
    from rich.table import Table

    from earwitness.evaluation.checkup import check_machine

    checks = check_machine()
    if as_json:
        typer.echo(json.dumps([{"part": c.part, "state": c.state, "detail": c.detail} for c in checks], indent=2))
    else:
        marks = {"works": "[green]works[/]", "missing": "[yellow]missing[/]", "broken": "[red]broken[/]"}
        table = Table("part", "", "detail", box=None, pad_edge=False)
        for check in checks:
            table.add_row(check.part, marks[check.state], check.detail)
        Console().print(table)
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)
