"""`earwitness flan`: instruction records in the schema of Audio-FLAN."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(
    help="Instruction records (Audio-FLAN): validate, convert, vary, sample, describe.", no_args_is_help=True
)

MOST_TOLD = 10  # problems on standard error

_Records = Annotated[
    Path, typer.Argument(metavar="RECORDS", help="JSONL, Parquet, or a folder in the released layout.")
]


@app.command()
def validate(
    given: _Records,
    leaks: Annotated[bool, typer.Option(help="Look for clips and speakers in several splits too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print as data.")] = False,
) -> None:
    """List what is wrong with records, each fault with its line; exit 1 where there are any.

    Example: `earwitness flan validate records.jsonl`
    """
    import json
    from dataclasses import asdict

    from earwitness.core.errors import printable
    from earwitness.speech_llm.flan.leaks import find_record_leaks
    from earwitness.speech_llm.flan.reading import read_records, record_files
    from earwitness.speech_llm.flan.validation import validate_files

    files = record_files(given)
    report = validate_files(files)
    found = find_record_leaks(read_records(given)) if leaks and not report.faulty else []
    if as_json:
        typer.echo(json.dumps(asdict(report) | {"leaks": [str(leak) for leak in found]}, ensure_ascii=False))
    else:
        for fault in report.listed:
            typer.echo(printable(str(fault)))
        for leak in found:
            typer.echo(printable(f"leak: {leak}"))
        kinds = "; ".join(f"{kind} {count}" for kind, count in report.kinds.items())
        typer.echo(f"{report.records} records, {report.faulty} at fault{f': {kinds}' if kinds else ''}", err=True)
        if report.faulty and leaks:
            typer.echo("leaks were not looked for, since records are at fault", err=True)
    if report.faulty or found:
        raise typer.Exit(1)


@app.command()
def convert(
    given: Annotated[Path, typer.Argument(metavar="GIVEN", help="A manifest, items (JSONL), or records.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder for records of a manifest, else a file.")],
    source: Annotated[
        Literal["manifest", "items", "records"], typer.Option("--from", help="What GIVEN is; records become items.")
    ] = "manifest",
    task: Annotated[list[str] | None, typer.Option(help="Only this task (repeat it) [all].")] = None,
    unseen: Annotated[list[str] | None, typer.Option(help="Mark this task as held out (repeat it).")] = None,
    simulate: Annotated[int, typer.Option(min=0, help="Recordings to spoil for each simulated task.")] = 0,
    pairs: Annotated[int, typer.Option(min=1, help="Most pairs a task, corpus and split.")] = 200,
    file_format: Annotated[Literal["jsonl", "parquet"], typer.Option("--format", help="Of shards.")] = "jsonl",
    shard: Annotated[int, typer.Option(min=1, help="Records a shard.")] = 10_000,
    split: Annotated[Literal["train", "dev", "test"], typer.Option(help="Of records from items.")] = "test",
    data_root: Annotated[
        Path | None, typer.Option(help="Recordings lie under it; paths in items are told from it.")
    ] = None,
    non_commercial: Annotated[bool, typer.Option(help="Use recordings whose licence forbids commerce too.")] = False,
    allow_leak: Annotated[bool, typer.Option("--allow-leak", help="Go on although splits share clips.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
) -> None:
    """Make records of every task that a manifest's labels support; or of CPQA and CP-Bench items, and back.

    Example: `earwitness flan convert data/all.csv -o flan --simulate 50`
    """
    if source != "manifest":
        _convert_items(given, output, source, split, data_root or Path())
        return
    from earwitness.cli.progress import progress_bar
    from earwitness.core.errors import printable
    from earwitness.core.records import RunRecord, command_line
    from earwitness.corpora.manifest import Manifest
    from earwitness.corpora.splits import exclude_licences
    from earwitness.speech_llm.flan.building import BuildOptions, build_records
    from earwitness.speech_llm.flan.converting import Clips

    manifest = Manifest.read(given, data_root)
    manifest = manifest if non_commercial else exclude_licences(manifest)
    options = BuildOptions(
        tuple(task or ()), tuple(unseen or ()), pairs, simulate, file_format, shard, allow_leak, seed
    )
    with progress_bar("records", None) as step:
        built = build_records(Clips.of(manifest, seed), output, options, step)
    settings = {"options": str(options), "non_commercial": non_commercial}
    licences = sorted(manifest.table["licence"].drop_nulls().unique())
    RunRecord.make(
        command_line(),
        settings,
        seed=seed,
        inputs={str(given): manifest.sha256},
        licences=licences,
        notes=built.leaks,
    ).write(output / "run.json")
    for name, count in built.counts.items():
        typer.echo(f"{count:8} {name}")
    for problem in built.problems:
        typer.echo(printable(f"{problem.id}: {problem.what}"), err=True)
    typer.echo(f"{sum(built.counts.values())} records in {len(built.files)} files: {output}", err=True)
    if built.problems:
        raise typer.Exit(1)


def _convert_items(given: Path, output: Path, source: str, split: str, data_root: Path) -> None:
    from earwitness.core.errors import DataError, printable
    from earwitness.speech_llm.flan.cp_items import item_of_record, record_of_item
    from earwitness.speech_llm.flan.reading import AudioTable, read_records
    from earwitness.speech_llm.flan.writing import write_records
    from earwitness.speech_llm.items import read_items, write_items

    if source == "items":
        items = read_items(given)
        write_records(output, (record_of_item(item, split) for item in items))
        typer.echo(f"{len(items)} records: {output}", err=True)
        return
    table = AudioTable.read(given if given.is_dir() else given.parent)
    found, problems = [], []
    for record in read_records(given):
        try:
            found.append(item_of_record(record, table.of(record), data_root))
        except DataError as error:
            problems.append(str(error))
    write_items(output, found)
    for problem in problems[:MOST_TOLD]:
        typer.echo(printable(problem), err=True)
    if len(problems) > MOST_TOLD:
        typer.echo(f"and {len(problems) - MOST_TOLD} more", err=True)
    typer.echo(f"{len(found)} items, {len(problems)} records that are none: {output}", err=True)
    if problems:
        raise typer.Exit(1)


@app.command()
def vary(
    given: _Records,
    output: Annotated[Path, typer.Option("-o", "--output", help="The varied records, e.g. varied.jsonl.")],
    client: Annotated[Path, typer.Option(help="A YAML file that names a text model (see `earwitness bench doctor`).")],
    replies: Annotated[Path | None, typer.Option(help="Where replies are kept [OUTPUT.replies.jsonl].")] = None,
    review: Annotated[Path | None, typer.Option(help="Records to look at [OUTPUT.review.jsonl].")] = None,
    together: Annotated[int, typer.Option(min=1, help="Records a question.")] = 4,
    tries: Annotated[int, typer.Option(min=1, help="Questions a record at most.")] = 3,
    temperature: Annotated[float, typer.Option(min=0.0, help="Of the model.")] = 0.9,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the model.")] = 0.95,
    threads: Annotated[int, typer.Option(min=1, help="Questions at the same time.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of examples, and of the model.")] = 0,
) -> None:
    """Rewrite instructions by a language model, behind a guard; what it spoils is asked again, then set aside.

    Replies are kept: a run that was killed goes on, and the same again asks nothing. Exit 1 where records were set
    aside.

    Example: `earwitness flan vary records.jsonl --client llama.yaml -o varied.jsonl`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.core.errors import printable
    from earwitness.speech_llm.clients import read_client
    from earwitness.speech_llm.flan.reading import read_records
    from earwitness.speech_llm.flan.records import Record
    from earwitness.speech_llm.flan.variation import Tally, VaryOptions, vary
    from earwitness.speech_llm.flan.writing import write_records
    from earwitness.speech_llm.kept import KeptRecords

    records = list(read_records(given))
    options = VaryOptions(together, tries=tries, temperature=temperature, top_p=top_p, threads=threads, seed=seed)
    model = read_client(client)
    tally, taken, aside = Tally(), list[Record](), list[Record]()
    kept_in = replies or output.with_suffix(".replies.jsonl")
    with KeptRecords(kept_in) as kept, progress_bar("varying", len(records)) as step:
        for outcome in vary(records, model, kept, options):
            tally.add(outcome)
            (aside if outcome.record is None else taken).append(outcome.record or outcome.original)
            step()
    write_records(output, taken)
    write_records(review or output.with_suffix(".review.jsonl"), aside)
    typer.echo(str(tally))
    for why, count in tally.failures.most_common(MOST_TOLD):
        typer.echo(printable(f"{count} record(s): {why}"), err=True)
    if aside:
        raise typer.Exit(1)


@app.command()
def sample(
    given: _Records,
    output: Annotated[Path, typer.Option("-o", "--output", help="The drawn records, JSONL.")],
    size: Annotated[int, typer.Option(min=1, help="How many.")],
    exponent: Annotated[float, typer.Option("-a", "--exponent", help="0: tasks alike; 1: as they are.")] = 0.5,
    split: Annotated[Literal["train", "dev", "test"] | None, typer.Option(help="Only of this split [all].")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
) -> None:
    """Draw records so that large tasks don't drown small ones: a task's share is its size to the power of the exponent.

    A record comes again only when all others of its task came; it then has a uuid of its own.

    Example: `earwitness flan sample flan --size 10000 --exponent 0.5 -o mixed.jsonl`
    """
    from collections import Counter

    from earwitness.speech_llm.flan.balance import balanced_draw
    from earwitness.speech_llm.flan.reading import read_records
    from earwitness.speech_llm.flan.records import repeated
    from earwitness.speech_llm.flan.writing import write_records

    records = [record for record in read_records(given) if split is None or split in record.split]
    places = balanced_draw([record.minor for record in records], size, exponent, seed)
    times: Counter[int] = Counter()
    drawn = []
    for place in places.tolist():
        times[place] += 1
        drawn.append(records[place] if times[place] == 1 else repeated(records[place], times[place]))
    write_records(output, drawn)
    for task, count in Counter(record.minor for record in drawn).most_common():
        typer.echo(f"{count:8} {task}")


@app.command()
def describe(given: _Records, as_json: Annotated[bool, typer.Option("--json", help="Print as data.")] = False) -> None:
    """Print what records hold: tasks, splits, how often the most frequent answer is right, how instructions differ.

    Example: `earwitness flan describe flan`
    """
    import json

    from earwitness.core.errors import printable
    from earwitness.speech_llm.flan.describing import describe as described
    from earwitness.speech_llm.flan.reading import read_records

    found = described(read_records(given))
    if as_json:
        typer.echo(json.dumps(found.plain(), ensure_ascii=False))
        return
    for line in str(found).splitlines():
        typer.echo(printable(line))


@app.command()
def baseline(
    given: _Records,
    predictions: Annotated[Path | None, typer.Option(help="A model's answers: JSONL of uuid, prediction.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as data.")] = False,
) -> None:
    """Print what is right without hearing anything: the majority answer, and a reader of the instruction alone.

    Example: `earwitness flan baseline flan --predictions answers.jsonl`
    """
    import json
    from dataclasses import asdict

    from earwitness.core.errors import printable
    from earwitness.speech_llm.flan.baselines import baselines, read_predictions
    from earwitness.speech_llm.flan.describing import aligned
    from earwitness.speech_llm.flan.reading import read_records

    given_answers = None if predictions is None else read_predictions(predictions)
    found = baselines(read_records(given), given_answers)
    if as_json:
        typer.echo(json.dumps([asdict(task) for task in found], ensure_ascii=False))
        return
    rows = [("task", "answers", "answerer", "test", "answered", "accuracy", "mean recall")]
    for task in found:
        for one in task.judged:
            shares = ["-" if share is None else f"{100 * share:.1f} %" for share in (one.accuracy, one.recall)]
            rows.append(
                (task.task, str(task.classes), one.answerer, str(one.count), str(one.answered), shares[0], shares[1])
            )
    for line in aligned(rows):
        typer.echo(printable(line))
