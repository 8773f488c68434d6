"""`earwitness bench validate`: does a judge's score mean something?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from earwitness.speech_llm.training.judge_validation import JudgeValidation


def validate(
    judged: Annotated[
        Path,
        typer.Argument(metavar="JUDGED.jsonl", help="Judged answers: id, answer, label, score 0-100; clip_id, system."),
    ],
    labels: Annotated[
        list[str] | None, typer.Option("--label", help="A label that an answer may name [default: those of the file].")
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Resamples of clips for the interval.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print as data.")] = False,
) -> None:
    """Validate a judge on questions whose answer has a label: accuracy by label, and whether the score follows it.

    Answers are turned into labels by keyword; what names no label, or several, counts as wrong and is told apart.

    Example: `earwitness bench validate judged.jsonl --label angry --label sad`
    """
    import json
    from dataclasses import asdict

    from earwitness.core.errors import printable
    from earwitness.speech_llm.training.judge_validation import read_judged, validate_judge

    found = validate_judge(read_judged(judged), labels or (), resamples=resamples)
    if as_json:
        told = {**asdict(found), "monotone": found.monotone, "significant": found.significant}
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    for line in validation_lines(found):
        typer.echo(printable(line))


def validation_lines(found: JudgeValidation) -> Iterator[str]:
    """All figures as text."""
    yield f"{found.answers} answers, {found.rank.n_units} clips"
    yield f"WA           {found.wa:8.2%}   (UA {found.ua:.2%})"
    yield f"macro-F1     {found.macro_f1:8.2%}   (weighted-F1 {found.weighted_f1:.2%})"
    yield f"unmapped     {found.unmapped:8.2%}   (ambiguous {found.ambiguous:.2%}); both count as wrong"
    rank = found.rank
    yield f"Spearman(judge, correct) {rank.value:.3f}   [{rank.low:.3f}, {rank.high:.3f}], 95 % over clips"
    yield "score        correct : incorrect"
    for one in found.bins:
        share = "-" if one.share is None else f"{one.share:.1%}"
        yield f"{one.low:5.0f}-{one.high:<5.0f} {one.correct:8d} : {one.incorrect:<8d} {share}"
    yield found.verdict
    if len(found.systems) > 1:
        yield "system       judge      WA   macro-F1"
        for row in found.systems:
            yield f"{row.system:<12.40} {row.judge:6.2f} {row.wa:7.2%}    {row.macro_f1:7.2%}"
    if found.order is not None:
        yield f"ranks of the systems by judge and by WA: Spearman {found.order:.3f}"
