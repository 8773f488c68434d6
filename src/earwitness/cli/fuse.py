"""`earwitness fuse`: score files of several systems become one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from earwitness.core.errors import printable

if TYPE_CHECKING:
    from earwitness.evaluation.judging.fusing import Rule
    from earwitness.evaluation.judging.tasks import Task


def fuse(
    task: Annotated[str, typer.Argument(help="deepfake or speaker.")],
    scores: Annotated[list[Path], typer.Argument(metavar="SCORES...", help="One score file a system, same rows.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.csv, .parquet or .jsonl.")],
    by: Annotated[
        str, typer.Option(help="mean of scores as they are, z-mean of normalised ones, or logistic weights.")
    ] = "z-mean",
    held_out: Annotated[
        list[Path] | None,
        typer.Option(
            help="One file a system, of other trials: logistic learns weights there, z-mean normalises by it."
        ),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="What the held-out trials are; their manifest or trial list.")
    ] = None,
) -> None:
    """Fuse the scores of several systems on the same rows, into a score file like theirs.

    The mean of cosines is what putting unit embeddings side by side gives. What comes out is judged by `evaluate`,
    compared with either system by `compare` and made a likelihood ratio by `calibrate`, like any score file. A row that
    one system could not score has no fused score (exit code 1).

    Example: `earwitness fuse speaker a.csv b.csv --by logistic --held-out a-dev.csv b-dev.csv --key dev.txt -o ab.csv`
    """
    from earwitness.corpora.tables import write_table
    from earwitness.evaluation.judging.fusing import HeldOut, fuse_files

    fused = fuse_files(cast("Task", task), scores, cast("Rule", by), HeldOut(tuple(held_out or ()), key))
    write_table(fused.table, output)
    for path, weight in zip(scores, fused.fusion.weights, strict=True):
        typer.echo(printable(f"{weight:+12.6g} x {path}"))
    typer.echo(f"{fused.fusion.offset:+12.6g}")
    typer.echo(f"wrote {output}", err=True)
    if fused.failed:
        typer.echo(f"{fused.failed} row(s) were not scored by every system", err=True)
        raise typer.Exit(1)
