"""`earwitness qa`: speech condensed to what recognisers of emotion agree on, and questions made about it (CPQA)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli.engine_options import shared_cores

if TYPE_CHECKING:
    from earwitness.corpora.manifest import Manifest
    from earwitness.speech_llm.cpqa.generating import GenerateConfig, Writer
    from earwitness.speech_llm.cpqa.transcribing import Problem
    from earwitness.speech_llm.cpqa.words import WordSource

app = typer.Typer(
    help="Questions about recordings that need words and voice (CPQA): condense, sweep, generate, validate.",
    no_args_is_help=True,
)

MOST_TOLD = 10  # problems on standard error; the files have all

Settings = Annotated[Path | None, typer.Option("--settings", help="A YAML file with settings that differ.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="key.sub=value, over the settings (repeat it).")]


@app.command()
def condense(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Files, folders, globs or manifests.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the condensed set.")],
    recogniser: Annotated[
        list[str] | None,
        typer.Option(
            help="A model of emotions, its folder, one of transformers, or an ONNX file (repeat it) [emotion-fast]."
        ),
    ] = None,
    valence: Annotated[
        str, typer.Option(help="A folder of a valence model (audEERING's layout), or `classes`: made of the classes.")
    ] = "classes",
    gender: Annotated[str, typer.Option(help="pitch, or none.")] = "pitch",
    words: Annotated[
        str, typer.Option(help="whisper, none, or a folder of WhisperX JSON, CTM or TextGrid files.")
    ] = "whisper",
    settings: Settings = None,
    assign: Set = None,
    data_root: Annotated[Path, typer.Option(help="Paths in the output are relative to this folder.")] = Path(),
    workers: Annotated[int | None, typer.Option(min=1, help="Recordings heard at once [as many as cores].")] = None,
) -> None:
    """Keep the speech on which class and valence agree: windows.jsonl, segments.jsonl, words.jsonl, recordings.jsonl.

    What was heard is kept: a run that was killed goes on, and other thresholds cost nothing. Every drop has its reason.

    Example: `earwitness qa condense recordings/ -o condensed --words none`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.core.config import parse_config
    from earwitness.core.errors import printable
    from earwitness.core.records import RunRecord, command_line
    from earwitness.evaluation.recognising import DEFAULT, open_recognisers
    from earwitness.speech_llm.cpqa.condensing import CondenseConfig
    from earwitness.speech_llm.cpqa.condensing import condense as run
    from earwitness.speech_llm.cpqa.summary import summary
    from earwitness.speech_llm.cpqa.transcribing import transcribe

    manifest = _inputs(inputs, data_root)
    config: CondenseConfig = parse_config(CondenseConfig, _settings(settings, assign), where=settings)
    who = open_recognisers(recogniser or [DEFAULT], valence, gender)
    source = _words(words)
    with progress_bar("listening", len(manifest)) as step:
        found = run(manifest, config, who, output, step, shared_cores(workers, len(manifest)))
    problems: list[Problem] = []
    if source is not None:
        with progress_bar("words", sum(row.kept for row in found.segments)) as step:
            _, problems = transcribe(found, manifest, source, output, step)
    told = {"config": config.model_dump(mode="json"), "recognisers": list(who.ids), "words": source and source.id}
    RunRecord.make(
        command_line(),
        told,
        seed=config.cap.seed,
        inputs={"recordings": manifest.sha256},
        weights=list(who.ids),
        seconds_heard=sum(row.seconds or 0.0 for row in found.recordings),
        notes=["labels are guesses of models"],
    ).write(output / "condense.json")
    for line in summary(found):
        typer.echo(line)
    for row in found.recordings:
        if row.error is not None:
            typer.echo(printable(f"{row.rec_id}: {row.error}"), err=True)
    for problem in problems:
        typer.echo(printable(f"{problem.seg_id}: {problem.what}"), err=True)
    if found.failed or problems:
        raise typer.Exit(1)


@app.command()
def sweep(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A condensed set.")],
    labels: Annotated[
        Path | None, typer.Option(help="Labels of people: `emotion`, and `win_id`, `seg_id` or `rec_id`.")
    ] = None,
    upper: Annotated[list[float] | None, typer.Option(help="x, for positives (repeat it) [0.3 to 0.7].")] = None,
    lower: Annotated[list[float] | None, typer.Option(help="y, for negatives (repeat it) [0.2 to 0.6].")] = None,
    least: Annotated[float, typer.Option(min=0, max=1, help="Smallest share of the windows to keep.")] = 0.3,
) -> None:
    """UWA, retention and evenness of the classes over a grid of thresholds; without labels no optimum is claimed.

    Example: `earwitness qa sweep condensed --labels labels.csv`
    """
    from earwitness.core.errors import printable
    from earwitness.speech_llm.cpqa import sweeping
    from earwitness.speech_llm.cpqa.forms import WINDOWS, WindowRow, read_rows

    windows = read_rows(folder / WINDOWS, WindowRow)
    truth: sweeping.Truth = {}
    if labels is not None:
        truth, unknown = sweeping.read_truth(labels, windows)
        for name, count in sorted(unknown.items()):
            typer.echo(printable(f"passed over: {count} row(s) labelled '{name}'"), err=True)
    guesses = sweeping.guesses_of(windows, truth)
    found = sweeping.sweep(guesses, upper or sweeping.UPPER, lower or sweeping.LOWER)
    for line in sweeping.told(found):
        typer.echo(line)
    if labels is None:
        typer.echo("no optimum: without labels of people (--labels) no thresholds are better than others")
        return
    cell = sweeping.best(found, least)
    chosen = f"x = {cell.thresholds.upper:g}, y = {cell.thresholds.lower:g}"
    typer.echo(f"highest UWA with at least {least:.0%} kept: {chosen}, UWA {100 * (cell.uwa or 0):.1f} %")
    typer.echo("chosen on these labels: its UWA is too high by that choice; test it on others")


@app.command()
def generate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A condensed set.")],
    client: Annotated[str, typer.Option(help="A client's YAML file, or `template`: no model.")] = "template",
    settings: Settings = None,
    assign: Set = None,
) -> None:
    """Write qa.jsonl (every pair, with the rule that rejected it) and items.jsonl (for `earwitness bench run`).

    Replies are kept: a second run asks nothing and writes the same bytes.

    Example: `earwitness qa generate condensed --client gpt.yaml`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.core.config import parse_config
    from earwitness.core.errors import printable
    from earwitness.core.hashing import sha256_file
    from earwitness.core.records import RunRecord, command_line
    from earwitness.speech_llm.cpqa import generating
    from earwitness.speech_llm.cpqa.clips import read_clips
    from earwitness.speech_llm.cpqa.forms import SEGMENTS

    config: GenerateConfig = parse_config(generating.GenerateConfig, _settings(settings, assign), where=settings)
    writer = _writer(client, config)
    with progress_bar("writing", len(read_clips(folder))) as step:
        found = generating.generate(folder, config, writer, step)
    told = {"config": config.model_dump(mode="json"), "generator": writer.id}
    inputs = {"segments": sha256_file(folder / SEGMENTS)}
    RunRecord.make(command_line(), told, seed=config.seed, inputs=inputs).write(folder / "generate.json")
    for line in generating.told(found):
        typer.echo(line)
    for failure in found.failures:
        typer.echo(printable(f"{failure.seg_id}: {failure.why}"), err=True)
    if found.failures:
        raise typer.Exit(1)


@app.command()
def validate(
    sets: Annotated[list[Path], typer.Argument(metavar="SET.jsonl...", help="Items, or pairs as in qa.jsonl.")],
    model: Annotated[list[Path], typer.Option(help="The client of a model that answers by ear (repeat it).")],
    judge: Annotated[list[Path], typer.Option(help="The client of a judge (repeat it).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of answers, ratings and validation.json.")],
    data_root: Annotated[Path, typer.Option(help="Paths of the recordings are relative to this folder.")] = Path(),
    settings: Settings = None,
    assign: Set = None,
) -> None:
    """Let models answer two sets, judges rate the answers by two prompts, and tell how far the sets agree.

    Example: `earwitness qa validate generated.jsonl human.jsonl --model qwen.yaml --judge llama.yaml -o validated`
    """
    import json
    from dataclasses import asdict

    from earwitness.cli.progress import progress_bar
    from earwitness.core.config import parse_config
    from earwitness.core.errors import printable
    from earwitness.core.hashing import sha256_file
    from earwitness.core.records import RunRecord, command_line
    from earwitness.core.writing import write_atomically
    from earwitness.speech_llm.clients import read_client
    from earwitness.speech_llm.cpqa import validating

    config: validating.ValidateConfig = parse_config(
        validating.ValidateConfig, _settings(settings, assign), where=settings
    )
    given = [validating.read_set(path) for path in sets]
    models, judges = ([read_client(path) for path in paths] for paths in (model, judge))
    with progress_bar("asking", validating.requests_of(given, len(models), len(judges), config)) as step:
        found = validating.validate(given, models, judges, config, data_root, output, step)
    told = {
        "config": config.model_dump(mode="json"),
        "models": [one.id for one in models],
        "judges": [one.id for one in judges],
    }
    record = RunRecord.make(
        command_line(), told, seed=config.seed, inputs={str(path): sha256_file(path) for path in sets}
    )
    result = {**asdict(found), "record": record.plain()}
    write_atomically(output / "validation.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    for line in validating.told(found):
        typer.echo(printable(line))
    for problem in found.problems[:MOST_TOLD]:
        typer.echo(printable(problem), err=True)
    if len(found.problems) > MOST_TOLD:
        typer.echo(f"and {len(found.problems) - MOST_TOLD} more, see {output / 'validation.json'}", err=True)
    if any(score.missing or score.unrated for score in found.scores):
        raise typer.Exit(1)


def _inputs(given: list[str], data_root: Path) -> Manifest:
    """All inputs as one manifest with paths from the data root; files are called by their path, rows by their id."""
    import polars as pl

    from earwitness.core.errors import UsageError
    from earwitness.core.writing import TABLE_FORMATS
    from earwitness.corpora.manifest import Manifest
    from earwitness.evaluation.scoring.inputs import read_input

    found = []
    for one in given:
        manifest = read_input(one).rebased(data_root)
        if Path(one).suffix.lower() not in TABLE_FORMATS:
            manifest = manifest.with_table(manifest.table.with_columns(id=pl.col("path")))
        found.append(manifest)
    table = pl.concat([manifest.table for manifest in found], how="diagonal_relaxed").unique(
        ["id", "path", "start", "end", "channel"], maintain_order=True
    )
    if twice := table["id"].filter(table["id"].is_duplicated()).to_list():
        raise UsageError(f"two recordings are called '{twice[0]}'", fix="Give their manifests different ids.")
    return Manifest(table, data_root)


def _settings(path: Path | None, changes: list[str] | None) -> object:
    from earwitness.core.config import read_yaml
    from earwitness.core.errors import RecipeError
    from earwitness.training.recipe import assign

    data = {} if path is None else read_yaml(path) or {}
    if not isinstance(data, dict):
        raise RecipeError("holds no settings", where=path, fix="Write key: value.")
    for change in changes or []:
        data = assign(data, change)
    return data


def _words(name: str) -> WordSource | None:
    from earwitness.core.errors import UsageError
    from earwitness.speech_llm.cpqa.words import HeardWords, WordFiles
    from earwitness.speech_llm.words import WhisperWords

    if name == "none":
        return None
    if name == "whisper":
        return HeardWords(WhisperWords())
    if not Path(name).is_dir():
        raise UsageError(f"'{name}' is no source of words", where="--words", fix="Use whisper, none, or a folder.")
    return WordFiles(Path(name))


def _writer(client: str, config: GenerateConfig) -> Writer:
    from earwitness.speech_llm.clients import read_client
    from earwitness.speech_llm.cpqa.generating import ModelWriter, TemplateWriter

    return TemplateWriter() if client == TemplateWriter.id else ModelWriter(read_client(client), config)
