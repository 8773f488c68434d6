"""`earwitness index`: the database of genuine speech, made, asked, described."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from earwitness.cli.data_root import DataRoot

if TYPE_CHECKING:
    from earwitness.deepfake.retrieval.hearing import Hearing
    from earwitness.deepfake.retrieval.index import Contents
    from earwitness.deepfake.retrieval.nearest import Answer
    from earwitness.deepfake.retrieval.recipe import Similarity
    from earwitness.deepfake.retrieval.store import IndexInfo

app = typer.Typer(help="The database of genuine speech: build, search, info.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="INDEX", help="An index folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as data.")]
FEWEST_FOR_RECALL = 100  # segments


@app.command()
def build(
    given: Annotated[
        str, typer.Argument(metavar="INPUT", help="Genuine speech: a manifest, a folder, a glob or a file.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The index folder; an index there is added to.")],
    encoder: Annotated[
        str | None,
        typer.Option(help="whisper, pretrained:FOLDER, a spectral front-end, or a detector's model [whisper]."),
    ] = None,
    tau: Annotated[int | None, typer.Option(min=1, help="Frames that are averaged to one short frame [10].")] = None,
    segment: Annotated[float | None, typer.Option(min=0.1, help="Seconds of a segment [4].")] = None,
    similarity: Annotated[str | None, typer.Option(help="cosine or euclidean [cosine].")] = None,
    approximate: Annotated[
        bool | None, typer.Option("--approximate/--exact", help="Visit a part of the segments only; prints the recall.")
    ] = None,
    data_root: DataRoot = None,
) -> None:
    """Add genuine recordings to an index; what is there already is not read again, and spoofs are left out.

    Killed at any moment, the same command goes on. Exit code 1: some recordings could not be heard (they are listed,
    and stand in problems.jsonl).

    Example: `earwitness index build corpus/genuine.csv -o genuine.index`
    """
    from earwitness.cli.progress import progress_bar
    from earwitness.core.errors import printable
    from earwitness.deepfake.retrieval.building import build_index
    from earwitness.evaluation.scoring.inputs import read_input

    manifest = read_input(given, data_root)
    hearing, by_parts = _hearing(output, encoder, tau, segment, similarity, approximate)
    with progress_bar("hearing", len(manifest)) as step:
        built = build_index(manifest, output, hearing, approximate=by_parts, step=step)
    if built.spoofs_left_out:
        typer.echo(f"{built.spoofs_left_out} row(s) left out: they are labelled spoof", err=True)
    if built.unlabelled:
        typer.echo(f"{built.unlabelled} row(s) without a label are taken for genuine on your word", err=True)
    if by_parts:
        _print_recall(output)
    counts = f"{built.added} recording(s) added ({built.segments} segments), {built.already_there} already there"
    typer.echo(printable(f"{counts}, {len(built.problems)} with a problem: {output}"), err=True)
    typer.echo(f"the index holds {built.total_segments} segments", err=True)
    for problem in built.problems:
        typer.echo(printable(f"{problem.id}: {problem.what}"), err=True)
    if built.problems:
        raise typer.Exit(1)


@app.command()
def search(
    index: Folder,
    recordings: Annotated[
        list[str], typer.Argument(metavar="REC...", help="Recordings, folders, globs, or a manifest.")
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="How many of the nearest recordings.")] = 10,
    as_json: AsJson = False,
    data_root: DataRoot = None,
) -> None:
    """The genuine recordings that sound most like each REC, which is never its own neighbour.

    With a manifest that names speakers the share of neighbours with the same speaker is printed layer by layer. Exit
    code 1: some recordings could not be heard (they are listed).

    Example: `earwitness index search genuine.index call.m4a -k 5`
    """
    import json

    from earwitness.cli.progress import progress_bar
    from earwitness.core.errors import AudioError, printable
    from earwitness.deepfake.retrieval.index import Index
    from earwitness.evaluation.scoring.inputs import read_input

    manifests = [read_input(given, data_root) for given in recordings]
    opened = Index.open(index)
    answers: list[tuple[str, Answer]] = []
    failures: list[str] = []
    with progress_bar("searching", sum(map(len, manifests))) as step:
        for manifest in manifests:
            for row in manifest.rows():
                try:
                    answers.append((row.id, opened.nearest(manifest.resolve(row), k, row)))
                except AudioError as error:
                    failures.append(str(error))
                step()
    if as_json:
        typer.echo(json.dumps([_plain(name, answer) for name, answer in answers], indent=2, ensure_ascii=True))
    else:
        for name, answer in answers:
            for line in _lines(name, answer, k):
                typer.echo(printable(line))
        if (together := _same_speaker([answer for _, answer in answers])) is not None:
            typer.echo(together)
    for failure in failures:
        typer.echo(f"earwitness: {failure}", err=True)
    if failures:
        raise typer.Exit(1)


@app.command()
def info(index: Folder, as_json: AsJson = False) -> None:
    """What an index holds and how it was made; its encoder is not loaded.

    Example: `earwitness index info genuine.index`
    """
    import json
    from dataclasses import asdict

    from earwitness.core.errors import printable
    from earwitness.deepfake.retrieval.index import contents

    described, held = contents(index)
    if as_json:
        data = described.model_dump(mode="json") | {"sha256": described.recipe.sha256, "contents": asdict(held)}
        typer.echo(json.dumps(data, indent=2, ensure_ascii=True))
        return
    for line in _described(described, held):
        typer.echo(printable(line))


def _hearing(
    output: Path,
    encoder: str | None,
    tau: int | None,
    segment: float | None,
    similarity: str | None,
    approximate: bool | None,
) -> tuple[Hearing, bool]:
    """How an index hears, and whether it is searched by parts: as it was made, where it is there and nothing else is
    asked for."""
    from earwitness.core.errors import UsageError
    from earwitness.deepfake.retrieval.hearing import Hearing
    from earwitness.deepfake.retrieval.layers import LayersConfig
    from earwitness.deepfake.retrieval.store import INFO, read_info

    if similarity not in (None, "cosine", "euclidean"):
        raise UsageError(f"unknown similarity '{similarity}'", where="--similarity", fix="cosine or euclidean.")
    known = read_info(output) if (output / INFO).is_file() else None
    made = known.recipe if known else None
    hearing = Hearing.begin(
        LayersConfig.of(encoder or "whisper") if encoder or not made else made.encoder,
        tau or (made.tau if made else 10),
        segment or (made.segment_s if made else 4.0),
        cast("Similarity", similarity or (made.similarity if made else "cosine")),
    )
    if made:
        made.require_same(hearing.recipe, output)
    return hearing, approximate if approximate is not None else bool(known and known.approximate)


def _print_recall(folder: Path) -> None:
    """What the approximate search finds of what the exact one does."""
    from earwitness.deepfake.retrieval.database import Database
    from earwitness.deepfake.retrieval.searching import recall

    database = Database.open(folder)
    if len(database) < FEWEST_FOR_RECALL:
        typer.echo(f"fewer than {FEWEST_FOR_RECALL} segments: the search stays exact in effect", err=True)
        return
    shares = ", ".join(f"{share:.1%}" for share in recall(database.embeddings, database.similarity, 10))
    typer.echo(f"approximate search finds of the 10 exact neighbours, by layer: {shares}", err=True)


def _lines(name: str, answer: Answer, k: int) -> Iterator[str]:
    yield f"{name}: {len(answer.neighbours)} of {k} asked, from {answer.candidates} genuine segments"
    yield f"  {answer.excluded}"
    for rank, found in enumerate(answer.neighbours, 1):
        origin = found.origin
        layers = ",".join(map(str, found.layers))
        speaker = f"  speaker {origin.speaker}" if origin.speaker else ""
        place = f"{origin.id} {origin.start_s:.1f}-{origin.end_s:.1f} s"
        yield f"  {rank:2}. {found.similarity:.4f}  {place}{speaker}  layers {layers}"
    if answer.same_speaker is not None:
        shares = ", ".join(f"{share:.0%}" for share in answer.same_speaker)
        yield f"  neighbours of the same speaker, by layer: {shares}"
    yield ""


def _same_speaker(answers: list[Answer]) -> str | None:
    """The mean share of neighbours with the asking speaker, by layer; None where fewer than two recordings tell."""
    known = [answer.same_speaker for answer in answers if answer.same_speaker is not None]
    if len(known) < 2:
        return None
    shares = ", ".join(f"{sum(layer) / len(known):.0%}" for layer in zip(*known, strict=True))
    return f"neighbours of the same speaker, mean over {len(known)} recordings, by layer: {shares}"


def _plain(name: str, answer: Answer) -> dict[str, Any]:
    from dataclasses import asdict

    excluded = answer.excluded
    return {
        "id": name,
        "segments": answer.segments,
        "candidates": answer.candidates,
        "excluded": {
            "segments": len(excluded),
            "same_id": excluded.same_id,
            "same_source": excluded.same_source,
            "same_audio": excluded.same_audio,
        },
        "same_speaker": answer.same_speaker,
        "neighbours": [asdict(neighbour) for neighbour in answer.neighbours],
    }


def _described(info: IndexInfo, held: Contents) -> Iterator[str]:
    recipe = info.recipe
    size = f"{held.seconds / 3600:.2f} h, {held.bytes / 1e6:.1f} MB"
    yield f"{held.recordings} recordings, {held.segments} segments, {size}"
    yield f"{held.speakers} named speaker(s); {held.unnamed} recording(s) without a speaker"
    yield f"encoder: {recipe.encoder.model_dump_json(exclude_none=True)}, weights sha256 {recipe.weights[:16]}"
    yield f"layers: {recipe.layers} of {recipe.width} values; {recipe.frames} short frames a segment, tau {recipe.tau}"
    yield f"segments of {recipe.segment_s:g} s at {recipe.rate} Hz; similarity {recipe.similarity}"
    yield f"search: {'approximate' if info.approximate else 'exact'}"
    yield f"recipe sha256 {recipe.sha256[:16]}, made with earwitness {info.package_version}"
