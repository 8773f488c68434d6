"""The figures of a report as tables of text: one form for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from earwitness.speech_llm.bench.figures import ConditionFigures, GroupFigures, JudgeNoise, TypeFigures
from earwitness.speech_llm.bench.gains import Difference
from earwitness.speech_llm.bench.report import Report
from earwitness.speech_llm.bench.statements import shown, signed

MOST_SUSPECTS = 50  # that are listed; JSON has all


@dataclass(frozen=True)
class Table:
    """A title, a note below it, names of columns, and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(report: Report) -> Iterator[Table]:
    """All that there is something to say in."""
    yield scores_table(report)
    yield controls_table(report)
    for difference, title in _differences(report):
        yield difference_table(difference, title)
    yield counts_table(report)
    if report.labels:
        yield labels_table(report)
    yield judge_table(report)
    if report.suspects:
        yield suspects_table(report)


def scores_table(report: Report) -> Table:
    """Types and groups with the real audio."""
    real = report.real
    rows = [_type_row(one) for one in real.types] + [_group_row(one) for one in real.groups]
    rows.append(("mean over questions", str(sum(one.items for one in real.types)), "", shown(real.micro), "", ""))
    return Table(
        "Scores, 0 to 100",
        ("", "questions", "clips", "score [95 %]", "sd over judge runs", "judge's share of the variance"),
        tuple(rows),
        f"Intervals: {report.resamples} resamples over clips. UAS_all is the mean over the types that are there, so a "
        "type with few questions weighs as much as one with many.",
    )


def controls_table(report: Report) -> Table:
    """UAS under every condition, with the naive values that count failures as 0."""
    rows = tuple(_condition_row(one) for one in report.conditions)
    return Table(
        "Conditions",
        (
            "condition",
            "UAS_all [95 %]",
            "without refusals",
            "failures as 0: UAS_all",
            "mean over questions",
            "failures as 0: the mean",
        ),
        rows,
        'Failures of the model and unreadable judgements have no score. "Failures as 0" is what comes out where they '
        "are counted as wrong answers: not a result, only the size of that mistake.",
    )


def difference_table(difference: Difference, title: str) -> Table:
    """A difference by type, with p values corrected over types."""
    rows: list[tuple[str, ...]] = [
        (one.type, str(one.items), signed(one.difference), f"{one.p:.4f}", f"{one.p_holm:.4f}")
        for one in difference.types
    ]
    rows.append(("UAS_all", str(difference.items), signed(difference.uas), f"{difference.p:.4f}", ""))
    columns = ("type", "paired questions", "difference [95 %]", "p", "p (Holm over types)")
    return Table(title, columns, tuple(rows), f"Against: {difference.against}.")


def counts_table(report: Report) -> Table:
    """What became of the questions, by condition."""
    failures = list(report.real.counts.failed)
    rows = []
    for one in report.conditions:
        counts = one.counts
        unrated = [_of(counts.unparsed, counts.judgements), _of(counts.judge_errors, counts.judgements)]
        asked = counts.questions - counts.not_asked
        failed = [_of(counts.failed[name], asked) for name in failures]
        rows.append((one.condition, str(asked), str(counts.not_asked), _of(counts.refused, asked), *failed, *unrated))
    columns = ("condition", "asked", "not asked", "refused", *failures, "judge: no rating", "judge: failed")
    return Table("What became of the questions", columns, tuple(rows))


def labels_table(report: Report) -> Table:
    """Exact accuracy of direct questions."""
    rows = tuple(
        (
            one.type,
            str(one.items),
            shown(one.accuracy),
            f"{one.unmapped:.1%}",
            f"{one.ambiguous:.1%}",
            "-" if one.judge is None else f"{one.judge:.1f}",
        )
        for one in report.labels
    )
    note = "The label that an answer names, against the item's own; none or several count as wrong."
    if (judge := report.judge_against_labels) is not None:
        both = f"sensitivity {_share(judge.sensitivity)}, specificity {_share(judge.specificity)}"
        note += f" The judge (3 and more is right) agrees with the labels in {judge.agreement:.1%}: {both}."
    columns = ("type", "questions", "accuracy, % [95 %]", "no label", "several", "judge's mean")
    return Table("Direct questions by exact label", columns, rows, note)


def judge_table(report: Report) -> Table:
    """Who judged, and what is known of it."""
    rows = [("model", ", ".join(report.models) or "-"), ("client", report.settings.client)]
    if report.judge is not None:
        rows += [
            ("judge", ", ".join(report.judge.models) or "-"),
            ("client of the judge", report.judge.id),
            ("wording of the rubric, sha256", report.judge.template_sha256),
            ("runs of the judge", f"{report.judge.runs} at temperature {report.judge.temperature:g}"),
        ]
    if report.length_bias is not None:
        rows.append(("length of answer and score, Spearman", signed(report.length_bias.correlation, 2)))
    if (human := report.human) is not None:
        rows += [
            ("answers rated by people", f"{human.items} by {human.raters} (rows passed over: {human.passed_over})"),
            ("judge and people: Pearson", shown(human.pearson, 2)),
            ("judge and people: Spearman", shown(human.spearman, 2)),
            ("judge and people: quadratic weighted kappa", shown(human.kappa, 2)),
            ("mean absolute difference, 0 to 5", shown(human.mae, 2)),
            ("judge minus people, 0 to 5", signed(human.bias, 2)),
            ("people among each other: alpha", "-" if human.alpha is None else f"{human.alpha:.2f}"),
            ("sensitivity, specificity at 3", f"{_share(human.sensitivity)}, {_share(human.specificity)}"),
        ]
    settings = report.settings
    rows += [
        ("decoding", f"temperature {settings.temperature:g}, top_p {settings.top_p:g}, {settings.max_tokens} tokens"),
        ("length of recordings", settings.length),
        ("seconds heard", f"{report.heard.seconds_heard:.1f} of {report.heard.seconds_total:.1f}"),
        ("questions, clips", f"{report.items}, {report.clips}"),
        ("questions, sha256", settings.items_sha256),
    ]
    return Table("How it was made", ("", ""), tuple(rows))


def suspects_table(report: Report) -> Table:
    """Items on which everything scores 0."""
    shown_ids = report.suspects[:MOST_SUSPECTS]
    more = len(report.suspects) - len(shown_ids)
    note = f"0 in {1 + len(report.comparisons)} run(s): where every model fails, look at the reference again."
    note += f" {more} more are in the JSON." if more else ""
    return Table("Questions to look at", ("item",), tuple((one,) for one in shown_ids), note)


def as_text(table: Table) -> str:
    """In columns."""
    rows = [table.columns, *table.rows] if any(table.columns) else list(table.rows)
    widths = [max(len(row[place]) for row in rows) for place in range(len(table.columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([table.title, *(f"  {line}" for line in lines), *([f"  {table.note}"] if table.note else [])])


def _differences(report: Report) -> Iterator[tuple[Difference, str]]:
    if report.audio_gain is not None:
        yield report.audio_gain, "Audio gain: with the clip, minus the best control without it"
    if report.beyond_transcript is not None:
        yield report.beyond_transcript, "Beyond the transcript: with the clip, minus the words alone"
    for one in report.comparisons:
        yield one, "This run minus another"


def _type_row(one: TypeFigures) -> tuple[str, ...]:
    return (one.type, str(one.items), str(one.clips), shown(one.score), *_noise(one.noise))


def _group_row(one: GroupFigures) -> tuple[str, ...]:
    absent = f" (without {', '.join(one.absent)})" if one.absent and one.score.value is not None else ""
    return (f"{one.name}{absent}", "", "", shown(one.score), *_noise(one.noise))


def _condition_row(one: ConditionFigures) -> tuple[str, ...]:
    plain = ["-" if value is None else f"{value:.1f}" for value in (one.unrefused_uas, one.naive_uas, one.naive_micro)]
    return (one.condition, shown(one.uas.score), plain[0], plain[1], shown(one.micro), plain[2])


def _noise(noise: JudgeNoise) -> tuple[str, str]:
    return (
        "-" if noise.sd is None else f"{noise.sd:.2f}",
        "-" if noise.share is None else f"{noise.share:.0%}",
    )


def _of(count: int, whole: int) -> str:
    return f"{count} ({count / whole:.1%})" if whole and count else str(count)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
