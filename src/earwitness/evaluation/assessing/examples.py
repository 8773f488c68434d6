"""Recordings that a committee gets wrong and that may be passed on: what was left out, with its score and its licence.

    examples/README.md            what each file is, its left-out score and ratio, licence and attribution
    examples/human-1.flac ...     human speech that was called synthetic, the most misleading first
    examples/synthetic-1.flac ... synthetic speech that was called genuine

Most corpora may be learnt from and not be passed on with this project, so few rows come into question: telephone
prompts under CC BY-SA 3.0, and synthetic speech under CC0 1.0, judged rows first. Rows of corpora `own-...` are learnt
from and not judged; their score is that of the member that left out their family.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits.folds import NO_FOLD
from earwitness.corpora.tables import read_table
from earwitness.deepfake.committee import AT_MOST, ROWS, Tried, cross_applied, labels_of, scores_path
from earwitness.deepfake.left_out import Finished, folds_of, judged_of, recipe_of
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.training.card import markdown_text
from earwitness.training.data import whole_utterances
from earwitness.training.model_folder import ModelInfo, read_model_info

FOLDER, README = "examples", "README.md"
EACH = 2  # recordings of a class
SECONDS = 4.0  # of a file, where the recipe has no crop
PROMPTS, PROMPTS_LICENCE = "telephone_prompts", "CC-BY-SA-3.0"
OWN, OWN_LICENCE = "own-", "CC0-1.0"
_SHOWN = ("id", "score", "llr")
_ATTRIBUTION = (
    "Asterisk core sounds 1.6.1, © Digium, from Debian's packages asterisk-core-sounds-*-wav, CC BY-SA 3.0 "
    "(https://creativecommons.org/licenses/by-sa/3.0/)"
)


@dataclass(frozen=True)
class Example:
    """A row of `rows.parquet` that was answered wrongly: its left-out score, and the natural-log likelihood ratio by a
    calibration fitted on the other folds."""

    file: str
    id: str
    score: float
    llr: float


def write_examples(model: str | Path, run: str | Path, results: Path) -> tuple[Path, ...]:
    """Put the most misleading rows that may be passed on into `results/examples`; gives the recordings there.

    What stands there is kept, as `results` holds nothing of other weights. Raises `AudioError` for a row that cannot be
    read.
    """
    folder = results / FOLDER
    if not (folder / README).is_file():
        rows = Manifest.read(Path(run) / ROWS)
        _write(folder, read_model_info(model), rows, choose(model, run, rows))
    return tuple(sorted(folder.glob("*.flac")))


def choose(model: str | Path, run: str | Path, rows: Manifest) -> tuple[Example, ...]:
    """At most `EACH` human recordings called synthetic and as many synthetic ones called genuine, the worst first; from
    `rows` of `rows.parquet`."""
    judged = read_table(scores_path(Path(run), "clean")).select("id", pl.col("score", "llr").cast(pl.Float64))
    table = rows.table.join(judged, on="id", how="inner", maintain_order="left")
    is_human, free = pl.col("label") == "bonafide", pl.col("licence").str.starts_with(OWN_LICENCE)
    prompts = (pl.col("corpus") == PROMPTS) & pl.col("licence").str.starts_with(PROMPTS_LICENCE)
    human = _worst(table.filter(is_human & prompts & (pl.col("llr") < 0)), descending=False)
    made = _worst(table.filter(~is_human & free & (pl.col("llr") > 0)), descending=True)
    if made.height < EACH:
        made = pl.concat([made, _worst(_own(model, run, rows, table).filter(pl.col("llr") > 0), descending=True)])
    return (*_named("human", human), *_named("synthetic", made.head(EACH)))


def _worst(table: pl.DataFrame, descending: bool) -> pl.DataFrame:
    """Ratios are bounded, so that many are alike: the score decides between these."""
    return table.sort("llr", "score", "id", descending=[descending, descending, False]).head(EACH).select(_SHOWN)


def _named(name: str, found: pl.DataFrame) -> list[Example]:
    return [Example(f"{name}-{place}.flac", *row) for place, row in enumerate(found.iter_rows(), start=1)]


def _own(model: str | Path, run: str | Path, rows: Manifest, judged: pl.DataFrame) -> pl.DataFrame:
    """Left-out scores of at most `AT_MOST` rows that are made by us and not judged: `id`, `score`, `llr`."""
    ours = (rows.table["corpus"].str.starts_with(OWN) & (rows.table["label"] == "spoof")).fill_null(False).to_numpy()
    places = np.flatnonzero(ours & ~judged_of(rows) & (folds_of(rows) != NO_FOLD))
    if not len(places):
        return judged.select(_SHOWN).clear()
    places = np.sort(np.random.default_rng(0).permutation(places)[:AT_MOST])
    scores = Finished.load(model, run).scores(places, "clean")
    tried = rows.with_table(judged.drop("score", "llr"))
    llrs = cross_applied(
        scores, folds_of(rows)[places], Tried(judged["score"].to_numpy(), labels_of(tried), folds_of(tried))
    )
    return pl.DataFrame({"id": rows.table["id"][places], "score": scores, "llr": llrs}).filter(
        pl.col("llr").is_finite()
    )


def _write(folder: Path, info: ModelInfo, rows: Manifest, examples: Sequence[Example]) -> None:
    """Recordings first, the page last: a folder with a page is whole."""
    shutil.rmtree(folder, ignore_errors=True)
    if not examples:
        return
    recipe, order = recipe_of(info), pl.DataFrame({"id": [example.id for example in examples]})
    part = rows.with_table(order.join(rows.table, on="id", how="left", maintain_order="left"))
    for example, sound in zip(examples, _heard(recipe, part), strict=True):
        write_atomically(folder / example.file, sound)
    write_atomically(folder / README, _page(info, part, examples, recipe))


def _heard(recipe: DetectionRecipe, rows: Manifest) -> list[bytes]:
    """Each row as FLAC, as the committee heard it: at its rate, from the first speech on; what is short is not
    repeated."""
    found = []
    for utterance in whole_utterances(recipe, rows):
        samples = utterance.samples.numpy()[: round(_seconds(recipe) * utterance.rate)]
        file = io.BytesIO()
        soundfile.write(file, np.clip(samples, -1, 1), utterance.rate, "PCM_16", format="FLAC")
        found.append(file.getvalue())
    return found


def _seconds(recipe: DetectionRecipe) -> float:
    return recipe.audio.crop_s or SECONDS


def _page(info: ModelInfo, rows: Manifest, examples: Sequence[Example], recipe: DetectionRecipe) -> str:
    lines = [
        "# Recordings that the detector gets wrong",
        "",
        f"Left-out scores of {markdown_text(info.reference)}: each by a member of the committee that heard neither the "
        "recording's maker nor its speaker. A positive ratio (natural logarithm) favours genuine speech, a negative "
        "one synthetic speech. Chosen for being the most misleading ones among those that may be passed on.",
        "",
        f"Changed: resampled to {recipe.audio.rate} Hz, cut to the first {_seconds(recipe):g} s after the silence "
        "before the speech, written as 16-bit FLAC.",
        "",
        "| file | what it is | called | left-out score | llr | licence and attribution |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for example, columns in zip(examples, rows.table.iter_rows(named=True), strict=True):
        cells = (example.file, *_told(columns), f"{example.score:.2f}", f"{example.llr:.2f}", _licence(columns))
        lines.append(f"| {' | '.join(markdown_text(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _told(columns: dict[str, str | None]) -> tuple[str, str]:
    """What a recording is, and what it was called."""
    name = Path(columns["path"] or "").stem
    if columns["label"] == "bonafide":
        return f"human speech, {columns['corpus']}, `{name}`, voice {columns['speaker'] or 'unknown'}", "synthetic"
    return f"synthetic speech by {columns['system'] or 'unknown'}, {columns['corpus']}, `{name}`", "genuine"


def _licence(columns: dict[str, str | None]) -> str:
    if columns["label"] == "bonafide":
        return f"{columns['licence']}: {_ATTRIBUTION}"
    if (columns["licence"] or "").startswith(OWN_LICENCE):
        return f"{columns['licence']}: no attribution is asked for"
    return columns["licence"] or "not stated"
