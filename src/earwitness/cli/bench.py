"""`earwitness bench`: test a model that hears on questions about recordings, and say what the result is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli.bench_build import build
from earwitness.cli.bench_doctor import doctor
from earwitness.cli.judge_validation import validate

if TYPE_CHECKING:
    from earwitness.speech_llm.bench.report import Report
    from earwitness.speech_llm.bench.scores import Run

app = typer.Typer(
    help="Test a model that hears: run, judge, report. CP-Bench's protocol, on any questions.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of the run.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Requests at once.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask again what has failed.")]


@app.command()
def run(
    items: Annotated[Path, typer.Argument(metavar="ITEMS", help="The questions, JSONL.")],
    client: Annotated[Path, typer.Option(help="The model: YAML of a client.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")],
    data_root: Annotated[Path, typer.Option(help="Folder of the audio; nothing outside of it is read.")] = Path(),
    reader: Annotated[str, typer.Option(help="The form of ITEMS; `earwitness bench readers` lists them.")] = "items",
    controls: Annotated[str, typer.Option(help="Of silence, shuffle, text-only, transcript, by commas.")] = "",
    length: Annotated[str, typer.Option(help="full, first:SECONDS or chunk:SECONDS.")] = "full",
    samples: Annotated[int, typer.Option(min=1, help="Answers to each question, each with a seed of its own.")] = 1,
    system: Annotated[str | None, typer.Option(help="A system line.")] = None,
    temperature: Annotated[float, typer.Option(min=0)] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 256,
    seed: Annotated[int, typer.Option(help="Of decoding and of the shuffled clips.")] = 1,
    concurrency: Concurrency = 8,
    retry_failed: RetryFailed = False,
) -> None:
    """Put every question to a model, and under each control; the answers are kept as they come.

    A run that was killed goes on where it was. Exit code 1: some questions have failed; they have no score.

    Example: `earwitness bench run items.jsonl --client model.yaml --data-root audio -o run --controls silence,shuffle`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.speech_llm.bench.asking import Asked, Asking, controls_named, settings_of
    from earwitness.speech_llm.bench.readers import read_questions
    from earwitness.speech_llm.bench.recordings import Recordings
    from earwitness.speech_llm.clients import Params, read_client

    asked = Asked(controls_named(controls), samples, concurrency, retry_failed)
    model, questions = read_client(client), read_questions(reader, items, data_root)
    params = Params(temperature, 1.0, max_tokens, seed)
    settings = settings_of(model, questions, params, system=system, length=length, shuffle_seed=seed)
    asking = Asking(output, model, questions, Recordings(data_root), settings, asked)
    with progress_bar("reading audio", len(questions)) as step:
        cells = asking.cells(step)
    with progress_bar("asking", len(cells)) as step:
        outcome = asking.ask(cells, step)
    typer.echo(f"{outcome.asked} asked, {outcome.there} were there, {outcome.failed} failed: {output}", err=True)
    if outcome.failed:
        _say_failures(output)
        raise typer.Exit(1)


@app.command()
def judge(
    folder: Folder,
    judge: Annotated[Path, typer.Option(help="The judge: YAML of the client of a text model.")],
    runs: Annotated[int, typer.Option(min=1, help="Judgements of each answer.")] = 5,
    temperature: Annotated[float | None, typer.Option(min=0, help="[default: 0.7, for one run 0]")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of a judgement.")] = 512,
    seed: Annotated[int, typer.Option(help="Of the first run.")] = 1,
    concurrency: Concurrency = 8,
    retry_failed: RetryFailed = False,
) -> None:
    """Have the answers of a run rated, 0 to 5 by a rubric, several times each.

    Failures are not judged and a refusal scores 0. Exit code 1: some judgements hold no rating.

    Example: `earwitness bench judge run --judge judge.yaml --runs 5`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.speech_llm.bench.judging import Judged, Judging
    from earwitness.speech_llm.clients import read_client

    judged = Judged(runs, temperature, max_tokens, seed, concurrency, retry_failed)
    judging = Judging(folder, read_client(judge), judged)
    cells = judging.cells()
    with progress_bar("judging", len(cells)) as step:
        outcome = judging.judge_all(cells, step)
    typer.echo(
        f"{outcome.made} judged, {outcome.there} were there, {outcome.unparsed} without a rating, "
        f"{outcome.failed} failed: {folder}",
        err=True,
    )
    if outcome.unparsed or outcome.failed:
        _say_unrated(folder, judging.judge.id)
        raise typer.Exit(1)


@app.command()
def report(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print as data.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page.")] = None,
    human: Annotated[Path | None, typer.Option(help="CSV of ratings by people.")] = None,
    compare: Annotated[
        list[Path] | None, typer.Option(help="Another run over the same questions; several by repeating it.")
    ] = None,
    judge: Annotated[str | None, typer.Option(help="The begin of a judge's id, where several have judged.")] = None,
    form: Annotated[Path | None, typer.Option(help="Write a CSV of 100 answers for people to rate.")] = None,
    judged: Annotated[Path | None, typer.Option(help="Write labelled answers with scores, for `validate`.")] = None,
) -> None:
    """Print what a run's answers are worth: scores with intervals, what the audio adds, what failed.

    A function of the kept files alone: nothing is asked, and the same files give the same bytes.

    Example: `earwitness bench report run --html report.html --human ratings.csv --compare other-run`
    """
    from earwitness.core.writing import write_atomically
    from earwitness.speech_llm.bench.page import render_html, render_text
    from earwitness.speech_llm.bench.report import Asked, make_report
    from earwitness.speech_llm.bench.scores import read_run

    made = make_report(folder, Asked(human, tuple(compare or ()), judge))
    if form is not None or judged is not None:
        _write_more(form, judged, read_run(folder, judge))
    if html is not None:
        write_atomically(html, render_html(made))
    typer.echo(made.json() if as_json else "\n".join(render_text(made)), nl=not as_json)
    _refuse_invalid(made)


@app.command()
def readers() -> None:
    """List the forms of other benchmarks that `bench run --reader` takes.

    Example: `earwitness bench readers`
    """
    from earwitness.speech_llm.bench.readers import READERS

    for name, reader in READERS.items():
        typer.echo(f"{name}: {(reader.__doc__ or '').strip().splitlines()[0]}")


@app.command()
def selfcheck() -> None:
    """Run models that are known to the harness through all of it, and print what it says of them.

    A model that ignores the audio, one that knows the answers, a noisy judge, and intervals on simulated clips.

    Example: `earwitness bench selfcheck`
    """
    from earwitness.core.errors import printable
    from earwitness.speech_llm.bench.selfcheck import self_check

    wrong = False
    for one in self_check():
        wrong |= not one.holds
        typer.echo(printable(f"{'holds' if one.holds else 'FAILS'}  {one.claim}: {one.found}"))
    if wrong:
        raise typer.Exit(1)


app.command("build")(build)
app.command("doctor")(doctor)
app.command("validate")(validate)


def _say_failures(folder: Path, most: int = 10) -> None:
    """Up to ten failures on standard error, with their items."""
    from earwitness.core.errors import printable
    from earwitness.speech_llm.bench.records import FAILURES, read_answers

    failed = [one for one in read_answers(folder) if one.status in FAILURES]
    for one in failed[:most]:
        typer.echo(printable(f"earwitness: {one.item_id} ({one.condition}): {one.status}: {one.error}"), err=True)
    if len(failed) > most:
        typer.echo(f"earwitness: and {len(failed) - most} more, see answers.jsonl", err=True)
    typer.echo("earwitness: --retry-failed asks them again", err=True)


def _say_unrated(folder: Path, judge: str, most: int = 5) -> None:
    """Why judgements hold no rating, the most frequent reasons first."""
    from collections import Counter

    from earwitness.core.errors import printable
    from earwitness.speech_llm.bench.records import read_judgements

    unrated = [one for one in read_judgements(folder) if one.status != "ok" and one.judge == judge]
    for (status, error), count in Counter((one.status, one.error) for one in unrated).most_common(most):
        typer.echo(printable(f"earwitness: {count} judgement(s): {status}: {error}"), err=True)
    typer.echo("earwitness: see judgements.jsonl; --retry-failed asks them again", err=True)


def _write_more(form: Path | None, judged: Path | None, run: Run) -> None:
    from earwitness.speech_llm.bench.labels import write_judged
    from earwitness.speech_llm.bench.people import write_form

    if form is not None:
        typer.echo(f"wrote {write_form(form, run)} answers to rate: {form}", err=True)
    if judged is not None:
        typer.echo(f"wrote {write_judged(judged, run)} labelled answers: {judged}", err=True)


def _refuse_invalid(made: Report) -> None:
    """Exit code 1 for a run whose judgements lack too many ratings."""
    from earwitness.speech_llm.bench.statements import invalid

    if invalid(made):
        raise typer.Exit(1)
