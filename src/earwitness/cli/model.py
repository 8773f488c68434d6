"""`earwitness model`: what ships, what a model is, whether it is unaltered, and how it leaves for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from earwitness.evaluation.latent_direction import Measured

app = typer.Typer(help="Models: list, info, verify, import, export, card, traits, direction.", no_args_is_help=True)

Named = Annotated[str, typer.Argument(metavar="NAME|PATH", help="A shipped model's name, or a model folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as data.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The models that ship with this installation.

    Example: `earwitness model list`
    """
    import json
    from dataclasses import asdict

    from earwitness.training.shipped import summaries

    found = summaries()
    if as_json:
        typer.echo(json.dumps([asdict(summary) for summary in found], indent=2, ensure_ascii=False))
        return
    if not found:
        typer.echo("no model ships with this installation; train one with `earwitness train`", err=True)
        return
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from earwitness.core.errors import printable

    name = Column("name", min_width=max(len(summary.name) for summary in found))
    table = Table(name, "task", "version", "parameters", "figure", "summary", box=None, pad_edge=False)
    for summary in found:
        figure = f"{summary.figure} ({summary.figure_data})" if summary.figure else ""
        cells = (summary.name, summary.task, summary.version, f"{summary.parameters:,}", figure, summary.summary)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console().print(table)


@app.command()
def info(model: Named, as_json: AsJson = False) -> None:
    """The card of a model: data, results with intervals, limits. With --json its `model.json`.

    Example: `earwitness model info deepfake`
    """
    from rich.console import Console
    from rich.markdown import Markdown

    from earwitness.core.errors import printable
    from earwitness.training.model_folder import CARD, verify_model
    from earwitness.training.shipped import find_model

    folder = find_model(model)
    described = verify_model(folder)
    if as_json:
        typer.echo(described.model_dump_json(indent=2))
        return
    # a card may come from anyone: control characters that drive a terminal are shown, links are not made
    lines = (folder / CARD).read_text(encoding="utf-8", errors="replace").splitlines()
    text = "\n".join(printable(line) for line in lines)
    console = Console()
    if console.is_terminal:
        console.print(Markdown(text, hyperlinks=False))
    else:
        typer.echo(text)


@app.command()
def verify(model: Named) -> None:
    """Check that every file of a model is there and unaltered, and no other. Exit code 2 where not.

    Example: `earwitness model verify runs/mine/model`
    """
    from earwitness.core.errors import printable
    from earwitness.training.model_folder import load_weights, verify_model
    from earwitness.training.shipped import find_model

    folder = find_model(model)
    described = verify_model(folder)
    load_weights(folder)
    typer.echo(printable(f"{described.reference}: {len(described.files)} files match their sha256"))


@app.command("import")
def import_(
    checkpoint: Annotated[Path, typer.Argument(metavar="FILE", help="An official checkpoint (.pth, .pt, .bin).")],
    kind: Annotated[
        str, typer.Option("--as", metavar="KIND", help="What it is, e.g. aasist, nes2net-asvspoof5, fairseq-wav2vec2.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where the model folder goes.")],
    labelled: Annotated[
        Path | None, typer.Option(metavar="MANIFEST", help="Labelled recordings on which its polarity is checked.")
    ] = None,
    score: Annotated[
        str, typer.Option(metavar="published|odds", help="The bona fide logit alone, or minus the spoof logit.")
    ] = "published",
    licence: Annotated[str, typer.Option(help="Licence of the weights, as SPDX.")] = "not stated",
) -> None:
    """Make a model folder of an official checkpoint, which is read as plain weights and never unpickled.

    Every tensor must have its place and shape, or the file is refused. `fairseq-wav2vec2` and `wavlm` give the folder
    of an encoder, for `frontend: {kind: pretrained, source: DIR}`.

    Example: `earwitness model import AASIST.pth --as aasist -o models/aasist --labelled dev.csv`
    """
    from typing import get_args

    from earwitness.core.errors import UsageError, printable
    from earwitness.corpora.manifest import Manifest
    from earwitness.deepfake.importing.official import ScoreKind
    from earwitness.evaluation.importing import import_detector
    from earwitness.nn.pretrained.importing import ENCODERS, import_encoder

    if kind in ENCODERS:
        count = import_encoder(checkpoint, kind, output)
        typer.echo(printable(f"{output}: an encoder of {count:,} parameters"), err=True)
        return
    if score not in get_args(ScoreKind):
        raise UsageError(f"unknown score '{score}'", where="--score", fix="Use published or odds.")
    rows = None if labelled is None else Manifest.read(labelled)
    made = import_detector(checkpoint, kind, output, score=score, labelled=rows, licence=licence)  # type: ignore[arg-type]
    probe = "not checked: give --labelled" if made.polarity_probe is None else str(made.polarity_probe)
    typer.echo(printable(f"{output}: {made.reference}, {made.windows.name}; polarity {probe}"), err=True)


@app.command()
def export(
    model: Named,
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.onnx.")],
    seconds: Annotated[
        float | None, typer.Option(help="Length of a window [default: that of the model's window policy].")
    ] = None,
    recording: Annotated[Path | None, typer.Option(help="Compare with torch on this recording too.")] = None,
) -> None:
    """Write a model's network as ONNX, check it against torch, and refuse a difference above 1e-4.

    The graph takes windows [batch, samples] of one length at the model's rate. How scores are made of what it gives
    stands in the file's metadata.

    Example: `earwitness model export deepfake-small -o detector.onnx --recording samples/caller.flac`
    """
    from earwitness.training.export import export_model
    from earwitness.training.shipped import find_model

    found = export_model(find_model(model), output, seconds, recording)
    typer.echo(f"largest difference to torch on noise: {found.on_noise:.2g}")
    if found.on_recording is not None:
        typer.echo(f"largest difference to torch on the recording: {found.on_recording:.2g}")
    typer.echo(f"wrote {found.path}, windows of {found.seconds:g} s", err=True)


@app.command()
def card(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that `earwitness train` wrote.")],
) -> None:
    """Test a run's model again on what its recipe held out, and write its card anew.

    Example: `earwitness model card runs/deepfake-small`
    """
    from earwitness.core.errors import printable
    from earwitness.evaluation.assessing.runs import assess_run

    described = assess_run(run)
    typer.echo(f"card: {run / 'model' / 'CARD.md'}", err=True)
    for reason in described.known_failures:
        typer.echo(printable(f"- {reason}"))


@app.command()
def traits(
    model: Named,
    scores: Annotated[
        list[Path] | None, typer.Option(help="Tables of trials that this model scored, instead of its dev trials.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write OUT.csv (one table only).")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the ratios of all tables over the sounds, OUT.svg.")] = None,
) -> None:
    """What each sound is worth to a model of speaker-traits: its similarity within and between speakers ("F-ratio").

    Sorted by the ratio of both means; sounds that fewer than 30 trials of one speaker share are in brackets. Also how
    verdict and evidence agree on dev, and the evidence with phone labels in random order: the control.

    Example: `earwitness model traits runs/speaker-traits/model --scores trials.csv --plot sounds.svg`
    """
    from earwitness.cli.traits import show_traits

    show_traits(model, scores or [], output, plot)


@app.command()
def direction(
    model: Named,
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", help="Data sets, one table each.")],
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Measure which class has the more latent entropy, and which costs more nats, on each data set.

    For models that classify by a latent entropy (f-InfoED). Means of H/D and KL with 95 % intervals over speakers and
    systems, and the chance that a bona fide recording has more than a spoof; with and without frames below -60 dBFS.
    Nothing of it is a probability that a recording is genuine.

    Example: `earwitness model direction runs/f-infoed/model runs/f-infoed/test.csv`
    """
    from json import dumps

    from earwitness.cli.progress import progress_bar
    from earwitness.core.errors import printable
    from earwitness.core.writing import write_atomically
    from earwitness.corpora.manifest import Manifest
    from earwitness.evaluation.latent_direction import measure_direction
    from earwitness.evaluation.loading import load_detector

    detector = load_detector(model)
    told = {}
    for path in manifests:
        manifest = Manifest.read(path)
        with progress_bar("hearing", len(manifest)) as step:
            found = measure_direction(detector, manifest, resamples, seed, step)
        told[str(path)] = found.plain()
        for line in _direction_lines(str(path), found):
            typer.echo(printable(line))
    if json is not None:
        write_atomically(json, dumps(told, indent=2, ensure_ascii=False) + "\n")
    if any(data["failed"] for data in told.values()):
        raise typer.Exit(1)


def _direction_lines(name: str, found: Measured) -> Iterator[str]:
    from earwitness.cli.figures import interval_note

    yield f"{name}: {found.bonafide} bona fide, {found.spoof} spoof, by {found.model}"
    for one in found.directions:
        yield f"  {one.quantity}, {one.frames}: {one.answer}"
        for words, interval in (("bona fide", one.bonafide), ("spoof", one.spoof), ("AUC", one.auc)):
            yield f"    {words:10} {interval.value:8.4f}   [{interval.low:8.4f}, {interval.high:8.4f}]"
    yield f"  {interval_note(found.directions[0].auc)}"
    yield "  AUC: chance that a bona fide recording has more of it than a spoof; no probability of being genuine"
    yield from (f"  note: {note}" for note in found.notes)
    if found.silent:
        yield f"  {found.silent} recording(s) have no louder frame and count over all frames alone"
    if found.failed:
        yield f"  {len(found.failed)} recording(s) could not be heard, the first: {found.failed[0]}"
