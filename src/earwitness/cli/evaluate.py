"""`earwitness evaluate`: how good scores are, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from earwitness.cli.data_root import DataRoot
from earwitness.cli.engine_options import shared_cores
from earwitness.cli.figures import CLASSES, interval_note, number, percent
from earwitness.cli.judging import (
    Cost,
    Eer,
    JsonOut,
    Key,
    Negate,
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
    from earwitness.evaluation.judging.judge import Group, Judgement
    from earwitness.evaluation.judging.manner import Manner
    from earwitness.evaluation.judging.tasks import Task
    from earwitness.evaluation.judging.trivial import ControlReport
    from earwitness.evaluation.perturbing import PerturbedResult
    from earwitness.evaluation.results.evaluating import Evaluation


def evaluate(
    task: Annotated[str, typer.Argument(help="deepfake, speaker, sasv, localisation, personal-vad, age or emotion.")],
    scores: Annotated[
        Path,
        typer.Argument(help="What `earwitness score` wrote, a score file of others, or (personal-vad) models."),
    ],
    key: Key = None,
    protocol: Protocol = None,
    subset: Subset = None,
    asv: Annotated[Path | None, typer.Option(help="Scores of a speaker verifier, for the t-DCF.")] = None,
    asv_key: Annotated[Path | None, typer.Option(help="Key of the verifier's scores (ASVspoof 2021).")] = None,
    calibration: Annotated[Path | None, typer.Option(help="What `earwitness calibrate` wrote: gives llr.")] = None,
    negate: Negate = False,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="A table for each value of these columns; of speaker trials also duration, snr, sex and channel, made "
            "of what the table tells of both sides."
        ),
    ] = None,
    eer: Eer = "interpolated",
    cost: Cost = None,
    unit: UnitName = "auto",
    resamples: Resamples = 1000,
    seed: Seed = 0,
    control: Annotated[
        str,
        typer.Option(
            help="Control beside a detector: auto (trivial features, by folds of the test), a training manifest, "
            "dnsmos or distillmos (the MOS alone), or none."
        ),
    ] = "auto",
    perturb: Annotated[
        str | None, typer.Option(help="Score again under perturbations: all, or names with commas.")
    ] = None,
    perturbed: Annotated[Path, typer.Option(help="Folder for those scores.")] = Path("perturbed"),
    model: Annotated[str | None, typer.Option(help="The model of the scores, where it does not ship.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Recordings at once [one a core], with --perturb.")] = None,
    json: JsonOut = None,
    plots: Plots = None,
    data_root: DataRoot = None,
) -> None:
    """Error rates, costs and calibration of scores, each with a 95 % interval over speakers and systems.

    Higher scores mean bona fide (deepfake, localisation), same speaker (speaker), or the same speaker in person (sasv).
    Every scored row must be in the key and every row of the key must be scored. Beside a detector stands the trivial
    control: gradient boosting that knows only duration, level, bandwidth and silence, on the same rows. Localisation
    takes scores of segments (id, start, end, score) and as its key an RTTM file, an .npz of labels, or a folder of
    them. personal-vad takes a model folder, or a folder of runs, and as its key the list that `earwitness corpus mix`
    wrote. age and emotion take a manifest as their key; emotion also a run instead of scores, or a folder of runs that
    are its folds. `earwitness reproduce` runs a JSON result again.

    Example: `earwitness evaluate deepfake scores.parquet --key test.csv --by language --json result.json`
    """
    from earwitness.cli.emotion import evaluate_runs, refuse_key
    from earwitness.cli.localisation import localise_scores, refuse_others
    from earwitness.cli.manner import evaluate_table, is_table
    from earwitness.cli.personal_vad import evaluate_models
    from earwitness.cli.progress import progress_bar
    from earwitness.evaluation.results.evaluating import evaluate as run
    from earwitness.evaluation.results.evaluating import scores_of, steps_of
    from earwitness.evaluation.results.files import write_result_file
    from earwitness.evaluation.results.requests import EvaluateRequest

    options = judge_options(unit, resamples, seed, cost, eer, by)
    if task in ("localisation", "personal-vad", "age", "emotion"):
        others = {
            **{"--protocol": protocol, "--subset": subset, "--asv": asv, "--asv-key": asv_key},
            **{"--calibration": calibration, "--control": control != "auto", "--perturb": perturb, "--plots": plots},
        }
        refuse_others(task, others)
        tables = task == "age" or (task == "emotion" and is_table(scores))
        if not tables:
            refuse_others(task, {"--model": model})
        if task != "localisation":
            refuse_others(task, {"--negate": negate, "--by": by, "--cost": cost, "--unit": unit != "auto"})
        if tables:
            refuse_others(task, {"--eer": eer != "interpolated"})
            evaluate_table(cast("Manner", task), scores, key, options, model=model, out=json)
            return
        if task == "personal-vad":
            evaluate_models(scores, key, resamples=resamples, seed=seed, out=json)
            return
        if task == "emotion":
            refuse_others(task, {"--json": json})
            refuse_key(key)
            evaluate_runs(scores, resamples=resamples, seed=seed)
            return
        localise_scores(scores, key, options, negate=negate, out=json)
        return
    request = EvaluateRequest(
        task=cast("Task", task),
        scores=scores,
        key=key,
        protocol=protocol,
        subset=subset,
        asv=asv,
        asv_key=asv_key,
        calibration=calibration,
        negate=negate,
        control=control,
        model=model,
        perturb=() if perturb is None else tuple(perturb.split(",")),
        perturbed=None if perturb is None else perturbed,
        options=options,
    )
    steps = steps_of(request)
    at_once = shared_cores(workers, steps) if steps else 1
    with progress_bar("perturbing", steps) as step:
        result = run(request, workers=at_once, progress=step)
    if json is not None:  # before the print: the reader of a pipe may have seen enough
        write_result_file(json, result)
    if plots is not None:
        from earwitness.evaluation.judging.plots import write_plots

        for path in write_plots(scores_of(request), plots):
            typer.echo(f"wrote {path}", err=True)
    for line in _lines(result):
        typer.echo(printable(line))


def _lines(result: Evaluation) -> Iterator[str]:
    yield from _judgement_lines(result.judgement)
    if result.control is not None:
        yield from _control_lines(result.control)
    elif result.judgement.task == "deepfake":
        yield ""
        yield f"no trivial control: {result.no_control}"
    if result.perturbed:
        yield from _perturbed_lines(result.perturbed)
    yield ""
    yield from result.statement
    for measure in result.judgement.measures:
        yield f"{measure.name}: {measure.definition}"
    notes = [*result.notes, *result.judgement.notes]
    if notes:
        yield ""
    for note in notes:
        yield f"note: {note}"


def _judgement_lines(judgement: Judgement) -> Iterator[str]:
    positive, negative = CLASSES[judgement.task]
    yield f"{judgement.task}: {judgement.positives} {positive}, {judgement.negatives} {negative}; higher = {positive}"
    if judgement.failed or judgement.unlabelled:
        yield f"not judged: {judgement.failed} with an error, {judgement.unlabelled} without a label"
    yield ""
    for measure in judgement.measures:
        yield f"  {measure.name:20} {number(measure.interval, measure.scale)}"
    yield f"  {interval_note(judgement.measures[0].interval)}"
    for column in dict.fromkeys(group.column for group in judgement.groups):
        yield ""
        groups = [group for group in judgement.groups if group.column == column]
        yield f"by {column:26} {positive:>10} {negative:>10}   EER"
        yield from (_group_line(group) for group in groups)


def _group_line(group: Group) -> str:
    found = "-" if group.eer is None else percent(group.eer)
    note = f"   ({group.note})" if group.note else ""
    return f"  {group.value:27} {group.positives:10} {group.negatives:10}   {found}{note}"


def _control_lines(report: ControlReport) -> Iterator[str]:
    found = report.comparison
    yield ""
    knows = " (duration, level, bandwidth, silence)" if found.second == "the trivial control" else ""
    yield f"against {found.second}{knows}, EER on {found.rows} rows"
    for name, interval in (
        (found.first, found.eer.first),
        (found.second, found.eer.second),
        ("difference", found.eer.difference),
    ):
        yield f"  {name:20} {percent(interval)}"
    yield f"  {report.answer}"
    yield f"  the control learnt from {report.learnt_from}; {len(report.unread)} could not be read"
    if found.left_out:
        yield f"  {found.left_out} rows could be scored by one of the two only and are not compared"


def _perturbed_lines(results: tuple[PerturbedResult, ...]) -> Iterator[str]:
    yield ""
    yield f"{'under a perturbation':28} {'EER':>8}   {'minus clean, 95 % interval':30} failed"
    for result in results:
        if result.eer is None or result.difference is None:
            yield f"  {result.name:26} {'-':>8}   {result.note}"
            continue
        low, high = f"{result.difference.low:+.2%}", f"{result.difference.high:+.2%}"
        change = f"{result.difference.value:+8.2%}   [{low:>8}, {high:>8}]"
        yield f"  {result.name:26} {result.eer.value:8.2%}   {change:30} {result.failed:6}   {result.words}"
    names = dict.fromkeys(other.name for result in results for other in result.others)
    for name in (one for one in names if one.startswith(("minDCF", "minCllr", "Cllr"))):
        yield ""
        yield f"{'under a perturbation':28} {name}   minus clean, 95 % interval"
        yield from (_other_line(result, name) for result in results if result.others)


def _other_line(result: PerturbedResult, name: str) -> str:
    found = next((other.paired for other in result.others if other.name == name), None)
    if found is None:
        return f"  {result.name:26} {'-':>{len(name)}}"
    change = found.difference
    limits = f"[{change.low:+.4f}, {change.high:+.4f}]"
    return f"  {result.name:26} {found.first.value:{len(name)}.4f}   {change.value:+.4f}   {limits}"
