"""What `examine` collects: one `Finding` a question, and the `Report` of one recording (or one channel of it)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from earwitness.audio.recording import Segment

SCHEMA_VERSION = "1.2"

Verdict = Literal["answer", "inconclusive", "no answer"]
Tone = Literal["neutral", "good", "bad", "caution"]
Cell = str | int | float | None  # None: not known, or does not apply
PROBABILITY = "probability"  # the unit of a track of probabilities


@dataclass(frozen=True)
class Track:
    """A number over time: `starts_s`, `ends_s` and `values` have one entry a window. Higher values favour `high_means`.

    A window that could not be judged has the value None. `neutral` is the value that favours neither side (0 for a
    log-likelihood ratio), or None where the number has no such point.
    """

    name: str
    unit: str
    starts_s: tuple[float, ...]
    ends_s: tuple[float, ...]
    values: tuple[float | None, ...]
    high_means: str
    low_means: str
    neutral: float | None = 0.0


@dataclass(frozen=True)
class GenuineNeighbour:
    """A genuine recording, by the stretch of it (seconds in its file) that sounds most like a stretch of the examined
    one: something to listen to, not a verdict.

    `similarity` is that of an index, the mean over its layers; `layers` (from 1) are those in which it is among the
    nearest; `like_start_s` and `like_end_s` the stretch of the examined recording.
    """

    id: str
    path: str
    sha256: str
    speaker: str | None
    start_s: float
    end_s: float
    similarity: float
    layers: tuple[int, ...]
    like_start_s: float
    like_end_s: float


@dataclass(frozen=True)
class Suspicion:
    """A part whose score falls below the rest of the recording: a place to listen to, not a verdict.

    Seconds. `score` is the mean over the part (higher = genuine), `fall` how far that is below the rest; each edge lies
    within `edge_s` of where it is said to be, as far as tests tell.
    """

    start_s: float
    end_s: float
    score: float
    fall: float
    edge_s: float


@dataclass(frozen=True)
class Table:
    """What an answer rests on, item by item: each row has one cell a column.

    The numbers of the column `drawn` are bars in the page, to the right of `neutral` where they are above it and to
    the left where they are below.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    drawn: str | None = None
    neutral: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Fact:
    """A measured property with its unit, e.g. ("level", "-23.4", "dBFS")."""

    name: str
    value: str
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class ModelCredit:
    """Which model answered: name, version, sha256 of its weights, licence, card in Markdown."""

    name: str
    version: str
    sha256: str
    licence: str
    card: str


@dataclass(frozen=True)
class Finding:
    """One question and its answer.

    `llr` is a natural-log likelihood ratio, already bounded by what the calibration supports (`llr_bound` says by how
    much); None where the question has none. `scale_words` is its place on the verbal scale named in `scale_name`.
    """

    question: str  # "Is the voice genuine or synthetic?"
    hypotheses: (
        tuple[str, str] | None
    )  # ("the voice is genuine", "the voice is synthetic"): positive llr favours the first
    verdict: Verdict
    answer: str  # plain words for a person who is no specialist
    tone: Tone = "neutral"
    score: float | None = None
    score_meaning: str = ""
    llr: float | None = None
    llr_low: float | None = None  # 95 % interval where known
    llr_high: float | None = None
    llr_bound: tuple[float, float] | None = None
    scale_name: str = ""
    scale_words: str = ""
    evidence: tuple[str, ...] = ()
    tracks: tuple[Track, ...] = ()
    stretches: tuple[Segment, ...] = ()  # stretches that stand out, e.g. suspicious ones
    neighbours: tuple[GenuineNeighbour, ...] = ()  # of an index of genuine speech, most alike first
    suspicions: tuple[Suspicion, ...] = ()  # parts that fall below the rest; their `stretches` stand out too
    tables: tuple[Table, ...] = ()
    facts: tuple[Fact, ...] = ()
    limits: tuple[str, ...] = ()  # what the answer must not be used for; what was out of the tested range
    seconds_used: float | None = None
    seconds_total: float | None = None
    window_policy: str = ""
    model: ModelCredit | None = None


@dataclass(frozen=True)
class Report:
    """All findings about one recording, or about one channel of a call."""

    path: str
    sha256: str
    channel: int | None  # 0-based; None: mono or downmix
    channels: int
    duration_s: float
    native_rate: int
    container: str
    codec: str
    findings: tuple[Finding, ...]
    facts: tuple[Fact, ...] = ()  # level, bandwidth, speech and the like
    references: tuple[tuple[str, str], ...] = ()  # (path, sha256) of the reference recordings
    steps: tuple[str, ...] = ()  # what was done to the audio before judging
    created: str = ""
    command: str = ""  # the command line that makes this report again
    versions: dict[str, str] = field(default_factory=dict)
    schema: str = SCHEMA_VERSION
