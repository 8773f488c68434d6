"""`earwitness corpus`: recordings become a manifest, are checked, split, counted, and written for other tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli.data_root import DataRoot
from earwitness.cli.engine_options import EngineName, Workers
from earwitness.cli.mixtures import mix

if TYPE_CHECKING:
    from rich.table import Table

    from earwitness.corpora.inspection import Count, Problem
    from earwitness.corpora.manifest import Manifest

app = typer.Typer(help="Tables of recordings: import, check, split, describe, mix.", no_args_is_help=True)

Given = Annotated[Path, typer.Argument(metavar="MANIFEST", help="A manifest: CSV, Parquet or JSONL.")]
SHOWN = 50  # problems printed one by one; --json gives all


@app.command("import")
def import_(
    reader: Annotated[str, typer.Argument(help="folder, manifest, kaldi, asvspoof5, ...; a wrong name lists all.")],
    path: Annotated[Path, typer.Argument(help="What the reader reads.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.csv, OUT.parquet or OUT.jsonl.")],
    workers: Workers = None,
    engine: EngineName = "local",
) -> None:
    """Make a manifest of a corpus. Missing durations and rates are read from the files.

    Example: `earwitness corpus import folder recordings/ -o recordings/manifest.csv`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.core.engines import engine_named
    from earwitness.core.errors import printable
    from earwitness.corpora.inspection import fill_from_files
    from earwitness.corpora.readers import read_corpus

    works = engine_named(engine, workers)
    imported = read_corpus(reader, path)
    with progress_bar("reading", len(imported.manifest)) as step:
        manifest, problems = fill_from_files(imported.manifest, step, works)
    manifest.write(output)
    for note in imported.notes:
        typer.echo(printable(note), err=True)
    typer.echo(f"{len(manifest)} rows: {output}", err=True)
    if len(problems) == len(manifest) > 1 and not any(manifest.resolve(row).exists() for row in manifest.rows()):
        where = f"none of the recordings is where the list says, e.g. {manifest.resolve(manifest.row(0))}"
        typer.echo(printable(f"{where}: durations and rates stay empty"), err=True)
        return
    _list_problems(problems)


@app.command()
def export(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="kaldi, lhotse, nemo, audformat, rttm, ctm, textgrid, or the list of a protocol, e.g. asvspoof5.",
        ),
    ],
    given: Given,
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder, or a file for nemo, rttm, ctm and cuts.")],
    data_root: DataRoot = None,
) -> None:
    """Write a manifest in the format of another tool; what the format has no place for is listed.

    Example: `earwitness corpus export kaldi train.csv -o data/train`
    """
    from earwitness.core.errors import printable
    from earwitness.corpora.formats import write_corpus
    from earwitness.corpora.manifest import Manifest
    from earwitness.corpora.readers.detection import DETECTION_READERS, write_protocol

    manifest = Manifest.read(given, data_root)
    if form in DETECTION_READERS:
        write_protocol(form, manifest, output)
        notes: tuple[str, ...] = ("columns that the list has no place for are left behind",)
    else:
        notes = write_corpus(form, manifest, output)
    for note in notes:
        typer.echo(printable(note), err=True)
    typer.echo(f"{len(manifest)} rows: {output}", err=True)


@app.command()
def check(
    given: Given,
    task: Annotated[
        str | None, typer.Option(help="Leaks of detection, speaker or manner; by default of detection.")
    ] = None,
    shared_voice: Annotated[list[str] | None, typer.Option(help="A voice on both sides by rule (repeat it).")] = None,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every file whole: finds truncated ones.")] = False,
    workers: Workers = None,
    engine: EngineName = "local",
    data_root: DataRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check the table, open every file, and look for equal files and for leaks between splits.

    For the task manner also ages that nobody has, labels of emotion that their corpus's map does not name,
    intensities outside of 0..1, and sides of a split with one category. Exit code 1 when a row has a problem; 2 when
    the table itself is not a manifest.

    Example: `earwitness corpus check corpus.csv --task detection --shared-voice lj`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.core.engines import engine_named
    from earwitness.core.errors import UsageError
    from earwitness.corpora.inspection import Problem, inspect_files
    from earwitness.corpora.leaks import find_leaks
    from earwitness.corpora.manifest import Manifest

    task = task or "detection"
    if task not in ("detection", "speaker", "manner"):
        raise UsageError(f"unknown task '{task}'", where="--task", fix="Choose detection, speaker or manner.")
    works = engine_named(engine, workers)
    manifest = Manifest.read(given, data_root)
    with progress_bar("checking", len(manifest)) as step:
        inspected = inspect_files(manifest, step, decode, works)
    leaks = find_leaks(manifest, task, shared_voice or (), inspected.hashes)  # type: ignore[arg-type]
    of_rows = [*inspected.problems, *(_of_manner(manifest) if task == "manner" else ())]
    problems = [*of_rows, *(Problem(f"leak ({task})", str(leak)) for leak in leaks)]
    if as_json:
        _print_json({"rows": len(manifest), "sha256": manifest.sha256, "problems": [vars(found) for found in problems]})
    else:
        typer.echo(f"{len(manifest)} rows, {len(of_rows)} problem(s) in rows, {len(leaks)} leak(s)")
    _list_problems(problems, quiet=as_json)


@app.command()
def split(
    given: Given,
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.csv, OUT.parquet or OUT.jsonl.")],
    rule: Annotated[
        str, typer.Option(help="by_column, detection, given_folds, speaker, or a YAML file with `kind` and fields.")
    ],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A field, e.g. seed=1 or test_families=[hifigan].")
    ] = None,
    data_root: DataRoot = None,
) -> None:
    """Write the column `split` by a rule; what stands on no side keeps its row, with the reason in `left_out`.

    Example: `earwitness corpus split all.csv --rule detection --set shared_voices=[lj] -o split.csv`
    """
    from earwitness.core.config import parse_config
    from earwitness.corpora.manifest import Manifest
    from earwitness.corpora.splits import SplitConfig, split

    result = split(Manifest.read(given, data_root), parse_config(SplitConfig, _rule(rule, settings or []), where=rule))
    result.write(output)
    _print_sides(result)


@app.command()
def describe(
    given: Given,
    data_root: DataRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Count recordings, hours, speakers and systems by label, corpus, split, system, rate and licence.

    Example: `earwitness corpus describe corpus.csv`
    """
    from dataclasses import asdict

    from earwitness.corpora.inspection import describe
    from earwitness.corpora.manifest import Manifest

    summary = describe(Manifest.read(given, data_root))
    if as_json:
        _print_json(asdict(summary))
        return
    from rich.console import Console

    console = Console()
    console.print(_table("In all", [summary.total]))
    parts = ("labels", "corpora", "splits", "families", "systems", "languages", "rates", "licences")
    for part in parts:
        if counts := getattr(summary, part):
            console.print(_table(part.capitalize(), counts))
    if summary.rows_without_duration:
        console.print(f"{summary.rows_without_duration} row(s) without a duration are not in the hours")


@app.command()
def labels() -> None:
    """Show how the emotion labels of each corpus are read: one category each, or dropped, and their strengths.

    Example: `earwitness corpus labels`
    """
    from earwitness.cli.emotion import print_labels

    print_labels()


@app.command()
def expand(
    given: Given,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder of the new recordings and manifest.csv.")],
    twins: Annotated[bool, typer.Option("--twins", help="Each human recording once more, by vocoders.")] = False,
    splices: Annotated[
        bool, typer.Option("--splices", help="Human recordings with a stretch replaced, at known places.")
    ] = False,
    vocoder: Annotated[
        list[str] | None,
        typer.Option(help="world, griffin-lim, codec2 or lpc (repeat it); by default the first three."),
    ] = None,
    per_row: Annotated[int | None, typer.Option(help="Twins a recording; by default one by each vocoder.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Splices: spoof, twin, genuine or none (repeat it); by default all.")
    ] = None,
    host_seconds: Annotated[
        float | None, typer.Option(help="Splices: join recordings of a speaker until they last so long.")
    ] = None,
    insert_seconds: Annotated[
        tuple[float, float] | None, typer.Option(help="Splices: shortest and longest insert; 0.5 3.")
    ] = None,
    cross_fade_ms: Annotated[
        tuple[float, float] | None, typer.Option(help="Splices: shortest and longest fade at either end; 10 30.")
    ] = None,
    identities: Annotated[
        int | None, typer.Option(min=1, help="So many invented speakers, each between two real ones (INSIDE).")
    ] = None,
    synthesiser: Annotated[
        str | None, typer.Option(help="Identities: world (default), kokoro, toy, or package.module:Class.")
    ] = None,
    control: Annotated[
        str | None, typer.Option(help="Identities: another arm, resynthesis, random-pairs, lerp or cross-sex.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Identities: a field, e.g. pairs.neighbours=3 or utterances=8.")
    ] = None,
    sources: Annotated[
        Path | None, typer.Option(help="Identities: who may be a parent, one a line; by default all who train.")
    ] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Identities: a manifest or a list of speakers who will be tested on.")
    ] = None,
    filter_model: Annotated[
        str | None, typer.Option(help="Identities: a speaker model that filters in the synthesiser's place.")
    ] = None,
    verifier: Annotated[
        str | None, typer.Option(help="Identities: a speaker model; prints what it makes of the new ones.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the settings that are drawn.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    data_root: DataRoot = None,
) -> None:
    """Add spoofs made here to a corpus: copy-synthesis twins, splices, or invented speakers.

    In twins only the synthesis differs. Splices are hosts with a stretch of synthesis (spoof, twin) and their controls
    (genuine, none); splices.rttm says where. Identities lie half-way between two real speakers; a verifier trained on
    them too (`expansion` of a recipe) may know strangers better. What cannot be made is listed, with exit code 1; the
    rest is made all the same.

    Example: `earwitness corpus expand corpus.csv --twins --per-row 2 -o twins/`
    """
    from contextlib import ExitStack

    from earwitness.cli.progress import progress_bar
    from earwitness.core.errors import UsageError, printable
    from earwitness.corpora import splices as splicing
    from earwitness.corpora import twins as twinning
    from earwitness.corpora.manifest import Manifest

    if (asked := [twins, splices, identities is not None].count(True)) != 1:
        what = "one at a time" if asked else "nothing is asked to be added"
        raise UsageError(what, fix="Add --twins, --splices or --identities N.")
    own: dict[str, object] = {
        "--synthesiser": synthesiser,
        "--control": control,
        "--set": settings,
        "--sources": sources,
        "--held-out": held_out,
        "--filter-model": filter_model,
        "--verifier": verifier,
    }
    lengths = {"--host-seconds": host_seconds, "--insert-seconds": insert_seconds, "--cross-fade-ms": cross_fade_ms}
    options_of: dict[str, dict[str, object]] = {
        "twins": {"--per-row": per_row},
        "splices": {"--kind": kind, **lengths},
        "identities": own,
    }
    made_now = "twins" if twins else "splices" if splices else "identities"
    for other in sorted(options_of.keys() - {made_now}):
        if given_in_vain := [name for name, value in options_of[other].items() if value is not None]:
            raise UsageError(f"belongs to --{other}", where=given_in_vain[0])
    if identities is not None:
        if vocoder:
            raise UsageError("belongs to --twins and --splices", where="--vocoder", fix="Name a --synthesiser.")
        from earwitness.cli.identities import Asked
        from earwitness.cli.identities import expand as expand_identities

        wanted = Asked(identities, synthesiser, control, settings or (), sources, held_out, filter_model, verifier)
        problems = expand_identities(Manifest.read(given, data_root), output, wanted, seed, resume, workers)
        _list_problems(problems)
        return
    manifest, vocoders = Manifest.read(given, data_root), tuple(vocoder or twinning.DEFAULT_VOCODERS)
    with ExitStack() as stack:

        def progress(total: int) -> Callable[[], None]:
            return stack.enter_context(progress_bar("making splices" if splices else "making twins", total))

        if splices:
            options = splicing.SpliceOptions(
                kinds=tuple(kind or splicing.KINDS),  # type: ignore[arg-type]
                host_s=host_seconds,
                insert_s=insert_seconds or splicing.SpliceOptions.insert_s,
                cross_fade_ms=cross_fade_ms or splicing.SpliceOptions.cross_fade_ms,
                vocoders=vocoders,
                seed=seed,
            )
            spliced = splicing.expand(manifest, output, options, resume=resume, workers=workers, progress=progress)
            notes, problems, said = spliced.notes, spliced.problems, f"{len(spliced.manifest)} splices"
        else:
            twin_options = twinning.TwinOptions(per_row=per_row, seed=seed, vocoders=vocoders)
            made = twinning.expand(manifest, output, twin_options, resume=resume, workers=workers, progress=progress)
            notes, problems = made.notes, made.problems
            said = f"{made.twins} twins beside {len(made.manifest) - made.twins} rows"
    for note in notes:
        typer.echo(printable(note), err=True)
    typer.echo(f"{said}: {output / 'manifest.csv'}", err=True)
    _list_problems(problems)


app.command("mix")(mix)


def _rule(rule: str, settings: Sequence[str]) -> object:
    """The data of a rule: a file or a kind, with single fields set over it."""
    import yaml

    from earwitness.core.config import read_yaml
    from earwitness.core.errors import UsageError

    data = read_yaml(rule) if rule.endswith((".yaml", ".yml")) else {"kind": rule}
    if not isinstance(data, dict):
        return data
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"'{setting}' is not name=value", where="--set", fix="E.g. --set seed=1.")
        try:
            data = {**data, name.strip(): yaml.safe_load(value)}
        except yaml.YAMLError:
            raise UsageError(f"'{value}' is not a YAML value", where=f"--set {name}") from None
    return data


def _print_sides(manifest: Manifest) -> None:
    from collections import Counter

    sides = Counter(zip(manifest.table["split"], manifest.table["label"], strict=True))
    for side in ("train", "dev", "test", None):
        counts = {label: sides[side, label] for label in ("bonafide", "spoof", None) if sides[side, label]}
        if counts:
            rows = ", ".join(f"{count} {label or 'unlabelled'}" for label, count in counts.items())
            typer.echo(f"{side or 'left out'}: {sum(counts.values())} ({rows})", err=True)
    reasons = Counter(reason for reason in manifest.table["left_out"] if reason)
    for reason, count in reasons.most_common():
        typer.echo(f"  {count} left out: {reason}", err=True)


def _list_problems(problems: Sequence[Problem], quiet: bool = False) -> None:
    """Print the problems and end with exit code 1 where there are any."""
    from earwitness.core.errors import printable

    if not problems:
        return
    if not quiet:
        for problem in problems[:SHOWN]:
            typer.echo(printable(f"{problem.id}: {problem.what}"), err=True)
        if len(problems) > SHOWN:
            typer.echo(f"and {len(problems) - SHOWN} more", err=True)
    raise typer.Exit(1)


def _print_json(data: object) -> None:
    import json

    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _of_manner(manifest: Manifest) -> list[Problem]:
    from earwitness.paralinguistic.label_checks import manner_problems  # brings torch, which other tasks do without

    return manner_problems(manifest)


def _table(title: str, counts: Sequence[Count]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from earwitness.core.errors import printable

    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for heading in ("recordings", "hours", "speakers", "systems"):
        table.add_column(heading, justify="right")
    for count in counts:
        name = escape(printable(count.name))
        table.add_row(name, str(count.rows), f"{count.hours:.2f}", str(count.speakers), str(count.systems))
    return table
