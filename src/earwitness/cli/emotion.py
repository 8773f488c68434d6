"""`earwitness evaluate emotion`: what emotion models are worth on the speakers that their runs held out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from earwitness.cli.figures import interval_note, percent
from earwitness.core.errors import UsageError, printable

if TYPE_CHECKING:
    from earwitness.evaluation.emotions import Accuracies, EmotionFigures
    from earwitness.metrics.bootstrap import Interval
    from earwitness.metrics.classification import Confusion, FoldFigures


def evaluate_runs(place: Path, *, resamples: int, seed: int) -> None:
    """Print the figures of a run, or of the runs of a folder as the folds of one protocol."""
    import polars as pl

    from earwitness.evaluation.emotions import figures, folds, read_answers, runs_in

    runs = runs_in(place)
    tables = [read_answers(path) for path in runs]
    for line in figure_lines(figures(pl.concat(tables), resamples, seed)):
        typer.echo(printable(line))
    if len(tables) > 1:
        for line in _folds(folds(tables)):
            typer.echo(printable(line))


def figure_lines(found: EmotionFigures) -> Iterator[str]:
    """All figures as text."""
    for one in (found.whole, *found.parts):
        yield from _accuracies(one)
    yield from _matrix(found.whole.matrix)
    yield f"answered         {_share(found.answered, found.answered_interval)}   of the recordings"
    if found.answered:
        yield f"WA, answered     {_share(found.answered_wa, found.answered_wa_interval)}"
    if found.order is not None:
        order = found.order
        yield (
            f"intensity, {order.pairs} pairs of one speaker, emotion and text: the stronger estimated higher in "
            f"{order.right:.2%}, by {order.difference:+.3f} on average"
        )
    if found.whole.wa is not None:
        yield interval_note(found.whole.wa)


def _accuracies(one: Accuracies) -> Iterator[str]:
    matrix = one.matrix
    yield f"{one.name}: {matrix.items:.0f} recordings, {one.speakers} speakers"
    constant = _share(matrix.majority_wa, one.majority).strip()
    yield f"  WA        {_share(matrix.wa, one.wa)}   (always the most frequent class: {constant})"
    yield f"  UA        {_share(matrix.ua, one.ua)}   (any constant call: {matrix.chance_ua:.2%})"
    yield f"  macro-F1  {_share(matrix.macro_f1, one.macro_f1)}"


def _share(value: float, interval: Interval | None) -> str:
    return f"{value:8.2%}" if interval is None else percent(interval)


def _matrix(matrix: Confusion) -> Iterator[str]:
    used = [place for place, count in enumerate(matrix.truths + matrix.calls) if count]
    yield f"{'truth, called':>14} {' '.join(f'{matrix.classes[place]:>8}' for place in used)}"
    for row in used:
        if matrix.truths[row]:
            yield f"{matrix.classes[row]:>14} {' '.join(f'{matrix.counts[row, place]:8.0f}' for place in used)}"


def _folds(found: FoldFigures) -> Iterator[str]:
    pooled = found.pooled
    yield f"{len(found.folds)} folds, speakers of each held out; pooled: one matrix over all folds"
    yield f"  WA pooled {pooled.wa:.4f}, mean over folds {found.wa}"
    yield f"  UA pooled {pooled.ua:.4f}, mean over folds {found.ua}"
    yield f"  macro-F1 pooled {pooled.macro_f1:.4f}, mean over folds {found.macro_f1}"


def print_labels() -> None:
    """The label scheme as a table."""
    from rich.console import Console
    from rich.table import Table

    from earwitness.paralinguistic.labels import label_table

    shown = Table("corpus", "category", "its labels", "strengths", title="Labels of emotion")
    for row in label_table():
        shown.add_row(*row)
    Console().print(shown)


def refuse_key(key: Path | None) -> None:
    """Raise `UsageError` for a key: a run knows its test side."""
    if key is not None:
        raise UsageError("belongs to score tables", where="--key", fix="A run's folder knows its truths; leave it out.")
