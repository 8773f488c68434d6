"""`earwitness calibrate`: likelihood ratios and thresholds from the user's own trials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from earwitness.cli.figures import interval_note, percent
from earwitness.cli.judging import Cost, Key, Negate, Protocol, Resamples, Seed, Subset, UnitName, judge_options
from earwitness.core.errors import printable

if TYPE_CHECKING:
    from earwitness.evaluation.judging.tasks import Task
    from earwitness.evaluation.results.calibrating import CalibrationResult


def calibrate(
    task: Annotated[str, typer.Argument(help="deepfake or speaker.")],
    scores: Annotated[Path, typer.Argument(help="Scores of labelled trials like those that will be judged.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.json.")],
    key: Key = None,
    protocol: Protocol = None,
    subset: Subset = None,
    negate: Negate = False,
    cost: Cost = None,
    unit: UnitName = "auto",
    resamples: Resamples = 1000,
    seed: Seed = 0,
) -> None:
    """Fit log-likelihood ratios and thresholds on labelled scores, and write them with their provenance.

    Refuses, with exit code 2, where the classes overlap too much to decide. The ratios are bounded by what the trials
    support. Use the file with `evaluate --calibration` and `score --calibration`, on other trials than these.

    Example: `earwitness calibrate speaker scores.csv --key trials.csv -o our-telephones.json`
    """
    from earwitness.evaluation.results.calibrating import calibrate as run
    from earwitness.evaluation.results.files import write_result_file
    from earwitness.evaluation.results.requests import CalibrateRequest

    request = CalibrateRequest(
        task=cast("Task", task),
        scores=scores,
        key=key,
        protocol=protocol,
        subset=subset,
        negate=negate,
        options=judge_options(unit, resamples, seed, cost),
    )
    result = run(request)
    write_result_file(output, result)
    for line in _lines(result):
        typer.echo(printable(line))
    typer.echo(f"wrote {output}", err=True)


def _lines(result: CalibrationResult) -> Iterator[str]:
    fitted = result.calibration
    yield f"{result.task}: {fitted.positives} positive and {fitted.negatives} negative trials of {result.model or '?'}"
    yield f"  llr = {fitted.scale:.6g} x score {fitted.offset:+.6g}, within [{fitted.low:.2f}, {fitted.high:.2f}]"
    yield f"  EER {percent(result.eer)}"
    yield f"  Cllr {result.cllr:.4f} bits on units that the fit did not see; at best {result.min_cllr:.4f}"
    yield f"  {interval_note(result.eer)}"
    for threshold in result.thresholds:
        yield f"  threshold {threshold.name:10} {threshold.score:10.4f}   {threshold.words}"
    for words in result.unsupported:
        yield f"  no threshold for {words}: these trials support no ratio on both sides of it"
    for note in result.record.notes:
        yield f"note: {note}"
