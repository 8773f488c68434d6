"""`earwitness bench build`: a small benchmark from one's own labelled recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def build(
    given: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Recordings with words, emotion, speaker and sex.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder for items.jsonl and manifest.csv.")],
    recipe: Annotated[
        Path | None, typer.Option(help="What is asked, e.g. recipes/bench/earwitness-cp-mini.yaml [all that can be].")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="What paths of recordings are relative to [the manifest].")
    ] = None,
    non_commercial: Annotated[bool, typer.Option(help="Use recordings whose licence forbids commerce too.")] = False,
) -> None:
    """Make exact questions that neither the words nor the voice alone can answer, and prove it by counting.

    Needs sentences that several speakers say in several emotions. The answer is independent of the words, of the
    manner and of the question, each alone: the table says what the best predictor of each kind would reach.

    Example: `earwitness bench build data/all.csv --recipe recipes/bench/earwitness-cp-mini.yaml -o cp-mini`
    """
    import polars as pl

    from earwitness.core.records import RunRecord
    from earwitness.corpora.manifest import Manifest
    from earwitness.corpora.splits import exclude_licences
    from earwitness.corpora.tables import write_table
    from earwitness.speech_llm.items import write_items
    from earwitness.speech_llm.mini.building import build_mini
    from earwitness.speech_llm.mini.chance import chances
    from earwitness.speech_llm.mini.pairs import contradiction_pairs
    from earwitness.speech_llm.mini.recipe import MiniRecipe, read_recipe

    asked = MiniRecipe() if recipe is None else read_recipe(recipe)
    manifest = Manifest.read(given)
    manifest = manifest if non_commercial else exclude_licences(manifest)
    root = data_root or manifest.root
    made = build_mini(manifest, asked, root)
    paths = {item.clip_id: item.audio for item in made.items}
    rows = made.rows.table.with_columns(pl.col("id").replace_strict(paths).alias("path"))
    write_items(output / "items.jsonl", made.items)
    write_table(rows[[name for name in rows.columns if rows[name].null_count() < len(rows)]], output / "manifest.csv")
    RunRecord.make(
        "earwitness bench build",
        {"recipe": asked.model_dump(mode="json")},
        seed=asked.seed,
        inputs={"manifest": manifest.sha256},
        licences=sorted(rows["licence"].drop_nulls().unique()),
    ).write(output / "run.json")
    typer.echo("type  items  chance  question  +words  +voice")
    for one in chances(made.items):
        shares = (one.chance, one.question, one.words, one.voice)
        typer.echo(f"{one.type:4}  {one.count:5}  " + "  ".join(f"{share!s:>6}" for share in shares))
    pairs = contradiction_pairs(made.items)
    typer.echo(
        f"{len(made.items)} items on {len(rows)} recordings, {len(pairs)} contradiction pairs: {output}", err=True
    )
