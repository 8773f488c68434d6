"""`CARD.md`: data with licences, results with intervals, limits. Every figure comes from a file that a command made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from earwitness.training.calibration import ConditionCalibration
from earwitness.training.model_folder import ModelInfo


@dataclass(frozen=True)
class ResultRow:
    """One figure, as a command wrote it to the file `source`; `low` and `high` bound its 95 % interval.

    `unit`: what was resampled for the interval (speaker, system, file).
    """

    data: str
    metric: str  # with its definition, e.g. "EER (interpolated), %"
    value: float
    low: float | None
    high: float | None
    files: int
    source: str
    unit: str = ""


def render_card(info: ModelInfo, results: Sequence[ResultRow]) -> str:
    """The card as Markdown. Names that came from files cannot break its tables."""
    parts = [
        f"# {markdown_text(info.name)} {markdown_text(info.version)}",
        markdown_text(info.summary),
        _section("What it is", _table(("", ""), _facts(info))),
        _section("Data", _table(("data", "licence", "used for"), [(d.name, d.licence, d.use) for d in info.data])),
        _section("Results", _results(results)),
        _section("Tested range", _list(_tested(info))),
        _section("Not to be used for", _list(info.limits)),
        _section("Known failures", _list(_failures(info))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(info: ModelInfo) -> list[tuple[str, str]]:
    facts = [
        ("task", info.task),
        ("score", info.polarity),
        ("hears", f"{info.windows.name}, {info.rate} Hz"),
        ("licence of the weights", info.licence),
        ("sha256 of the weights", info.sha256),
        ("made with", f"earwitness {info.package_version}"),
    ]
    if info.calibration is not None:
        facts.append(("calibrated on", info.calibration.fitted_on))
        facts.extend(_ratio(condition) for condition in info.calibration.conditions)
    if info.cohort is not None:
        heard = ", ".join(condition.replace("_", " ") for condition in info.cohort.conditions)
        facts.append(
            ("score normalisation", f"{info.cohort.speakers} speakers ({heard}), the nearest {info.cohort.top}")
        )
    return facts


def _ratio(fitted: ConditionCalibration) -> tuple[str, str]:
    line = f"{fitted.scale:.4g} * score + {fitted.offset:.4g}, bounded to [{fitted.low:.2f}, {fitted.high:.2f}]"
    trials = f"{fitted.positives} positive and {fitted.negatives} negative trials"
    return f"log-likelihood ratio (natural), {fitted.condition.replace('_', ' ')}", f"{line}; {trials}"


def _results(results: Sequence[ResultRow]) -> str:
    if not results:
        return "None yet: this model has not been tested."
    rows = [(row.data, row.metric, f"{row.value:.4g}", _interval(row), str(row.files), row.source) for row in results]
    return _table(("data", "metric", "value", "95 % interval", "files or trials", "from"), rows)


def _interval(row: ResultRow) -> str:
    if row.low is None or row.high is None:
        return "none"
    over = f" over {row.unit}s" if row.unit else ""
    return f"{row.low:.4g} to {row.high:.4g}{over}"


def _tested(info: ModelInfo) -> list[str]:
    tested = info.tested
    lows = [
        ("speech", tested.min_speech_s, "s"),
        ("bandwidth", tested.min_bandwidth_hz, "Hz"),
        ("SNR", tested.min_snr_db, "dB"),
    ]
    lines = [f"{name}: at least {low:g} {unit}" for name, low, unit in lows if low is not None]
    if tested.languages:
        lines.append(f"languages: {', '.join(tested.languages)}")
    return [*lines, *tested.notes]


def _failures(info: ModelInfo) -> list[str]:
    examples = info.extra.get("examples")
    return [*info.known_failures, *([f"Examples to listen to: {examples}"] if examples else [])]


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {markdown_text(line)}" for line in lines) or "Nothing is stated."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "Nothing is stated."
    lines = [head, ["---"] * len(head), *([markdown_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """Text that is no Markdown table cell break, heading or HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
