"""`earwitness evaluate localisation`: how well segment scores say where the spoofed parts are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from earwitness.cli.figures import interval_note, percent
from earwitness.core.errors import UsageError, printable

if TYPE_CHECKING:
    from earwitness.evaluation.judging.judge import JudgeOptions
    from earwitness.evaluation.results.localising import Localisation


def refuse_others(task: str, options: Mapping[str, object]) -> None:
    """Raise `UsageError` naming the first option that was given: it would go unheeded."""
    for name, given in options.items():
        if given:
            raise UsageError(f"says nothing about {task}", where=name, fix="Leave the option out.")


def localise_scores(scores: Path, key: Path | None, options: JudgeOptions, *, negate: bool, out: Path | None) -> None:
    """Judge, write and print."""
    from earwitness.evaluation.results.files import write_result_file
    from earwitness.evaluation.results.localising import localise
    from earwitness.evaluation.results.requests import LocaliseRequest

    if key is None:
        fix = "Give an RTTM file, an .npz of segment labels, or a folder of them."
        raise UsageError("is needed to know where the spoofed parts are", where="--key", fix=fix)
    result = localise(LocaliseRequest(scores=scores, key=key, negate=negate, options=options))
    if out is not None:  # before the print: the reader of a pipe may have seen enough
        write_result_file(out, result)
    for line in _lines(result):
        typer.echo(printable(line))


def _lines(result: Localisation) -> Iterator[str]:
    yield f"localisation: {result.bonafide} bona fide, {result.spoof} spoofed utterances; higher = bona fide"
    if result.failed:
        yield f"not judged: {result.failed} with an error"
    yield ""
    yield f"  scores of {result.step_ms} ms"
    for measure in result.measures:
        yield f"  {measure.name:20} {percent(measure.interval)}"
    yield f"  {interval_note(result.measures[0].interval)}"
    if result.undone:
        yield ""
        yield from result.undone
    yield ""
    yield from (f"{measure.name}: {measure.definition}" for measure in result.measures)
    if result.notes:
        yield ""
    yield from (f"note: {note}" for note in result.notes)
