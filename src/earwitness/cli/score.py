"""`earwitness score`: many recordings, one row each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from earwitness.evaluation.scoring import Tally


def score(
    given: Annotated[
        str, typer.Argument(metavar="INPUT", help="A file, a folder, a glob or a manifest (CSV, Parquet, JSONL).")
    ],
    task: Annotated[str, typer.Option(help="deepfake or speaker.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.csv, OUT.parquet or OUT.jsonl.")],
    model: Annotated[str | None, typer.Option(help="A shipped model's name or a model folder.")] = None,
    trials: Annotated[
        Path | None, typer.Option(help="Speaker trials (VoxCeleb or Kaldi form), names relative to INPUT.")
    ] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="Recordings of the claimed speaker; all values up to the next option.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode ahead of the model.")] = 1,
    engine: Annotated[str, typer.Option(help="Where the work is done: local.")] = "local",
    data_root: Annotated[Path | None, typer.Option(help="Refuse paths outside of this folder.")] = None,
) -> None:
    """Score many recordings into a table; higher = bona fide (deepfake) or same speaker (speaker).

    The whole file is heard, every row says how many of its seconds were used, and a file that cannot be judged gets a
    row with `error` and no score (exit code 1).

    Example: `earwitness score calls/ --task deepfake -o scores.parquet --resume`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.core.errors import printable
    from earwitness.evaluation.inputs import read_input
    from earwitness.evaluation.loading import load_detector, load_embedder
    from earwitness.evaluation.scoring import score_detection, score_references, score_trials

    _check(task, trials, reference, engine)
    manifest = read_input(given, data_root)
    judge: Callable[..., Tally]
    if task == "deepfake":
        judge = partial(score_detection, manifest, load_detector(model or task))
    elif trials:
        judge = partial(score_trials, manifest, trials, load_embedder(model or task))
    else:
        judge = partial(score_references, manifest, reference or [], load_embedder(model or task))
    with progress_bar("scoring", len(manifest)) as step:
        tally = judge(output, resume=resume, workers=workers, progress=step)
    for failure in tally.failures:
        typer.echo(printable(failure), err=True)
    counts = f"{tally.done} done, {tally.skipped} already there, {tally.failed} with an error"
    typer.echo(printable(f"{counts}: {output}"), err=True)
    if tally.failed:
        raise typer.Exit(1)


def _check(task: str, trials: Path | None, reference: list[str] | None, engine: str) -> None:
    """Raises `UsageError` for options that this version does not have, or that don't fit together."""
    from earwitness.core.errors import UsageError

    if task not in ("deepfake", "speaker"):
        raise UsageError(f"unknown task '{task}'", where="--task", fix="This version scores: deepfake, speaker.")
    if engine != "local":
        raise UsageError(f"unknown engine '{engine}'", where="--engine", fix="This version runs: local.")
    if task == "deepfake" and (trials or reference):
        raise UsageError("trials and references belong to --task speaker")
    if task == "speaker" and bool(trials) == bool(reference):
        raise UsageError("scoring speakers needs either --trials or --reference", fix="Name one of them.")
