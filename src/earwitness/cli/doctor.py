"""`earwitness doctor`: what works on this machine, and what is missing."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print as data.")] = False) -> None:
    """Say what works on this machine, what is missing, and what to do about it. Exit code 1 where a part is broken.

    Example: `earwitness doctor`
    """
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from earwitness.core.errors import printable
    from earwitness.evaluation.checkup import check_machine

    checks = check_machine()
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        styles = {"works": "green", "missing": "yellow", "broken": "red"}
        table = Table("part", "", "detail", box=None, pad_edge=False)
        for check in checks:
            table.add_row(check.part, Text(check.state, styles[check.state]), Text(printable(check.detail)))
        Console().print(table)
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)
