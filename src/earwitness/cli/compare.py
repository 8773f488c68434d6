"""`earwitness compare`: is one system really better than another?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from earwitness.cli.figures import interval_note, number
from earwitness.cli.judging import (
    Cost,
    Eer,
    JsonOut,
    Key,
    Plots,
    Protocol,
    Resamples,
    Seed,
    Subset,
    UnitName,
    judge_options,
)
from earwitness.core.errors import printable

if TYPE_CHECKING:
    from earwitness.evaluation.judging.manner import Manner
    from earwitness.evaluation.judging.tasks import Task
    from earwitness.evaluation.results.comparing import ComparisonResult


def compare(
    first: Annotated[Path, typer.Argument(metavar="SCORES_A", help="Scores of one system.")],
    second: Annotated[Path, typer.Argument(metavar="SCORES_B", help="Scores of another, of the same rows.")],
    key: Key = None,
    task: Annotated[
        str | None, typer.Option(help="deepfake, speaker, sasv, age or emotion; without it told by A.")
    ] = None,
    protocol: Protocol = None,
    subset: Subset = None,
    negate_first: Annotated[
        bool, typer.Option("--negate-first", help="A grows towards spoof, or other speakers.")
    ] = False,
    negate_second: Annotated[bool, typer.Option("--negate-second", help="So does B.")] = False,
    eer: Eer = "interpolated",
    cost: Cost = None,
    unit: UnitName = "auto",
    resamples: Resamples = 1000,
    seed: Seed = 0,
    json: JsonOut = None,
    plots: Plots = None,
) -> None:
    """Figures of two score files on the same rows and the same resamples, and the interval of their difference.

    The difference is A minus B: of every figure but AUC and UA, below 0 means that A is better. Whole speakers and
    systems are resampled together, in both files alike, so that what both find hard does not widen the interval.

    Example: `earwitness compare mine.csv theirs.csv --key test.csv`
    """
    from earwitness.cli.localisation import refuse_others
    from earwitness.cli.manner import compare_tables
    from earwitness.evaluation.judging.manner import manner_of
    from earwitness.evaluation.judging.score_files import task_of
    from earwitness.evaluation.results.comparing import compare_files, scores_of
    from earwitness.evaluation.results.files import write_result_file
    from earwitness.evaluation.results.requests import CompareRequest

    manner = manner_of(first) if task is None else task if task in ("age", "emotion") else None
    if manner is not None:
        refuse_others(
            manner,
            {
                **{"--protocol": protocol, "--subset": subset, "--plots": plots, "--negate-first": negate_first},
                **{"--negate-second": negate_second, "--cost": cost, "--unit": unit != "auto"},
                "--eer": eer != "interpolated",
            },
        )
        options = judge_options(unit, resamples, seed, cost)
        compare_tables(cast("Manner", manner), first, second, key, options, out=json)
        return
    request = CompareRequest(
        task=cast("Task", task or task_of(first)),
        first=first,
        second=second,
        key=key,
        protocol=protocol,
        subset=subset,
        negate_first=negate_first,
        negate_second=negate_second,
        options=judge_options(unit, resamples, seed, cost, eer),
    )
    result = compare_files(request)
    if json is not None:  # before the print: the reader of a pipe may have seen enough
        write_result_file(json, result)
    for line in _lines(result, first, second):
        typer.echo(printable(line))
    if plots is not None:
        from earwitness.evaluation.judging.plots import write_comparison_plot

        one, two = scores_of(request)
        typer.echo(f"wrote {write_comparison_plot(one, two, (first.name, second.name), plots)}", err=True)


def _lines(result: ComparisonResult, first: Path, second: Path) -> Iterator[str]:
    found = result.comparison
    yield f"A: {first}"
    yield f"B: {second}"
    yield f"{found.rows} rows in both; {found.left_out} in one of the two only, and not compared"
    for measure in found.measures:
        yield ""
        yield f"{measure.name}: {measure.definition}"
        yield f"  A           {number(measure.paired.first, measure.scale)}"
        yield f"  B           {number(measure.paired.second, measure.scale)}"
        yield f"  A minus B   {number(measure.paired.difference, measure.scale)}"
    yield ""
    yield interval_note(found.eer.difference)
    yield f"by the {found.measures[0].name}: {result.answer}"
    for note in result.notes:
        yield f"note: {note}"
