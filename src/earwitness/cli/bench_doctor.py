"""`earwitness bench doctor`: what a model behind a client can do, before anything is asked of it in earnest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    client: Annotated[Path, typer.Argument(help="The client's settings, YAML.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print as data.")] = False,
) -> None:
    """Say in words what a model can and cannot do: about a dozen short questions are asked of it.

    Exit code 1 where it cannot be used as the settings say.

    Example: `earwitness bench doctor client.yaml`
    """
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from earwitness.cli.progress import progress_bar
    from earwitness.core.errors import printable
    from earwitness.speech_llm.clients import read_client_config
    from earwitness.speech_llm.clients.doctor import PARTS, diagnose

    config = read_client_config(client)
    with progress_bar("asking", PARTS) as advance:
        found = diagnose(config.build(), config, advance)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "usable": found.usable}, indent=2, ensure_ascii=False))
    else:
        styles = {"good": "green", "unknown": "yellow", "bad": "red"}
        table = Table("what", "", "found", box=None, pad_edge=False)
        for check in found.checks:
            table.add_row(check.what, Text(check.state, styles[check.state]), Text(printable(check.words)))
        console = Console()
        console.print(Text(found.client))
        console.print(table)
    if not found.usable:
        raise typer.Exit(1)
