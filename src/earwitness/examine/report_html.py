"""The report as one self-contained HTML page: nothing is loaded, everything is escaped, and a strict policy says so.

Inline style and script are allowed by their hashes only; pictures and sound only from `data:`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from earwitness.audio.recording import Segment
from earwitness.core.errors import UsageError
from earwitness.examine import wording
from earwitness.examine.card_markdown import render_card
from earwitness.examine.finding import Finding, GenuineNeighbour, ModelCredit, Report
from earwitness.examine.report_gauge import gauge
from earwitness.examine.report_media import PLAYER_BITS_PER_S, AudioForReport
from earwitness.examine.report_table import TableView
from earwitness.examine.report_timeline import LEFT, RIGHT, timeline
from earwitness.examine.svg import safe
from earwitness.metrics.calibration import VERBAL_SCALE, VERBAL_STEPS

MOST_PLAYER_BYTES = 24_000_000  # of listening copies in one page
MOST_CLIP_BYTES = 4_000_000  # of genuine recordings to listen to beside them

Clips = Mapping[GenuineNeighbour, bytes]


@dataclass(frozen=True)
class _NeighbourView:
    """A genuine recording to listen to; `player` is empty where the page holds no copy of it."""

    neighbour: GenuineNeighbour
    player: Markup | str

    @property
    def stretch(self) -> str:
        return wording.stretch(Segment(self.neighbour.start_s, self.neighbour.end_s))

    @property
    def like(self) -> str:
        return wording.stretch(Segment(self.neighbour.like_start_s, self.neighbour.like_end_s))

    @property
    def layers(self) -> str:
        return ", ".join(map(str, self.neighbour.layers))

    @property
    def similarity(self) -> str:
        return f"{self.neighbour.similarity:.4f}"


@dataclass(frozen=True)
class _FindingView:
    """A finding with its sentences and drawing."""

    finding: Finding
    id: str
    model_id: str
    neighbours: tuple[_NeighbourView, ...] = ()

    @property
    def tables(self) -> tuple[TableView, ...]:
        return tuple(TableView(table) for table in self.finding.tables)

    @property
    def strength(self) -> str:
        return self.finding.scale_words

    @property
    def gauge(self) -> Markup | str:
        return gauge(self.finding, f"{self.id}-hatch") if wording.has_llr(self.finding) else ""

    @property
    def likelihood(self) -> str:
        return wording.likelihood_sentence(self.finding)

    @property
    def interval(self) -> str:
        return wording.interval_sentence(self.finding)

    @property
    def bound(self) -> str:
        return wording.bound_sentence(self.finding)

    @property
    def llr(self) -> str:
        return wording.llr_line(self.finding)

    @property
    def short_llr(self) -> str:
        return "" if self.finding.llr is None else wording.signed(self.finding.llr)

    @property
    def score(self) -> str:
        return wording.score_line(self.finding)

    @property
    def heard(self) -> str:
        return wording.heard(self.finding)


@dataclass(frozen=True)
class _Section:
    """One recording in the page."""

    id: str
    report: Report
    findings: tuple[_FindingView, ...]
    timeline: Markup | str
    player: Markup | str
    player_s: float
    player_note: str

    @property
    def title(self) -> str:
        return wording.title(self.report)

    @property
    def length(self) -> str:
        return wording.clock(self.report.duration_s)

    @property
    def created(self) -> str:
        return wording.date(self.report.created)

    @property
    def media(self) -> str:
        return wording.media_name(self.report)

    @property
    def channel(self) -> str:
        return wording.channel_name(self.report)

    @property
    def command(self) -> str:
        return wording.reproduce_command(self.report)

    @property
    def has_stretches(self) -> bool:
        return any(view.finding.stretches for view in self.findings)

    def answer_to(self, question: str) -> _FindingView | None:
        return next((view for view in self.findings if view.finding.question == question), None)


@dataclass(frozen=True)
class _ModelView:
    """A model that answered, with its card as safe HTML."""

    id: str
    credit: ModelCredit
    card: Markup


def render_html(
    reports: Sequence[Report], audio: Sequence[AudioForReport | None], clips: Clips = MappingProxyType({})
) -> str:
    """One page for one or several reports; `audio` has one entry a report (None: no pictures and no player for it),
    `clips` the MP3 of genuine neighbours.

    Listening copies of more than `MOST_PLAYER_BYTES` in all are left out from the end, and the page says where; so are
    clips of more than `MOST_CLIP_BYTES`.
    Raises `UsageError` when the two differ in number.
    """
    if len(reports) != len(audio) or not reports:
        raise UsageError(
            f"{len(reports)} report(s) with audio for {len(audio)}", fix="Give one entry of audio a report, or None."
        )
    models, clips = _models(reports), _within(clips, MOST_CLIP_BYTES)
    sections, room = [], MOST_PLAYER_BYTES
    for number, (report, sound) in enumerate(zip(reports, audio, strict=True), 1):
        with_player = sound is not None and 0 < len(sound.player) <= room
        room -= len(sound.player) if sound is not None and with_player else 0
        name = f"recording-{number}"
        sections.append(_section(name, report, sound, with_player, _views(name, report, models, clips)))
    style, script = _resource("report.css"), _resource("report.js")
    heading = sections[0].title if len(sections) == 1 else f"{len(sections)} recordings"
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            policy=_policy(style, script),
            title=f"Earwitness report: {heading}",
            heading=heading,
            created=wording.date(reports[0].created),
            versions=[(name, version) for name, version in reports[0].versions.items() if name == "earwitness"],
            sections=sections,
            questions=list(dict.fromkeys(finding.question for report in reports for finding in report.findings)),
            models=list(models.values()),
            scale_name=VERBAL_SCALE,
            scale=[
                (f"{step.low:,} to {step.high:,}" if step.high < 1e9 else f"over {step.low:,}", step.words)
                for step in VERBAL_STEPS
            ],
            no_posterior=wording.NO_POSTERIOR,
            plot=(LEFT, RIGHT),
            stretch=wording.stretch,
            style=Markup(style),
            script=Markup(script),
        )
    )


_Models = dict[tuple[str, str, str], _ModelView]


def _models(reports: Sequence[Report]) -> _Models:
    """Every model once, in the order in which they answer."""
    found: _Models = {}
    for credit in (finding.model for report in reports for finding in report.findings):
        if credit is not None and _key(credit) not in found:
            found[_key(credit)] = _ModelView(f"model-{len(found) + 1}", credit, render_card(credit.card))
    return found


def _key(credit: ModelCredit) -> tuple[str, str, str]:
    return credit.name, credit.version, credit.sha256


def _views(name: str, report: Report, models: _Models, clips: Clips) -> tuple[_FindingView, ...]:
    return tuple(
        _FindingView(
            finding,
            f"{name}-{i}",
            models[_key(finding.model)].id if finding.model else "",
            tuple(_NeighbourView(found, _sound(clips.get(found, b""))) for found in finding.neighbours),
        )
        for i, finding in enumerate(report.findings, 1)
    )


def _within(clips: Clips, most: int) -> Clips:
    """The first clips that fit into so many bytes."""
    kept = {}
    for neighbour, clip in clips.items():
        if len(clip) <= most:
            kept[neighbour] = clip
            most -= len(clip)
    return kept


def _sound(mp3: bytes) -> Markup | str:
    """The address of a sound that is in the page; empty where there is none."""
    return Markup("data:audio/mpeg;base64,") + base64.b64encode(mp3).decode("ascii") if mp3 else ""


def _section(
    name: str, report: Report, audio: AudioForReport | None, with_player: bool, views: tuple[_FindingView, ...]
) -> _Section:
    has_tracks = any(finding.tracks for finding in report.findings)
    return _Section(
        id=name,
        report=report,
        findings=views,
        timeline=timeline(report, audio) if audio is not None or has_tracks else "",
        player=_sound(audio.player) if audio is not None and with_player else "",
        player_s=audio.player_s if audio is not None and with_player else 0.0,
        player_note=_player_note(report, audio, with_player),
    )


def _player_note(report: Report, audio: AudioForReport | None, with_player: bool) -> str:
    """What the player holds, so that nobody takes it for the evidence."""
    if audio is None:
        return ""
    if not with_player:
        return (
            "The page holds no listening copy of this recording, to keep its size bounded. Listen to the original file."
        )
    form = f"MP3, {PLAYER_BITS_PER_S // 1000} kbit/s, mono, {audio.rate:,} Hz"
    copy = f"The player holds a compressed copy for listening ({form})"
    part = f" of the first {wording.clock(audio.player_s)} only" if audio.player_s < audio.duration_s - 0.05 else ""
    return f"{copy}{part}. The analysis used the original file with SHA-256 {report.sha256}."


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _resource(name: str) -> str:
    return (files("earwitness.examine") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("earwitness.examine"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else safe(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment
