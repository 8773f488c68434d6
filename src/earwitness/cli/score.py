"""`earwitness score`: many recordings, one row each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from earwitness.corpora.manifest import Manifest
    from earwitness.evaluation.judging.tasks import Task
    from earwitness.evaluation.scoring.cohorts import BackEnd
    from earwitness.evaluation.scoring.scorers import Tally
    from earwitness.speaker.embedder import Embedder
    from earwitness.speaker.uncertainty import Use


def score(
    given: Annotated[
        str, typer.Argument(metavar="INPUT", help="A file, a folder, a glob or a manifest (CSV, Parquet, JSONL).")
    ],
    task: Annotated[str, typer.Option(help="deepfake, speaker or quality.")],
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
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode ahead of the model.")] = 1,
    engine: Annotated[str, typer.Option(help="Where the work is done: local.")] = "local",
    data_root: Annotated[Path | None, typer.Option(help="Refuse paths outside of this folder.")] = None,
) -> None:
    """Score many recordings into a table; higher = bona fide (deepfake), same speaker (speaker) or better (quality).

    The whole file is heard, every row says how many of its seconds were used, and a file that cannot be judged gets a
    row with `error` and no score (exit code 1). Trials of speakers that the model was trained on are refused. A
    --submission holds every trial of the finished table exactly once, or is not written. With --segments the score
    runs over the time of each recording, for `earwitness evaluate localisation`. With a model of speaker-traits each
    trial has an evidence score too (`evd`, and as a score file of its own `OUT.evd.csv`). Speakers are scored by one of
    --trials, --reference, --known, --cluster or --embeddings.

    Example: `earwitness score calls/ --task deepfake -o scores.parquet --resume`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.core.errors import UsageError, printable
    from earwitness.deepfake.detector import Detector
    from earwitness.evaluation.loading import load_detector, load_voice
    from earwitness.evaluation.results.calibrated import with_calibration
    from earwitness.evaluation.scoring.cohorts import CohortOptions
    from earwitness.evaluation.scoring.inputs import read_input
    from earwitness.evaluation.scoring.print_export import export_prints
    from earwitness.evaluation.scoring.quality import score_quality
    from earwitness.evaluation.scoring.scorers import score_detection, score_references
    from earwitness.evaluation.scoring.segments import SegmentOptions, score_segments
    from earwitness.evaluation.scoring.traits import score_traits
    from earwitness.evaluation.scoring.trial_scores import score_trials
    from earwitness.speaker.phonetic_traits.verifier import TraitVerifier

    ways = {
        **{"--trials": trials, "--reference": reference, "--known": known},
        **{"--cluster": cluster, "--embeddings": embeddings},
    }
    _check(task, ways, engine)
    of_ways: dict[str, dict[str, object]] = {
        "--known": {"--candidates": candidates},
        "--cluster": {"--threshold": threshold is not None, "--html": html},
        "--trials": {"--enrolment": enrolment, "--back-end": back_end != "cosine"},
    }
    _check_of_ways(ways, of_ways)
    _check_of_uncertainty(trials, uncertainty, calibration)
    if phones and task != "speaker":
        raise UsageError("belongs to --task speaker", where="--phones")
    if calibration and task == "quality":
        raise UsageError("a MOS has no log-likelihood ratio", where="--calibration", fix="Leave it out.")
    _check_of_segments(task, segments, {"--calibration": calibration, "--submission": submission}, window)
    parts = None if segments is None else SegmentOptions(segments, window)
    submissions = _submissions(submission or [], task, trials, output)
    if calibration and cohort:
        what = "a calibration is of the model's own comparison"
        raise UsageError(what, where="--calibration", fix="Leave --cohort out.")
    of_cohort: dict[str, object] = {"--top": top, "--subtract-mean": subtract_mean}
    _check_of_trials(trials, cohort, of_cohort, allow_leak)
    way = _back_end(back_end, cohort, of_cohort)
    manifest = read_input(given, data_root)
    others = None if cohort is None else CohortOptions(read_input(cohort, data_root), top or 300, subtract_mean, way)
    judge: Callable[..., Tally]
    if task == "quality":
        judge = partial(score_quality, manifest, model or "dnsmos")
    else:
        heard_by = load_detector(model or task) if task == "deepfake" else load_voice(model or task, phones)
        if calibration is not None:
            heard_by.info = with_calibration(heard_by.info, calibration)
        if isinstance(heard_by, Detector) and parts is not None:
            judge = partial(score_segments, manifest, heard_by, options=parts)
        elif isinstance(heard_by, Detector):
            judge = partial(score_detection, manifest, heard_by)
        elif isinstance(heard_by, TraitVerifier):
            if trials is None or others is not None or enrolment is not None:
                what = "a model of speaker-traits scores --trials, without --cohort or --enrolment"
                raise UsageError(what, where="--model")
            judge = partial(score_traits, manifest, trials, heard_by, allow_leak=allow_leak)
        elif trials:
            use = cast("Use", uncertainty or "none")
            judge = partial(score_trials, manifest, trials, heard_by, cohort=others, use=use, allow_leak=allow_leak)
            judge = partial(judge, enrolments=enrolment)
        elif known is not None:
            judge = partial(_known, manifest, heard_by, known, candidates or 10, data_root)
        elif cluster:
            judge = partial(_clusters, manifest, heard_by, threshold, html)
        elif embeddings is not None:
            judge = partial(export_prints, manifest, heard_by, embeddings=embeddings)
        else:
            judge = partial(score_references, manifest, reference or [], heard_by)
    with progress_bar("scoring", len(manifest) + (len(others.manifest) if others else 0)) as step:
        tally = judge(output, resume=resume, workers=workers, progress=step)
    for note in tally.notes:
        typer.echo(printable(note), err=True)
    for failure in tally.failures:
        typer.echo(printable(failure), err=True)
    counts = f"{tally.done} done, {tally.skipped} already there, {tally.failed} with an error"
    typer.echo(printable(f"{counts}: {output}"), err=True)
    if tally.failed:
        if submissions:
            typer.echo("no submission is written: it must hold a score for every trial", err=True)
        raise typer.Exit(1)
    for form, path in submissions:
        typer.echo(printable(f"{path}: {form} submission, sha256 {_submit(form, task, output, path)}"))


def _known(
    manifest: Manifest,
    embedder: Embedder,
    known: str,
    candidates: int,
    data_root: Path | None,
    output: Path,
    **how: Any,
) -> Tally:
    """Rank the known voices; they are heard first, each once a model."""
    from earwitness.cli.progress import progress_bar
    from earwitness.evaluation.scoring.galleries import read_known
    from earwitness.evaluation.scoring.inputs import read_input
    from earwitness.evaluation.scoring.known_scores import score_known

    with progress_bar("hearing known voices", len(read_input(known, data_root))) as step:
        voices = read_known(known, embedder, data_root, step)
    return score_known(manifest, voices, output, candidates=candidates, **how)


def _clusters(
    manifest: Manifest, embedder: Embedder, threshold: float | None, html: Path | None, output: Path, **how: Any
) -> Tally:
    """Tell voices apart, and draw them where a picture is asked for."""
    from earwitness.core.writing import write_atomically
    from earwitness.evaluation.scoring.cluster_scores import score_clusters
    from earwitness.examine.cluster_page import render_clusters
    from earwitness.speaker.clustering import THRESHOLD_LLR

    level = THRESHOLD_LLR if threshold is None else threshold
    tally, clustered = score_clusters(manifest, embedder, output, threshold=level, **how)
    if html is not None and clustered is not None:
        write_atomically(html, render_clusters(clustered, tally.notes))
    return tally


def _check_of_ways(ways: dict[str, Any], of_ways: dict[str, dict[str, object]]) -> None:
    """Raises `UsageError` for options of a way of scoring that was not chosen."""
    from earwitness.core.errors import UsageError

    for way, options in of_ways.items():
        if not ways[way] and (given := [name for name, value in options.items() if value]):
            raise UsageError(f"{given[0]} belongs to {way}", fix=f"Add {way}, or leave {given[0]} out.")


def _back_end(name: str, cohort: str | None, of_cosine: dict[str, object]) -> BackEnd:
    """Raises `UsageError` for an unknown one, a PLDA without recordings to learn from, and options of the other."""
    from earwitness.core.errors import UsageError

    if name == "cosine":
        return "cosine"
    if name != "plda":
        raise UsageError(f"unknown back end '{name}'", where="--back-end", fix="Use cosine or plda.")
    if cohort is None:
        fix = "Name recordings of other speakers, several of each, as --cohort."
        raise UsageError("a PLDA needs recordings to learn from", where="--back-end", fix=fix)
    if given := [option for option, value in of_cosine.items() if value]:
        what = "belongs to the cosine; a PLDA subtracts its own mean and normalises no scores"
        raise UsageError(what, where=given[0], fix="Leave it out.")
    return "plda"


def _check(task: str, ways: dict[str, Any], engine: str) -> None:
    """Raises `UsageError` for options that this version does not have, or that don't fit together."""
    from earwitness.core.errors import UsageError

    if task not in ("deepfake", "speaker", "quality"):
        fix = "This version scores: deepfake, speaker, quality."
        raise UsageError(f"unknown task '{task}'", where="--task", fix=fix)
    if engine != "local":
        raise UsageError(f"unknown engine '{engine}'", where="--engine", fix="This version runs: local.")
    given = [name for name, value in ways.items() if value]
    if task != "speaker" and given:
        raise UsageError(f"{given[0]} belongs to --task speaker", fix="Choose that task, or leave the option out.")
    if task == "speaker" and len(given) != 1:
        what = "scoring speakers needs either --trials or --reference (or --known, --cluster, --embeddings)"
        raise UsageError(what, fix="Name one of them.")


def _check_of_trials(trials: Path | None, cohort: str | None, of_cohort: dict[str, object], allow_leak: bool) -> None:
    """Raises `UsageError` for options of trials without trials, and of a cohort without one."""
    from earwitness.core.errors import UsageError

    if trials is None and (cohort or allow_leak):
        raise UsageError(f"{'--cohort' if cohort else '--allow-leak'} belongs to --trials", fix="Name a trial list.")
    if cohort is None and (given := [name for name, value in of_cohort.items() if value]):
        raise UsageError(f"{given[0]} belongs to --cohort", fix="Name the recordings of other speakers.")


def _check_of_uncertainty(trials: Path | None, uncertainty: str | None, calibration: Path | None) -> None:
    """Raises `UsageError` for an unknown use of the variance, one without trials, and one with a calibration."""
    from earwitness.core.errors import UsageError

    if uncertainty is None:
        return
    if uncertainty not in ("up_cos", "conservative"):
        raise UsageError(f"unknown use '{uncertainty}'", where="--uncertainty", fix="Use up_cos or conservative.")
    if trials is None:
        raise UsageError("--uncertainty belongs to --trials", fix="Name a trial list.")
    if calibration is not None:
        what = "a calibration is of the model's own comparison"
        raise UsageError(what, where="--calibration", fix="Leave --uncertainty out.")


def _check_of_segments(task: str, segments: float | None, others: dict[str, object], window: float | None) -> None:
    """Raises `UsageError` for segments of another task, options that segments don't have, and a window without any."""
    from earwitness.core.errors import UsageError

    if segments is None:
        if window is not None:
            raise UsageError("--window belongs to --segments", fix="Say how long a segment is.")
        return
    if task != "deepfake":
        raise UsageError("segments are of --task deepfake", where="--segments")
    if given := [name for name, value in others.items() if value]:
        raise UsageError("is of whole recordings, not of segments", where=given[0], fix="Leave one of the two out.")


def _submissions(given: list[str], task: str, trials: Path | None, output: Path) -> list[tuple[str, Path]]:
    """Form and path of each. Raises `UsageError` for an unknown form, one of another task, and a path named twice."""
    from earwitness.core.errors import UsageError
    from earwitness.evaluation.judging.score_files import submission_task

    found: list[tuple[str, Path]] = []
    for text in given:
        form, _, path = text.partition(":")
        if not path:
            raise UsageError(f"'{text}' is not FORM:PATH", where="--submission", fix="For example arena:scores.txt.")
        about = submission_task(form)
        if about != task or (task == "speaker" and not trials):
            needed = "--task deepfake" if about == "deepfake" else "--trials"
            raise UsageError(f"'{form}' is a form for {needed}", where="--submission")
        if Path(path) in [output, *(other for _, other in found)]:
            raise UsageError("two outputs have this path", where=path, fix="Name each differently.")
        found.append((form, Path(path)))
    return found


def _submit(form: str, task: str, output: Path, path: Path) -> str:
    """Write a finished table in the form of a challenge; gives the sha256."""
    from earwitness.evaluation.judging.labelled import score_table
    from earwitness.evaluation.judging.score_files import write_submission

    return write_submission(form, score_table(cast("Task", task), output), path)
