"""The words that the reports share: times, amounts, and what a likelihood ratio says, for a reader without training.

A likelihood ratio compares how probable the measurement is under two hypotheses. No sentence here says how probable a
hypothesis is: that depends on a prior, which a recording does not hold.
"""

from __future__ import annotations

import math
import shlex
from datetime import datetime
from pathlib import PurePath

from earwitness.audio.recording import Segment
from earwitness.core.errors import printable
from earwitness.examine.finding import PROBABILITY, Cell, Finding, GenuineNeighbour, Report, Table, Track

_PLAIN_SPACE = str.maketrans(dict.fromkeys("\u00a0\u2007\u2009\u202f", " "))
_AS_LIKELY = math.log(1.1)  # a ratio this near to 1 is called "about as likely"

NO_POSTERIOR = (
    "A strength says how much better one explanation fits the measurement than the other. It is not the probability "
    "that an explanation is true: that also depends on everything else that is known about the case."
)


def shown(text: str) -> str:
    """The text on one line: control characters and marks that reverse the reading direction are shown as escapes."""
    return printable(text.translate(_PLAIN_SPACE))


def clock(seconds: float) -> str:
    """A time in the recording: 12.34 -> "0:12.3", 3725 -> "1:02:05.0"."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{tenths // 10:02d}.{tenths % 10}"


def date(created: str) -> str:
    """An ISO time to the minute, "2026-11-20 10:12 UTC"; anything else as it is."""
    try:
        time = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{time:%Y-%m-%d %H:%M %Z}".rstrip()


def stretch(segment: Segment) -> str:
    """A stretch of time: "0:12.0-0:14.5" with an en dash."""
    return f"{clock(segment.start_s)}–{clock(segment.end_s)}"


def ratio(llr: float) -> str:
    """The likelihood ratio of a natural-log LLR's size, rounded to two digits: 5.8 -> "330"."""
    if abs(llr) >= math.log(1e9):
        return "more than a billion"
    value = math.exp(abs(llr))
    if value < 9.95:
        return f"{value:.1f}"
    digits = 10 ** (math.floor(math.log10(value)) - 1)
    rounded = round(value / digits) * digits
    return f"{rounded / 1e6:,.2g} million" if rounded >= 1e6 else f"{rounded:,.0f}"


def signed(value: float) -> str:
    """A number with its sign, a real minus, two decimals."""
    return f"{value:+.2f}".replace("-", "−")


def favoured(finding: Finding, llr: float) -> tuple[str, str]:
    """The two hypotheses, the one that the LLR favours first."""
    first, second = finding.hypotheses or ("the first explanation holds", "the second explanation holds")
    return (first, second) if llr >= 0 else (second, first)


def likelihood_sentence(finding: Finding) -> str:
    """What the LLR says: "What was measured is about 330 times more likely if A than if B."; empty without one."""
    if not has_llr(finding):
        return ""
    assert finding.llr is not None
    likely, other = favoured(finding, finding.llr)
    if abs(finding.llr) < _AS_LIKELY:
        return f"What was measured is about as likely if {likely} as if {other}."
    return f"What was measured is about {ratio(finding.llr)} times more likely if {likely} than if {other}."


def interval_sentence(finding: Finding) -> str:
    """The 95 % interval of the LLR in words; empty where it is not known."""
    low, high = finding.llr_low, finding.llr_high
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    if low * high > 0:
        weak, strong = sorted((abs(low), abs(high)))
        return f"95 % interval: {ratio(weak)} to {ratio(strong)} times more likely if {favoured(finding, low)[0]}."
    return (
        f"95 % interval: from {ratio(low)} times more likely if {favoured(finding, -1)[0]} "
        f"to {ratio(high)} times more likely if {favoured(finding, 1)[0]}."
    )


def bound_sentence(finding: Finding) -> str:
    """How much the calibration can support at most; says so where the LLR stands at that bound."""
    if finding.llr_bound is None or not has_llr(finding):
        return ""
    assert finding.llr is not None
    low, high = finding.llr_bound
    text = (
        f"The recordings used for calibration support at most {ratio(high)} times for “{favoured(finding, 1)[0]}” "
        f"and {ratio(low)} times for “{favoured(finding, -1)[0]}”; nothing stronger is claimed."
    )
    if finding.llr <= low + 1e-6 or finding.llr >= high - 1e-6:
        text += " This answer stands at that bound."
    return text


def llr_line(finding: Finding) -> str:
    """The LLR as a number for specialists, in both customary bases."""
    if not has_llr(finding):
        return ""
    assert finding.llr is not None
    text = f"LLR {signed(finding.llr)} (natural logarithm; log10 {signed(finding.llr / math.log(10))})"
    if finding.llr_low is not None and finding.llr_high is not None:
        text += f", 95 % interval {signed(finding.llr_low)} to {signed(finding.llr_high)}"
    return text


def has_llr(finding: Finding) -> bool:
    """Whether the finding has a likelihood ratio that can be shown."""
    return finding.llr is not None and math.isfinite(finding.llr)


def neighbour(found: GenuineNeighbour) -> str:
    """A genuine recording that sounds alike: which stretch of it is like which stretch of this one, and how much."""
    speaker = f", speaker {found.speaker}" if found.speaker else ""
    own = stretch(Segment(found.like_start_s, found.like_end_s))
    there, layers = stretch(Segment(found.start_s, found.end_s)), ", ".join(map(str, found.layers))
    return f"{found.id} {there}{speaker}: similarity {found.similarity:.4f} to {own}, nearest in layer(s) {layers}"


def heard(finding: Finding) -> str:
    """How much of the recording the answer rests on."""
    if finding.seconds_used is None:
        return ""
    total = "" if finding.seconds_total is None else f" of {round(finding.seconds_total * 10) / 10} s"
    policy = f" ({finding.window_policy})" if finding.window_policy else ""
    return f"{round(finding.seconds_used * 10) / 10} s{total}{policy}"


def score_line(finding: Finding) -> str:
    """The raw score and what it means."""
    if finding.score is None or not math.isfinite(finding.score):
        return ""
    meaning = f" ({finding.score_meaning})" if finding.score_meaning else ""
    return f"{signed(finding.score)}{meaning}"


def file_name(report: Report) -> str:
    """The last part of the path."""
    return PurePath(report.path).name or report.path


def title(report: Report) -> str:
    """The file's name, and the channel where there are several."""
    return f"{file_name(report)} · {channel_name(report)}" if report.channels > 1 else file_name(report)


def channel_name(report: Report) -> str:
    """Which part of the file was examined."""
    if report.channel is not None:
        return f"channel {report.channel + 1} of {report.channels}"
    return "mono" if report.channels == 1 else f"mix of {report.channels} channels"


def media_name(report: Report) -> str:
    """Container, codec and rate in one line."""
    kind = report.codec if report.codec == report.container else f"{report.codec} in {report.container}"
    return f"{kind}, {report.native_rate:,} Hz"


def reproduce_command(report: Report) -> str:
    """The command that makes the report again: the recorded one, else the plainest that fits."""
    if report.command:
        return report.command
    words = ["earwitness", "examine", report.path]
    if report.references:
        words += ["--reference", *(path for path, _ in report.references)]
    return shlex.join(words)


def cell(value: Cell) -> str:
    """A cell of a table: numbers with up to two decimals and no sign of plus, an en dash for what is not known."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2f}".rstrip("0").rstrip(".").replace("-", "−")  # no more digits than were measured


def axis_ends(track: Track) -> tuple[float, float] | None:
    """Ends of a track's axis that are known beforehand: of a probability 0 and 1. None: as far as its values reach."""
    return (0.0, 1.0) if track.unit == PROBABILITY else None


def numeric_columns(table: Table) -> frozenset[str]:
    """The columns that hold numbers only."""
    columns = zip(table.columns, zip(*table.rows, strict=True), strict=True) if table.rows else ()
    return frozenset(name for name, cells in columns if not any(isinstance(value, str) for value in cells))
