"""The report in the terminal: the answer first, then how strong it is, what it rests on, and what limits it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, ConsoleOptions, ConsoleRenderable, Group, JustifyMethod, RenderResult
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from earwitness.audio.recording import Segment
from earwitness.examine import wording
from earwitness.examine.finding import Finding, Report, Track
from earwitness.examine.finding import Table as FindingTable
from earwitness.examine.wording import shown

_TONE_STYLES = {"neutral": "bold", "good": "bold green", "bad": "bold red", "caution": "bold yellow"}
_BLOCKS, _ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
_MARK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MOST_STRETCHES = 12
LONGEST_WORD = 14  # that a column of a table is held open for
GAP = 1  # between columns


def print_report(report: Report, console: Console) -> None:
    """Print one report; without colour where the console is no terminal."""
    console.print(render_text(report), highlight=False)


def print_summary(reports: Sequence[Report], console: Console) -> None:
    """Print one row a recording and one column a question."""
    questions = list(dict.fromkeys(finding.question for report in reports for finding in report.findings))
    table = Table(title="Summary", title_justify="left", title_style="bold", show_lines=True)
    table.add_column("Recording", overflow="fold")
    table.add_column("Length", justify="right", no_wrap=True)
    for question in questions:
        table.add_column(_plain(question), overflow="fold")
    for report in reports:
        answers = {finding.question: finding for finding in report.findings}
        cells = [
            _summary_cell(answers[question]) if question in answers else Text("–", "dim") for question in questions
        ]
        table.add_row(_plain(wording.title(report)), wording.clock(report.duration_s), *cells)
    console.print(table, highlight=False)


def render_text(report: Report, width: int | None = None) -> ConsoleRenderable:
    """One report as a rich renderable, at most `width` columns wide."""
    blocks: list[ConsoleRenderable] = [_header(report)]
    for number, finding in enumerate(report.findings, 1):
        blocks += [Text(), _finding(number, finding, report.duration_s)]
    if report.facts:
        blocks += [Text(), Text("About the recording", "bold"), Padding(_fact_table(report), (0, 0, 0, 3))]
    blocks += [Text(), Padding(Text(wording.NO_POSTERIOR, "dim"), (0, 0, 1, 0))]
    body = Group(*blocks)
    if width is None:
        return body
    table = Table.grid()
    table.add_column(width=width)
    table.add_row(body)
    return table


def _header(report: Report) -> ConsoleRenderable:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("File", _plain(report.path))
    rows.add_row("Heard as", _plain(f"{wording.channel_name(report)}, {wording.media_name(report)}"))
    rows.add_row("Length", wording.clock(report.duration_s))
    rows.add_row("sha256", f"{report.sha256[:16]}…")
    for path, digest in report.references:
        rows.add_row("Reference", _plain(f"{path} (sha256 {digest[:16]}…)"))
    return Group(Rule(Text(shown(wording.title(report)), "bold"), align="left"), rows)


def _finding(number: int, finding: Finding, duration_s: float) -> ConsoleRenderable:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True, width=10)
    rows.add_column(overflow="fold")
    for label, content in _rows(finding, duration_s):
        rows.add_row(label, content)
    question = Text(f"{number}. {shown(finding.question)}", "bold")
    answer = Text(shown(finding.answer), _TONE_STYLES[finding.tone])
    return Group(question, Padding(Group(answer, rows), (0, 0, 0, 3)))


def _rows(finding: Finding, duration_s: float) -> Iterator[tuple[str, ConsoleRenderable]]:
    """The labelled lines under an answer, those that are known."""
    lines = (
        ("Strength", _strength(finding)),
        ("", wording.likelihood_sentence(finding)),
        ("", wording.interval_sentence(finding)),
        ("", wording.bound_sentence(finding)),
        ("", wording.llr_line(finding)),
        ("Score", wording.score_line(finding)),
        ("Heard", wording.heard(finding)),
    )
    yield from ((label, _plain(text)) for label, text in lines if text)
    for track in finding.tracks:
        yield "Over time", Timeline(track, finding.stretches, duration_s)
    if finding.stretches:
        yield "Stand out", _plain(_stretches(finding.stretches))
    for table in finding.tables:
        yield "Table", TableText(table)
    if finding.neighbours:
        yield "Genuine", _bullets([wording.neighbour(found) for found in finding.neighbours])
    measured = [
        f"{fact.name}: {fact.value} {fact.unit}".rstrip() + (f" ({fact.note})" if fact.note else "")
        for fact in finding.facts
    ]
    for label, bullets in (("Measured", measured), ("Based on", finding.evidence), ("Limits", finding.limits)):
        if bullets:
            yield label, _bullets(bullets)
    if (model := finding.model) is not None:
        yield "Model", _plain(f"{model.name} {model.version}, licence {model.licence}, sha256 {model.sha256[:16]}…")


def _strength(finding: Finding) -> str:
    if not finding.scale_words:
        return ""
    return f"{finding.scale_words} ({finding.scale_name})" if finding.scale_name else finding.scale_words


def _stretches(stretches: Sequence[Segment]) -> str:
    text = ", ".join(wording.stretch(segment) for segment in stretches[:_MOST_STRETCHES])
    more = len(stretches) - _MOST_STRETCHES
    return f"{text} and {more} more (all are in the JSON and HTML reports)" if more > 0 else text


def _bullets(lines: Sequence[str]) -> ConsoleRenderable:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row("-", _plain(line))
    return grid


class TableText:
    """A table's title, its rows under their columns, and its note; lines break between words where there is room."""

    def __init__(self, given: FindingTable) -> None:
        self.given = given
        self.rows = [[wording.cell(value) for value in row] for row in given.rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        title, numeric = _plain(self.given.title), wording.numeric_columns(self.given)
        grid = Table(title=title, title_justify="left", title_style="", box=None, padding=(0, GAP, 0, 0))
        for name, width in zip(self.given.columns, self._widths(options.max_width), strict=True):
            justify: JustifyMethod = "right" if name in numeric else "left"
            grid.add_column(_plain(name), justify=justify, overflow="fold", header_style="dim", width=width)
        for row in self.rows:
            grid.add_row(*(_plain(text) for text in row))
        yield grid
        if self.given.note:
            yield Text(shown(self.given.note), "dim")

    def _widths(self, room: int) -> list[int] | list[None]:
        """Each column its longest word, then letter by letter more for the one that lacks most; None where words must
        be broken."""
        columns = list(zip(self.given.columns, *self.rows, strict=True))
        widths = [_longest_word(texts) for texts in columns]
        wanted = [max(map(len, texts)) for texts in columns]
        left = room - sum(widths) - GAP * len(widths)
        if left < 0:
            return [None] * len(widths)
        for _ in range(left):
            lacking = [want - width for want, width in zip(wanted, widths, strict=True)]
            widths[lacking.index(max(lacking))] += max(lacking) > 0
        return widths


def _longest_word(texts: Iterable[str]) -> int:
    """Its length, so that a narrow terminal breaks lines between words; a very long one may be broken."""
    return min(LONGEST_WORD, max((len(word) for text in texts for word in text.split()), default=1))


def _fact_table(report: Report) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_column(overflow="fold", style="dim")
    for fact in report.facts:
        table.add_row(_plain(fact.name), _plain(f"{fact.value} {fact.unit}".rstrip()), _plain(fact.note))
    return table


def _summary_cell(finding: Finding) -> Text:
    text = Text(shown(finding.answer), _TONE_STYLES[finding.tone].replace("bold ", "").replace("bold", ""))
    if wording.has_llr(finding) and finding.llr is not None:
        text.append(f"\nLLR {wording.signed(finding.llr)}", "dim")
    return text


def _plain(text: str) -> Text:
    """Text that rich never reads as markup."""
    return Text(shown(text))


class Timeline:
    """A track as a bar of block characters, with time marks below and arrows under the stretches that stand out.

    Where a column holds several windows it shows the one farthest from the neutral value (or else from the median),
    so that nothing that stands out is averaged away.
    """

    def __init__(self, track: Track, stretches: Sequence[Segment], duration_s: float) -> None:
        self.track, self.stretches, self.duration_s = track, stretches, max(duration_s, 1e-3)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = max(10, min(options.max_width, 100))
        values = column_values(self.track, self.duration_s, columns)
        known = [value for value in values if value is not None]
        if not known:
            yield Text("no window could be judged", "dim")
            return
        bottom, top = wording.axis_ends(self.track) or _range(known, self.track.neutral)
        blocks = _ASCII_BLOCKS if options.ascii_only else _BLOCKS
        bar = Text()
        for value in values:
            level = 0.0 if value is None else (value - bottom) / (top - bottom)
            symbol = " " if value is None else blocks[min(len(blocks) - 1, int(level * len(blocks)))]
            bar.append(symbol, "cyan" if level >= 0.5 else "yellow")
        yield bar
        if self.stretches:
            yield Text(self._arrows(columns, "^" if options.ascii_only else "▲"), "bold yellow")
        yield Text(time_marks(self.duration_s, columns), "dim")
        yield Text(self._legend(blocks, min(known), max(known)), "dim")

    def _arrows(self, columns: int, arrow: str) -> str:
        line = [" "] * columns
        for segment in self.stretches:
            first = min(columns - 1, int(segment.start_s / self.duration_s * columns))
            last = min(columns, max(first + 1, math.ceil(segment.end_s / self.duration_s * columns)))
            line[first:last] = arrow * (last - first)
        return "".join(line).rstrip()

    def _legend(self, blocks: str, low: float, high: float) -> str:
        track = self.track
        unit = f" {track.unit}" if track.unit else ""
        values = f"{shown(track.name)}, {wording.signed(low)} to {wording.signed(high)}{shown(unit)}"
        return f"{values}; high {blocks[-1]} = {shown(track.high_means)}, low {blocks[0]} = {shown(track.low_means)}"


def column_values(track: Track, duration_s: float, columns: int) -> list[float | None]:
    """One value a column: of the windows that overlap it the farthest from the centre, or None where there is none."""
    found: list[float | None] = [None] * columns
    centre = centre_of(track)
    for start, end, value in zip(track.starts_s, track.ends_s, track.values, strict=True):
        if value is None or not math.isfinite(value):
            continue
        first = min(columns - 1, max(0, int(start / duration_s * columns)))
        last = min(columns, max(first + 1, math.ceil(end / duration_s * columns)))
        for column in range(first, last):
            other = found[column]
            if other is None or abs(value - centre) > abs(other - centre):
                found[column] = value
    return found


def centre_of(track: Track) -> float:
    """The value from which a window stands out: the neutral one, or else the median."""
    if track.neutral is not None:
        return track.neutral
    known = [value for value in track.values if value is not None and math.isfinite(value)]
    return statistics.median(known) if known else 0.0


def time_marks(duration_s: float, columns: int) -> str:
    """A ruler: times at even distances, each starting at its own column."""
    steps = [step for step in _MARK_STEPS_S if step / duration_s * columns >= 10]
    step = steps[0] if steps else _MARK_STEPS_S[-1]
    line = [" "] * columns
    time = 0
    while time < duration_s:
        label = "|" + wording.clock(time).removesuffix(".0")
        at = int(time / duration_s * columns)
        if at + len(label) <= columns:
            line[at : at + len(label)] = label
        time += step
    return "".join(line).rstrip()


def _range(values: Sequence[float], neutral: float | None) -> tuple[float, float]:
    """Bottom and top of the bar: symmetric about the neutral value where there is one."""
    if neutral is None:
        low, high = min(values), max(values)
        return (low - 0.5, high + 0.5) if low == high else (low, high)
    reach = max(max(abs(value - neutral) for value in values), 1e-6)
    return neutral - reach, neutral + reach
