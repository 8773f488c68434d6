"""`earwitness model traits`: the table of sounds, printed, written and drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from earwitness.speaker.phonetic_traits.discriminability import PhoneDiscriminability
    from earwitness.speaker.phonetic_traits.verifier import TraitFigures, TraitInfo

Tables = dict[str, "tuple[PhoneDiscriminability, ...]"]


def show_traits(model: str, scores: Sequence[Path], output: Path | None, plot: Path | None) -> None:
    """Raises `ModelError` for another kind of model, `DataError` for tables without similarities, `UsageError`."""
    from earwitness.core.errors import UsageError, printable
    from earwitness.corpora.tables import write_table
    from earwitness.evaluation.assessing.traits import as_table
    from earwitness.evaluation.judging.trait_plots import plot_ratios
    from earwitness.evaluation.scoring.traits import read_similarities
    from earwitness.speaker.phonetic_traits.discriminability import discriminability
    from earwitness.speaker.phonetic_traits.verifier import traits_info
    from earwitness.training.model_folder import verify_model
    from earwitness.training.shipped import find_model

    known = traits_info(verify_model(find_model(model)))
    if output is not None and len(scores) > 1:
        raise UsageError("one table is written, and several are named", where="--output", fix="Name one of --scores.")
    tables: Tables = {
        str(path): discriminability(*read_similarities(path, known.names), known.names) for path in scores
    } or {"the model's dev trials": known.discriminability}
    for name, table in tables.items():
        for line in _lines(name, table, known):
            typer.echo(printable(line))
    if not scores and known.figures is not None:
        for line in _figures(known.figures):
            typer.echo(line)
    if output is not None:
        write_table(as_table(next(iter(tables.values()))), output)
    if plot is not None:
        plot_ratios(tables, plot)
        typer.echo(f"wrote {plot}", err=True)


def _lines(name: str, table: Sequence[PhoneDiscriminability], known: TraitInfo) -> Iterator[str]:
    what = "phone" if known.are_phones else "pseudo-phone"
    yield f"{name}; {known.maker}"
    yield f"  {what:12} {'ratio':>7} {'difference':>11} {'same':>7} {'different':>10} {'trials':>15}"
    missing = []
    for one in table:
        if one.ratio is None or one.difference is None:
            missing.append(one.phone)
            continue
        yield f"  {_row(one)}"
    yield "  same, different: mean similarity over trials of one speaker and of two"
    yield "  (in brackets): fewer than 30 trials of one speaker, too few to count"
    if missing:
        yield f"  without trials of both kinds: {', '.join(missing)}"


def _row(one: PhoneDiscriminability) -> str:
    label = f"({one.phone})" if one.greyed else one.phone
    means = f"{one.target_mean:7.3f} {one.nontarget_mean:10.3f}"
    trials = f"{one.target_trials} + {one.nontarget_trials}"
    return f"{label:12} {one.ratio:7.3f} {one.difference:11.3f} {means} {trials:>15}"


def _figures(figures: TraitFigures) -> Iterator[str]:
    both = f"score {figures.score_eer:.2%}, evidence {figures.evidence_eer:.2%}"
    yield f"EER (interpolated) on {figures.trials} dev trials: {both}"
    rho = "none" if figures.spearman is None else f"{figures.spearman:.3f}"
    yield f"Spearman's correlation of score and evidence: {rho}"
    words = "worse, as it must be" if figures.phones_matter else "NOT worse: the phones say nothing"
    yield f"evidence with phone labels in random order: EER {figures.evidence_eer_random_labels:.2%}, {words}"
