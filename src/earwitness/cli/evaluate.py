"""`earwitness evaluate`: how good scores are, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from earwitness.core.errors import UsageError, printable

if TYPE_CHECKING:
    from earwitness.evaluation.judging import Group, Judgement, JudgeOptions, Measure, Unit
    from earwitness.evaluation.labelled import LabelledScores, Task
    from earwitness.evaluation.trivial import ControlReport
    from earwitness.metrics.bootstrap import Interval
    from earwitness.metrics.detection import EerMethod

_CLASSES = {"deepfake": ("bona fide", "spoof"), "speaker": ("target", "non-target")}


def evaluate(
    task: Annotated[str, typer.Argument(help="deepfake or speaker.")],
    scores: Annotated[Path, typer.Argument(help="The table that `earwitness score` wrote.")],
    key: Annotated[Path | None, typer.Option(help="Manifest or table: id, label, and more columns.")] = None,
    by: Annotated[list[str] | None, typer.Option(help="A table for each value of these columns.")] = None,
    eer: Annotated[
        str, typer.Option(help="interpolated, asvspoof, rocch, nearest_mean or nearest_max.")
    ] = "interpolated",
    unit: Annotated[str, typer.Option(help="Intervals over: auto, speaker, system or utterance.")] = "auto",
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and the control.")] = 0,
    control: Annotated[
        Path | None, typer.Option(help="Training manifest: compare with a control on trivial features.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write everything as JSON.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Write plots into this folder.")] = None,
) -> None:
    """Error rates, costs and calibration of scores, each with a 95 % interval over speakers and systems.

    Higher scores mean bona fide (deepfake) or same speaker (speaker). Every scored row must be in the key and every row
    of the key must be scored. With --control the key must be the manifest of the scored files: a classifier that knows
    only duration, level, bandwidth and silence learns from the given training manifest and is judged on the same rows.

    Example: `earwitness evaluate deepfake scores.parquet --key test.csv --by language --json result.json`
    """
    from earwitness.core.writing import write_atomically
    from earwitness.evaluation.judging import JudgeOptions, judge
    from earwitness.evaluation.labelled import read_labelled

    options = JudgeOptions(
        eer_method=cast("EerMethod", eer),
        unit=cast("Unit", unit),
        by=tuple(by or ()),
        n_resamples=resamples,
        seed=seed,
    )
    table = read_labelled(cast("Task", task), scores, key)
    judgement = judge(table, options)
    report = None if control is None else _against_control(table, control, key, options)
    for line in [*_lines(judgement), *_control_lines(report)]:
        typer.echo(printable(line))
    if json is not None:
        write_atomically(json, _as_json(judgement, report))
    if plots is not None:
        from earwitness.evaluation.plots import write_plots

        for path in write_plots(table, plots):
            typer.echo(f"wrote {path}", err=True)


def _against_control(table: LabelledScores, train: Path, key: Path | None, options: JudgeOptions) -> ControlReport:
    from earwitness.corpora.manifest import Manifest
    from earwitness.evaluation.trivial import control_report

    if key is None or table.task != "deepfake":
        fix = "Give the manifest of the scored files as --key."
        raise UsageError("the control needs the recordings of a deepfake test", where="--control", fix=fix)
    return control_report(table, Manifest.read(train), Manifest.read(key), options)


def _lines(judgement: Judgement) -> Iterator[str]:
    positive, negative = _CLASSES[judgement.task]
    yield f"{judgement.task}: {judgement.positives} {positive}, {judgement.negatives} {negative}; higher = {positive}"
    if judgement.failed or judgement.unlabelled:
        yield f"not judged: {judgement.failed} with an error, {judgement.unlabelled} without a label"
    yield ""
    for measure in judgement.measures:
        yield f"  {measure.name:20} {_number(measure)}   {measure.definition}"
    first = judgement.measures[0].interval
    yield f"  95 % intervals: {first.n_resamples} resamples over {first.unit}, {first.n_units} of the scarcer unit"
    for column in dict.fromkeys(group.column for group in judgement.groups):
        yield ""
        groups = [group for group in judgement.groups if group.column == column]
        yield f"by {column:26} {positive:>10} {negative:>10}   EER"
        yield from (_group_line(group) for group in groups)
    if judgement.notes:
        yield ""
    for note in judgement.notes:
        yield f"note: {note}"


def _group_line(group: Group) -> str:
    found = "-" if group.eer is None else _percent(group.eer)
    note = f"   ({group.note})" if group.note else ""
    return f"  {group.value:27} {group.positives:10} {group.negatives:10}   {found}{note}"


def _control_lines(report: ControlReport | None) -> Iterator[str]:
    if report is None:
        return
    found = report.comparison
    yield ""
    yield f"against the trivial control (duration, level, bandwidth, silence), EER on {found.rows} rows"
    for name, interval in (
        (found.first, found.eer.first),
        (found.second, found.eer.second),
        ("difference", found.eer.difference),
    ):
        yield f"  {name:20} {_percent(interval)}"
    yield f"  {found.answer}"
    yield f"  the control learnt from {report.scores.trained_on} rows; {len(report.scores.unread)} could not be read"
    if found.left_out:
        yield f"  {found.left_out} rows could be scored by one of the two only and are not compared"


def _number(measure: Measure) -> str:
    if measure.name == "EER":
        return _percent(measure.interval)
    found = measure.interval
    return f"{found.value:7.4f}   [{found.low:7.4f}, {found.high:7.4f}]"


def _percent(interval: Interval) -> str:
    return f"{interval.value:7.2%}   [{interval.low:7.2%}, {interval.high:7.2%}]"


def _as_json(judgement: Judgement, report: ControlReport | None) -> str:
    import json
    from dataclasses import asdict

    data = asdict(judgement)
    if report is not None:
        data["control"] = asdict(report.comparison) | {
            "answer": report.comparison.answer,
            "trained_on": report.scores.trained_on,
            "unread": list(report.scores.unread),
        }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
