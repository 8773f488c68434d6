"""`earwitness score`: many recordings, one row each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
    reference: Annotated[list[str] | None, typer.Option(help="Recordings of the claimed speaker.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode ahead of the model.")] = 1,
    data_root: Annotated[Path | None, typer.Option(help="Refuse paths outside of this folder.")] = None,
) -> None:
    """Score many recordings into a table; higher = bona fide (deepfake) or same speaker (speaker).

    The whole file is heard, every row says how many of its seconds were used, and a file that cannot be judged gets a row
    with `error` and no score.

    Example: `earwitness score calls/ --task deepfake -o scores.parquet --resume`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.core.errors import UsageError
    from earwitness.evaluation.inputs import read_input
    from earwitness.evaluation.loading import load_detector, load_embedder
    from earwitness.evaluation.scoring import score_detection, score_references, score_trials

    if task not in ("deepfake", "speaker"):
        raise UsageError(f"unknown task '{task}'", where="--task", fix="This version scores: deepfake, speaker.")
    if task == "deepfake" and (trials or reference):
        raise UsageError("trials and references belong to --task speaker")
    if task == "speaker" and bool(trials) == bool(reference):
        raise UsageError("scoring speakers needs either --trials or --reference", fix="Name one of them.")
    manifest = read_input(given, data_root)
    with progress_bar("scoring", len(manifest)) as step:
        if task == "deepfake":
            tally = score_detection(
                manifest, load_detector(model or "deepfake"), output, resume=resume, workers=workers, progress=step
            )
        else:
            embedder = load_embedder(model or "speaker")
            if trials:
                tally = score_trials(manifest, trials, embedder, output, resume=resume, workers=workers, progress=step)
            else:
                tally = score_references(
                    manifest, reference or [], embedder, output, resume=resume, workers=workers, progress=step
                )
    typer.echo(f"{tally.done} scored, {tally.skipped} already there, {tally.failed} with an error: {output}", err=True)
    if tally.failed:
        raise typer.Exit(1)
