"""`earwitness corpus expand --identities`: invented speakers (INSIDE), with what a verifier makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from earwitness.corpora.inspection import Problem
    from earwitness.corpora.manifest import Manifest
    from earwitness.speaker.identity_expansion import Expanded, ExpansionConfig

REPORT = "report.json"


@dataclass(frozen=True)
class Asked:
    """The options of the command that belong to identities."""

    identities: int
    synthesiser: str | None
    control: str | None
    settings: Sequence[str]
    sources: Path | None
    held_out: Path | None
    filter_model: str | None
    verifier: str | None


def expand(manifest: Manifest, output: Path, asked: Asked, seed: int, resume: bool, workers: int) -> Sequence[Problem]:
    """Make the identities, print the counts and the report; gives what could not be made."""
    from earwitness.cli.progress import progress_bar
    from earwitness.core.errors import printable
    from earwitness.speaker.identity_expansion import Guards, Judges, expand_identities
    from earwitness.speaker.identity_expansion.filters import require_other_model
    from earwitness.speaker.identity_expansion.sources import read_names

    config = config_of(asked, seed)
    chosen, tested = _model(asked.filter_model), _model(asked.verifier)
    if tested is not None:
        require_other_model(chosen[1] if chosen else None, tested[1])
    speakers = None if asked.sources is None else read_names(asked.sources)
    guards = Guards(speakers, () if asked.held_out is None else _speakers(asked.held_out))
    with ExitStack() as stack:

        def progress(what: str) -> Callable[[int], Callable[[], None]]:
            return lambda total: stack.enter_context(progress_bar(what, total))

        made = expand_identities(
            manifest,
            output,
            config,
            guards=guards,
            judges=Judges(*(chosen or (None, None))),
            resume=resume,
            workers=workers,
            progress=progress,
        )
    for note in made.notes:
        typer.echo(printable(note), err=True)
    for line in _counts(made):
        typer.echo(line, err=True)
    typer.echo(f"{len(made.manifest)} utterances of {len(made.pairs)} identities: {output / 'manifest.csv'}", err=True)
    if tested is not None:
        _report(manifest, output, made, *tested)
    return made.problems


def config_of(asked: Asked, seed: int) -> ExpansionConfig:
    """The settings: the options, and over them what `--set` says. Raises `RecipeError`."""
    from earwitness.core.config import parse_config
    from earwitness.speaker.identity_expansion import ExpansionConfig
    from earwitness.training.recipe import assign

    data: dict[str, Any] = {"identities": asked.identities, "seed": seed, "control": asked.control or "none"}
    target, colon, _ = (asked.synthesiser or "world").partition(":")
    if colon:
        data["synthesiser"] = {"kind": "custom", "target": asked.synthesiser, "name": target.rpartition(".")[2]}
    else:
        data["synthesiser"] = {"kind": target}
    for text in asked.settings:
        data = assign(data, text)
    parsed: ExpansionConfig = parse_config(ExpansionConfig, data, where="corpus expand")
    return parsed


def _counts(made: Expanded) -> list[str]:
    judged = made.judged
    dropped = ", ".join(f"{rule} {count}" for rule, count in judged.dropped.items() if rule not in judged.not_applied)
    lines = [f"dropped by the filters: {dropped}"]
    lines += [f"not applied: {rule} ({why})" for rule, why in judged.not_applied.items()]
    new = sum(pair.is_new for pair in made.pairs)
    return [*lines, f"classes: {len(made.speakers)} speakers with an embedding + {new} new identities"]


def _report(manifest: Manifest, output: Path, made: Expanded, verifier: Any, sha256: str) -> None:
    """Print what the verifier makes of the identities, and keep it."""
    import json

    import polars as pl

    from earwitness.core.errors import DataError
    from earwitness.core.writing import write_atomically
    from earwitness.speaker.identity_expansion.report import report_on

    real = manifest.filter(
        pl.col("speaker").is_in(list(made.speakers.ids)), (pl.col("label") != "spoof").fill_null(True)
    )
    try:
        report = report_on(output, real, verifier, sha256, made.speakers)
    except DataError as error:
        typer.echo(f"no report: {error}", err=True)
        return
    write_atomically(output / REPORT, json.dumps(report.plain(), indent=2) + "\n")
    typer.echo(str(report))


def _model(name: str | None) -> tuple[Any, str] | None:
    """A speaker model and the sha256 of its weights."""
    if name is None:
        return None
    from earwitness.core.hashing import sha256_file
    from earwitness.speaker.embedder import Embedder
    from earwitness.training.model_folder import WEIGHTS
    from earwitness.training.shipped import find_model

    folder = find_model(name)
    return Embedder.load(folder), sha256_file(folder / WEIGHTS)


def _speakers(path: Path) -> set[str]:
    """The speakers of a manifest, or of a list with one a line."""
    from earwitness.corpora.manifest import Manifest
    from earwitness.speaker.identity_expansion.sources import read_names

    if path.suffix in (".csv", ".parquet", ".jsonl"):
        return set(Manifest.read(path).table["speaker"].drop_nulls())
    return set(read_names(path))
