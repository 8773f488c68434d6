"""`earwitness compare`: is one system really better than another?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from earwitness.cli.figures import interval_note, number
from earwitness.core.errors import printable

if TYPE_CHECKING:
    from earwitness.evaluation.judging.labelled import Task
    from earwitness.evaluation.judging.units import Unit
    from earwitness.evaluation.results.comparing import ComparisonResult
    from earwitness.metrics.detection import EerMethod


def compare(
    first: Annotated[Path, typer.Argument(metavar="SCORES_A", help="Scores of one system.")],
    second: Annotated[Path, typer.Argument(metavar="SCORES_B", help="Scores of another, of the same rows.")],
    key: Annotated[Path | None, typer.Option(help="Manifest, table (id, label, ...), or a protocol's key.")] = None,
    task: Annotated[str | None, typer.Option(help="deepfake, speaker or sasv; without it told by A.")] = None,
    protocol: Annotated[str | None, typer.Option(help="A published benchmark, e.g. asvspoof2019-la.")] = None,
    subset: Annotated[str | None, typer.Option(help="Of the protocol's key: eval, progress, hidden, all.")] = None,
    negate_first: Annotated[
        bool, typer.Option("--negate-first", help="A grows towards spoof, or other speakers.")
    ] = False,
    negate_second: Annotated[bool, typer.Option("--negate-second", help="So does B.")] = False,
    eer: Annotated[
        str, typer.Option(help="interpolated, asvspoof, rocch, nearest_mean or nearest_max.")
    ] = "interpolated",
    cost: Annotated[list[str] | None, typer.Option(help="Cost models, e.g. asvspoof5 vox01 sre16.")] = None,
    unit: Annotated[str, typer.Option(help="Intervals over: auto, speaker, system or utterance.")] = "auto",
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    json: Annotated[Path | None, typer.Option("--json", help="Write everything as JSON.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Write plots into this folder.")] = None,
) -> None:
    """Figures of two score files on the same rows and the same resamples, and the interval of their difference.

    The difference is A minus B: of every figure but AUC, below 0 means that A is better. Whole speakers and systems are
    resampled together, in both files alike, so that what both find hard does not widen the interval.

    Example: `earwitness compare mine.csv theirs.csv --key test.csv`
    """
    from earwitness.evaluation.judging.judge import JudgeOptions
    from earwitness.evaluation.judging.score_files import task_of
    from earwitness.evaluation.results.comparing import compare_files, scores_of
    from earwitness.evaluation.results.files import write_result_file
    from earwitness.evaluation.results.requests import CompareRequest
    from earwitness.metrics.costs import cost_preset

    request = CompareRequest(
        task=cast("Task", task or task_of(first)),
        first=first,
        second=second,
        key=key,
        protocol=protocol,
        subset=subset,
        negate_first=negate_first,
        negate_second=negate_second,
        options=JudgeOptions(
            eer_method=cast("EerMethod", eer),
            unit=cast("Unit", unit),
            costs=tuple(cost_preset(name) for name in cost or ()),
            n_resamples=resamples,
            seed=seed,
        ),
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
