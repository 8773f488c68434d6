"""`earwitness score`: many recordings, one row each."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from earwitness.cli.data_root import DataRoot
from earwitness.cli.engine_options import EngineName, Workers, shared_cores

if TYPE_CHECKING:
    from earwitness.evaluation.judging.tasks import Task
    from earwitness.evaluation.scoring.scorers import Tally


def score(
    given: Annotated[
        str,
        typer.Argument(
            metavar="INPUT", help="A file, a folder, a glob, a manifest (CSV, Parquet, JSONL), or - for standard input."
        ),
    ],
    task: Annotated[str, typer.Option(help="deepfake, speaker, age, emotion or quality.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.csv, OUT.parquet or OUT.jsonl.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="A shipped model's name or a model folder; of quality dnsmos, distillmos or a graph PATH.onnx."
        ),
    ] = None,
    trials: Annotated[
        Path | None, typer.Option(help="Speaker trials (VoxCeleb or Kaldi form), names relative to INPUT.")
    ] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="Recordings of the claimed speaker; all values up to the next option.")
    ] = None,
    enrolment: Annotated[
        Path | None, typer.Option(help="Several recordings a name for --trials: lines of a name and its recordings.")
    ] = None,
    known: Annotated[
        str | None,
        typer.Option(help="Known voices to rank: a folder of sub-folders or NAME-1.wav, NAME-2.wav, or a manifest."),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="Rows a recording with --known, the best first; 10.")
    ] = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Tell the voices of INPUT apart, whoever they are.")
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(metavar="LLR", help="Join voices of --cluster down to this mean log ratio; -1.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="A picture of --cluster as one page.")] = None,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="OUT.npz|OUT.parquet", help="Write the voice prints of INPUT.")
    ] = None,
    cohort: Annotated[
        str | None,
        typer.Option(help="Recordings of other speakers to normalise trials by, instead of the model's own."),
    ] = None,
    back_end: Annotated[
        str, typer.Option("--back-end", help="How --trials compare: cosine, or plda, which learns from the --cohort.")
    ] = "cosine",
    top: Annotated[
        int | None, typer.Option(min=1, help="How many of the nearest --cohort speakers count on each side; 300.")
    ] = None,
    subtract_mean: Annotated[
        bool, typer.Option("--subtract-mean", help="Take the mean of the --cohort from every voice print.")
    ] = False,
    uncertainty: Annotated[
        str | None,
        typer.Option(
            help="Use the voice prints' own variance in --trials: up_cos (as released) or conservative; without llr."
        ),
    ] = None,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Score trials of speakers that the model or the cohort knows.")
    ] = False,
    calibration: Annotated[
        Path | None, typer.Option(help="What `earwitness calibrate` wrote: column llr is by it.")
    ] = None,
    submission: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORM:PATH",
            help="Write the finished scores as asvspoof5, asvspoof2021, arena, ctrsvdd or kaldi too; may be repeated.",
        ),
    ] = None,
    segments: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="One row a segment of so many seconds: where a recording is synthetic."),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="How much is heard at once for --segments; the model's own by default."),
    ] = None,
    phones: Annotated[
        str | None,
        typer.Option(
            help="Whose phones a model of speaker-traits compares: hama, pocketsphinx, ctc:FOLDER, frames:FOLDER or "
            "files:FOLDER [default: as it was trained]."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    workers: Workers = None,
    engine: EngineName = "local",
    data_root: DataRoot = None,
) -> None:
    """Score many recordings into a table; higher = bona fide (deepfake), same speaker (speaker) or better (quality).

    The whole file is heard, every row says how many of its seconds were used, and a file that cannot be judged gets a
    row with `error` and no score (exit code 1). Trials of speakers that the model was trained on are refused. A
    --submission holds every trial of the finished table exactly once, or is not written. With --segments the score
    runs over the time of each recording, for `earwitness evaluate localisation`. With a model of speaker-traits each
    trial has an evidence score too (`evd`, and as a score file of its own `OUT.evd.csv`). Rows of ages have mean, sd,
    low and high (80 %), rows of emotions the class called (none where unsure) and every class's probability. Speakers
    are scored by one of --trials, --reference, --known, --cluster or --embeddings.

    Example: `earwitness score calls/ --task deepfake -o scores.parquet --resume`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.cli.score_options import ScoreOptions, SpeakerOptions

    of_speakers = SpeakerOptions(
        trials=trials,
        reference=tuple(reference or ()),
        known=known,
        cluster=cluster,
        embeddings=embeddings,
        enrolment=enrolment,
        cohort=cohort,
        back_end=back_end,
        top=top,
        subtract_mean=subtract_mean,
        uncertainty=uncertainty,
        allow_leak=allow_leak,
        phones=phones,
        candidates=candidates,
        threshold=threshold,
        html=html,
    )
    asked = ScoreOptions(task, output, model, calibration, tuple(submission or ()), segments, window, of_speakers)
    asked.check()
    from earwitness.core.engines import LocalEngine, engine_named

    works = engine_named(engine, workers)
    submissions = asked.chosen_submissions()

    from earwitness.cli.score_ways import Inputs, way_of

    with _named(given, resume, data_root) as source:
        inputs = Inputs.read(source, of_speakers, data_root)
        if isinstance(works, LocalEngine):
            works = LocalEngine(shared_cores(workers, len(inputs)))
        way = way_of(asked, inputs)
        with progress_bar("scoring", len(inputs)) as step:
            tally = way(output, resume=resume, engine=works, progress=step)
    _tell(tally, output)
    if tally.failed:
        if submissions:
            typer.echo("no submission is written: it must hold a score for every trial", err=True)
        raise typer.Exit(1)
    for form, path in submissions:
        _submit(form, task, output, path)


def _named(given: str, resume: bool, data_root: Path | None) -> AbstractContextManager[str | Path]:
    """INPUT, or the file of what came through standard input."""
    from earwitness.cli.standard_input import DASH, spooled
    from earwitness.core.errors import UsageError

    if given != DASH:
        return nullcontext(given)
    if resume or data_root is not None:
        what = "standard input is another recording each time and lies in no folder"
        raise UsageError(what, where=DASH, fix="Leave out --resume and --data-root, or name a file.")
    return spooled()


def _tell(tally: Tally, output: Path) -> None:
    from earwitness.core.errors import printable

    counts = f"{tally.done} done, {tally.skipped} already there, {tally.failed} with an error"
    for line in (*tally.notes, *tally.failures, f"{counts}: {output}"):
        typer.echo(printable(line), err=True)


def _submit(form: str, task: str, output: Path, path: Path) -> None:
    """Write a finished table in the form of a challenge."""
    from earwitness.core.errors import printable
    from earwitness.evaluation.judging.labelled import score_table
    from earwitness.evaluation.judging.score_files import write_submission

    digest = write_submission(form, score_table(cast("Task", task), output), path)
    typer.echo(printable(f"{path}: {form} submission, sha256 {digest}"))
