"""`earwitness examine`: one recording, all questions, one report."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli.standard_input import DASH, spooled, told

if TYPE_CHECKING:
    from earwitness.deepfake.retrieval.index import Index
    from earwitness.examine.finding import GenuineNeighbour, Report

RECORDINGS = typer.Argument(
    metavar="REC...", help="Recordings: anything that holds sound; folders and globs too; - is standard input."
)
REFERENCE = typer.Option(help="Recordings of the claimed speaker: all values up to the next option.")
KNOWN = typer.Option(help="Known voices: a folder of sub-folders or NAME-1.wav, NAME-2.wav, or a manifest.")
HTML = typer.Option(help="Write one self-contained page.")
JSON = typer.Option("--json", help="Write the reports as data ('-' for standard output).")
INDEX = typer.Option(help="Show the recordings of this index of genuine speech that sound most alike.")
STRETCHES = typer.Option("--stretches", help="Mark parts that fall below the rest, with the errors of such marks.")
NO_MANNER = typer.Option("--no-manner", help="Say nothing of how it was said: pace, pitch, age, emotion.")
MODEL = typer.Option(metavar="TASK=NAME", help="Another model, e.g. deepfake=deepfake-small.")


def examine(
    recordings: Annotated[list[str], RECORDINGS],
    reference: Annotated[list[str] | None, REFERENCE] = None,
    known: Annotated[str | None, KNOWN] = None,
    html: Annotated[Path | None, HTML] = None,
    json_output: Annotated[Path | None, JSON] = None,
    model: Annotated[list[str] | None, MODEL] = None,
    index: Annotated[Path | None, INDEX] = None,
    stretches: Annotated[bool, STRETCHES] = False,
    no_manner: Annotated[bool, NO_MANNER] = False,
) -> None:
    """Say what a recording can testify to: genuine or synthetic, and with `--reference`, the same voice or not.

    With `--known`, whose of several known voices it is, or none of theirs.

    Each answer comes with its evidence, its strength and its limits; "inconclusive" is an answer. A stereo call is
    examined per channel. Exit code 1: some recordings could not be read (they are listed).

    Example: `earwitness examine call.m4a --reference claimed-1.wav claimed-2.wav --html report.html`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.core.writing import require_writable
    from earwitness.evaluation.scoring.inputs import read_input
    from earwitness.examine.examiner import Examiner, expand

    for output in (html, None if str(json_output) == "-" else json_output):
        if output is not None:
            require_writable(output)
    with ExitStack() as until_the_end:
        spool = until_the_end.enter_context(spooled()) if DASH in recordings else None
        paths = expand(str(spool) if name == DASH else name for name in recordings)
        references = expand(reference or [])
        genuine_speech = None if index is None else _opened(index)
        manner = not no_manner
        load = partial(
            Examiner.load, _chosen(model or []), stretches=stretches, genuine_speech=genuine_speech, manner=manner
        )
        if known is None:
            examiner = load()
        else:
            with progress_bar("hearing known voices", len(read_input(known))) as step:
                examiner = load(known=known, progress=step)
        enrolment = examiner.enrol(references)
        outcomes = []
        with progress_bar("examining", len(paths)) as step:
            for path in paths:
                outcomes.append(examiner.attempt(path, enrolment))
                step()
        heard = [report for outcome in outcomes for report in outcome.reports]
        reports = [replace(report, path=told(report.path, spool)) for report in heard]
        _show(reports, json_output, several=len(paths) > 1)
        if html and reports:
            _write_html(reports, [report.path for report in heard], html, genuine_speech)
    failures = [told(outcome.failure, spool) for outcome in outcomes if outcome.failure]
    for failure in failures:
        typer.echo(f"earwitness: {failure}", err=True)
    if failures:
        raise typer.Exit(1)


def _show(reports: list[Report], json_output: Path | None, several: bool) -> None:
    """On the terminal in words, unless the data go to standard output: an array where several recordings were named."""
    from rich.console import Console

    from earwitness.core.writing import write_atomically
    from earwitness.examine.report_json import report_to_json, reports_to_json
    from earwitness.examine.report_text import print_report, print_summary

    data = report_to_json(reports[0]) if len(reports) == 1 and not several else reports_to_json(reports)
    if str(json_output) == "-":
        typer.echo(data)
        return
    console = Console()
    for report in reports:
        print_report(report, console)
    if len(reports) > 1:
        print_summary(reports, console)
    if json_output:
        write_atomically(json_output, data)


def _opened(folder: Path) -> Index:
    """Raises `DataError` and `ModelError` where it cannot be asked."""
    from earwitness.deepfake.retrieval.index import Index

    return Index.open(folder)


def _write_html(reports: list[Report], files: list[str], page: Path, index: Index | None) -> None:
    from earwitness.audio.reading import RATE, stream
    from earwitness.core.writing import write_atomically
    from earwitness.examine.report_html import render_html
    from earwitness.examine.report_media import audio_from_blocks

    sounds = [
        audio_from_blocks(stream(file, RATE, report.channel), RATE, round(report.duration_s * RATE))
        for report, file in zip(reports, files, strict=True)
    ]
    write_atomically(page, render_html(reports, sounds, _clips(reports, index) if index else {}))


def _clips(reports: list[Report], index: Index) -> dict[GenuineNeighbour, bytes]:
    """Listening copies of the genuine neighbours, without those whose recordings are gone or are others by now."""
    from earwitness.core.errors import AudioError
    from earwitness.examine.genuine_speech import clip_of
    from earwitness.examine.report_media import listening_copy

    clips: dict[GenuineNeighbour, bytes] = {}
    for neighbour in (n for report in reports for finding in report.findings for n in finding.neighbours):
        try:
            clips[neighbour] = listening_copy(clip_of(index, neighbour))
        except AudioError as error:
            typer.echo(f"earwitness: a genuine recording cannot be played in the page: {error}", err=True)
    return clips


def _chosen(pairs: list[str]) -> dict[str, str]:
    """`TASK=NAME` pairs. Raises `UsageError` for another form or task."""
    from earwitness.core.errors import UsageError
    from earwitness.examine.models import TASKS

    chosen = {}
    for pair in pairs:
        task, equals, name = pair.partition("=")
        if not equals or task not in TASKS:
            fix = f"For example deepfake=deepfake-small; tasks: {', '.join(TASKS)}."
            raise UsageError(f"'{pair}' is not TASK=NAME", where="--model", fix=fix)
        chosen[task] = name
    return chosen
