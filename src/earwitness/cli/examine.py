"""`earwitness examine`: one recording, all questions, one report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def examine(
    recordings: Annotated[
        list[str],
        typer.Argument(metavar="REC...", help="Recordings: anything that holds sound; folders and globs too."),
    ],
    reference: Annotated[
        list[str] | None, typer.Option(help="Recordings of the claimed speaker; all values up to the next option.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page.")] = None,
    json_output: Annotated[
        Path | None, typer.Option("--json", help="Write the same as data ('-' for standard output).")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="TASK=NAME", help="Another model, e.g. deepfake=deepfake-small.")
    ] = None,
) -> None:
    """Say what a recording can testify to: genuine or synthetic, and with `--reference`, the same voice or not.

    Each answer comes with its evidence, its strength and its limits; "inconclusive" is an answer. A stereo call is examined
    per channel.

    Example: `earwitness examine call.m4a --reference claimed-1.wav claimed-2.wav --html report.html`
    """
    from rich.console import Console

    from earwitness.cli.progress import progress_bar
    from earwitness.core.writing import write_atomically
    from earwitness.examine.examiner import Examiner, expand
    from earwitness.examine.report_html import render_html
    from earwitness.examine.report_json import reports_to_json
    from earwitness.examine.report_text import print_report, print_summary

    paths, known = expand(recordings), expand(reference or [])
    examiner = Examiner.load(_chosen(model or []))
    reports, failures = [], []
    with progress_bar("examining", len(paths)) as step:
        prints = examiner.enrol(known)
        for path in paths:
            found = examiner.try_examine(path, prints)
            reports.extend(found.reports)
            failures.extend(found.failures)
            step()
    data = reports_to_json(reports, failures)
    if str(json_output) == "-":
        typer.echo(data)
    else:
        console = Console()
        for report in reports:
            print_report(report, console)
        if len(reports) > 1:
            print_summary(reports, console)
        if json_output:
            write_atomically(json_output, data)
    if html:
        write_atomically(html, render_html(reports))
    for failure in failures:
        typer.echo(f"earwitness: {failure}", err=True)
    if failures:
        raise typer.Exit(1)


def _chosen(pairs: list[str]) -> dict[str, str]:
    """`TASK=NAME` pairs. Raises `UsageError` for another form or task."""
    from earwitness.core.errors import UsageError

    chosen = {}
    for pair in pairs:
        task, equals, name = pair.partition("=")
        if not equals or task not in ("deepfake", "speaker"):
            raise UsageError(
                f"'{pair}' is not TASK=NAME",
                where="--model",
                fix="For example deepfake=deepfake-small; tasks: deepfake, speaker.",
            )
        chosen[task] = name
    return chosen
